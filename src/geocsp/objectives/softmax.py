"""Cross-entropy over all pairs; :func:`geocsp.objectives.pairs.softmax_pairs`.

Logits are to base 2 here, as powers of 2 take a third of the time of powers of e: the softmax of
x is the same as that of x / ln 2 to base 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from geocsp.objectives.tiles import Loss, Mask, Similarities, Slopes, add_product

LN2 = math.log(2)
SAFE = 100.0
"""2 to a power of this size, and a sum of millions of them, stays within float32."""


def one_way_softmax(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor | float,
    *,
    fast: torch.dtype,
    wanted: bool,
    own: int,
    excluded: Mask | None,
    targets: Mask | None,
) -> Loss:
    """Loss of the queries; gradients for queries, keys and scale."""
    partner = own if targets is None else None
    pairs = Similarities(queries, keys, scale / LN2, fast=fast, own=partner, excluded=excluded)
    slopes = Slopes(pairs)
    logsums, weights = (torch.ones_like(pairs.queries[:, 0]) for _ in range(2))
    loss = logsums.new_zeros(())
    for rows in pairs.blocks():
        softmax = _RunningSoftmax(slopes, rows)
        for columns, tile in pairs.tiles(rows):
            softmax.add(columns, tile, wanted)
        logsums[rows] = softmax.logsum()
        shares = None if targets is None else targets(rows).to(pairs.exact)
        if shares is not None:
            weights[rows] = shares.sum(1)
        softmax.finish(weights[rows])
        if shares is not None:
            loss -= _pull(slopes, rows, shares)
    loss += (weights * logsums).sum()
    if targets is None:
        loss -= pairs.own_logits.sum()
        slopes.add_own((pairs.own_logits - logsums).exp2() - 1)
    return _mean(loss, slopes, wanted)


def both_ways_softmax(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor | float,
    *,
    fast: torch.dtype,
    wanted: bool,
    excluded: Mask | None,
) -> Loss:
    """Mean of the losses of queries and keys; gradients for queries, keys and scale."""
    pairs = Similarities(queries, keys, scale / LN2, fast=fast, excluded=excluded)
    shift = _common_shift(pairs)
    if shift is None:
        return _each_way(queries, keys, scale, fast, wanted, excluded)
    slopes, own_powers = Slopes(pairs), (pairs.own_logits - shift).exp2()
    by_row, by_column = own_powers.clone(), own_powers.clone()
    keep = wanted and len(queries) * len(keys) <= pairs.tiling.elements
    kept = []
    for rows, columns, tile in _powers(pairs, shift, keep):
        by_row[rows] += tile.sum(1, dtype=pairs.exact)
        by_column[columns] += tile.sum(0, dtype=pairs.exact)
        if keep:
            kept.append((rows, columns, tile))
    loss = ((by_row.log2() + by_column.log2()) / 2 + shift - pairs.own_logits).sum()
    by_row, by_column = 0.5 / by_row, 0.5 / by_column
    if wanted:
        for rows, columns, tile in kept or _powers(pairs, shift, False):
            slopes.add(
                rows, columns, tile.mul_((by_row[rows, None] + by_column[columns]).to(tile.dtype))
            )
        slopes.add_own(own_powers * (by_row + by_column) - 1)
    return _mean(loss, slopes, wanted)


def _common_shift(pairs: Similarities) -> float | None:
    """What to subtract from all logits so that their powers fit; None if nothing would do.

    Sums over rows and columns have the own pairs as lower bounds.
    """
    if pairs.limit == math.inf or pairs.limit - float(pairs.own_logits.min()) > 2 * SAFE:
        return None
    return max(0.0, pairs.limit - SAFE)


def _powers(pairs: Similarities, shift: float, keep: bool) -> Iterator[tuple[slice, slice, Tensor]]:
    for rows in pairs.blocks():
        for columns, tile in pairs.tiles(rows, keep=keep):
            if shift:
                tile.sub_(shift)
            yield rows, columns, tile.exp2_()


def _each_way(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor | float,
    fast: torch.dtype,
    wanted: bool,
    excluded: Mask | None,
) -> Loss:
    """The same from two separate losses."""
    loss = partial(
        one_way_softmax, fast=fast, wanted=wanted, own=0, excluded=excluded, targets=None
    )
    there, slopes = loss(queries, keys, scale)
    back, turned = loss(keys, queries, scale)
    if not wanted:
        return (there + back) / 2, ()
    pairs = zip(slopes, (turned[1], turned[0], turned[2]), strict=True)
    return (there + back) / 2, tuple((a * p + b * q, 0.5) for (a, p), (b, q) in pairs)


def _pull(slopes: Slopes, rows: slice, shares: Tensor) -> Tensor:
    """Sum of ``(c, N)`` weights times logits; its negative goes into the slopes."""
    scaled, keys = slopes.pairs.scaled[rows], slopes.pairs.keys
    meant = shares @ keys
    slopes.queries[rows] -= meant
    slopes.keys.addmm_(shares.T, scaled, alpha=-1)
    return (scaled * meant).sum()


def _mean(loss: Tensor, slopes: Slopes, wanted: bool) -> Loss:
    """The mean over queries to base e, from the sum to base 2."""
    factor = LN2 / len(slopes.queries)
    if not wanted:
        return loss * factor, ()
    queries, keys, (scale, _) = slopes.times(factor)
    return loss * factor, (queries, keys, (scale, factor / LN2))


class _RunningSoftmax:
    """The softmax of a block of rows, tile by tile.

    Powers are relative to a peak for each row. Where no logit is large the peak is zero, else it
    is the largest logit so far.
    """

    def __init__(self, slopes: Slopes, rows: slice) -> None:
        self.slopes, self.pairs, self.rows = slopes, slopes.pairs, rows
        self.fixed = self.pairs.limit <= SAFE
        self.pull = slopes.queries[rows]
        lowest = 0.0 if self.fixed else torch.finfo(self.pull.dtype).min
        self.peak = torch.full_like(self.pull[:, 0], lowest)
        self.total = torch.zeros_like(self.peak)
        if self.pairs.own is not None:
            own = self.pairs.own_logits[rows]
            self.peak = self.peak if self.fixed else own
            self.total = (own - self.peak).exp2()
        self.seen: list[tuple[slice, Tensor, Tensor]] = []

    def add(self, columns: slice, tile: Tensor, wanted: bool) -> None:
        """Add a tile of logits, ``(c, n)``; it must stay as this leaves it."""
        if not self.fixed:
            peak = torch.maximum(self.peak, tile.amax(1))
            shrink = (self.peak - peak).exp2()
            self.total *= shrink
            self.pull *= shrink.unsqueeze(1)
            self.peak = peak
            tile.sub_(peak.unsqueeze(1))
        tile.exp2_()
        self.total += tile.sum(1, dtype=self.total.dtype)
        if wanted:
            powers = tile.to(self.pairs.fast)
            add_product(self.pull, powers, self.pairs.fast_keys[columns])
            self.seen.append((columns, powers, self.peak))

    def logsum(self) -> Tensor:
        """``(c,)`` logarithms to base 2; very negative where all pairs are left out."""
        return self.total.clamp_min(torch.finfo(self.total.dtype).tiny).log2() + self.peak

    def finish(self, weights: Tensor) -> None:
        """Complete the slopes of the weighted, ``(c,)``, sum of :meth:`logsum`."""
        logsum, scaled = self.logsum(), self.pairs.scaled[self.rows]
        self.pull *= (weights * (self.peak - logsum).exp2()).unsqueeze(1)
        for columns, powers, peak in self.seen:
            shares = (weights * (peak - logsum).exp2()).unsqueeze(1)
            add_product(self.slopes.keys[columns], powers.T, (shares * scaled).to(powers.dtype))
