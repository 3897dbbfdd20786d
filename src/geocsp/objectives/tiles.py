"""Similarities of many queries and keys, in tiles small enough to stay in a processor's cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Mask = Callable[[slice], Tensor]
"""From a slice of queries, c long, to ``(c, N)``: something about each of their pairs."""

Slope = tuple[Tensor, Tensor | float]
"""A gradient as a product."""

Loss = tuple[Tensor, tuple[Slope, ...]]
"""A loss and its gradients, if they are wanted."""

COARSE_LIMIT = 32.0
"""Largest logit that may be rounded to bfloat16; the error is then at most 1/16."""

_HAS_EXACT_SUMS = hasattr(torch.ops.aten.mm, "dtype")
"""Whether this torch can leave sums of bfloat16 products in float32, on CUDA."""


@dataclass(frozen=True)
class Tiling:
    """How much is computed at a time.

    Attributes:
        rows: most queries in a block of rows.
        columns: most keys in a tile, which is a part of a block.
        elements: most logits in a block, which bounds the memory.
    """

    rows: int
    columns: int
    elements: int

    def block(self, keys: int) -> int:
        """Queries in a block of rows, at least one, where there are this many keys."""
        return max(1, min(self.rows, self.elements // keys))


TILINGS = {"cpu": Tiling(1024, 2048, 2**26)}
"""By type of device. 1024 x 2048 was fastest on two cores, as fast as the products alone."""
LARGE = Tiling(8192, 16384, 2**28)
"""For all other devices, which have more cores to fill and faster memory."""


class Similarities:
    """Logits ``scale * q . k`` of queries and keys, tile by tile.

    Args:
        queries: ``(M, D)``.
        keys: ``(N, D)``.
        scale: inverse temperature.
        fast: dtype of the products, bfloat16 or that of the inputs. Logits beyond
            :data:`COARSE_LIMIT` are not rounded to bfloat16, and sums never.
        bias: what will be added to the logits; here only for their size.
        own: query i's own key is number ``own + i``; None if there are no own keys. Own pairs
            are left out of the tiles, so that they can be computed exactly.
        excluded: further pairs to leave out.

    Attributes:
        exact: dtype of all but the products: float32, or float64 if an input is.
        limit: no logit is larger; infinite where it would take time to find out.
        own_logits: ``(M,)``, in the exact dtype; empty without own keys.
    """

    def __init__(
        self,
        queries: Tensor,
        keys: Tensor,
        scale: Tensor | float,
        *,
        fast: torch.dtype,
        bias: Tensor | float = 0.0,
        own: int | None = 0,
        excluded: Mask | None = None,
    ) -> None:
        self.exact = torch.promote_types(
            torch.promote_types(queries.dtype, keys.dtype), torch.float
        )
        self.fast = self.exact if self.exact == torch.float64 else fast
        self.queries, self.keys = queries.to(self.exact), keys.to(self.exact)
        self.scale, self.scaled = scale, self.queries * scale
        self.fast_keys = self.keys.to(self.fast)
        self.own, self.excluded = own, excluded
        self.own_logits = self.scaled.new_empty(0)
        if own is not None:
            self.own_logits = torch.linalg.vecdot(self.scaled, self.keys[self.own_keys])
        self.on_cpu = queries.device.type == "cpu"
        self.limit = math.inf
        if self.on_cpu:
            longest = self.queries.norm(dim=1).max() * self.keys.norm(dim=1).max() * abs(scale)
            self.limit = float(longest + abs(bias))
        self.tiling = TILINGS.get(queries.device.type, LARGE)
        self._left, self._right = self.scaled, self.keys
        if self.limit <= COARSE_LIMIT or (queries.is_cuda and _HAS_EXACT_SUMS):
            self._left, self._right = self.scaled.to(self.fast), self.fast_keys
        self._memory: dict[tuple[int, int], Tensor] = {}

    @property
    def own_keys(self) -> slice:
        """The own keys of all queries."""
        assert self.own is not None
        return slice(self.own, self.own + len(self.queries))

    def blocks(self) -> Iterator[slice]:
        """Blocks of rows."""
        yield from _slices(len(self.queries), self.tiling.block(len(self.keys)))

    def tiles(self, rows: slice, *, keep: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """The tiles of a block of rows: the keys, n of them, and ``(c, n)`` logits.

        Pairs that are left out have minus infinity. A tile may be changed in place; it is
        overwritten by that of the same keys in the next block, unless one ``keep``s them.
        """
        excluded = None if self.excluded is None else self.excluded(rows)
        for keys in _slices(len(self.keys), self.tiling.columns):
            tile = self._products(rows, keys, rows.start if keep else 0)
            if excluded is not None:
                tile.masked_fill_(excluded[:, keys], -torch.inf)
            if self.own is not None:
                tile.diagonal(self.own + rows.start - keys.start).fill_(-torch.inf)
            yield keys, tile

    def _products(self, rows: slice, keys: slice, place: int) -> Tensor:
        left, right = self._left[rows], self._right[keys].T
        if not self.on_cpu:
            if left.dtype == self.exact:
                return left @ right
            return torch.mm(left, right, out_dtype=self.exact)
        tile = self._memory.get((place, keys.start))
        if tile is None or tile.shape != (left.shape[0], right.shape[1]):
            tile = left.new_empty(left.shape[0], right.shape[1])
            self._memory[place, keys.start] = tile
        return torch.mm(left, right, out=tile)


class Slopes:
    """Gradients of a sum over pairs, gathered from its derivatives by the logits.

    Args:
        pairs: the pairs.

    Attributes:
        queries: ``(M, D)``, for each query the sum of its keys, each times a derivative.
        keys: ``(N, D)``, for each key the sum of its scaled queries, each times a derivative.
    """

    def __init__(self, pairs: Similarities) -> None:
        self.pairs = pairs
        self.queries = torch.zeros_like(pairs.queries)
        self.keys = torch.zeros_like(pairs.keys)

    def add(self, rows: slice, columns: slice, slopes: Tensor) -> None:
        """Add a tile of derivatives, ``(c, n)``."""
        slopes = slopes.to(self.pairs.fast)
        add_product(self.queries[rows], slopes, self.pairs.fast_keys[columns])
        add_product(self.keys[columns], slopes.T, self.pairs.scaled[rows].to(slopes.dtype))

    def add_own(self, slopes: Tensor) -> None:
        """Add the derivatives by the logits of the own pairs, ``(M,)``."""
        own, slopes = self.pairs.own_keys, slopes.unsqueeze(1)
        self.queries.addcmul_(slopes, self.pairs.keys[own])
        self.keys[own].addcmul_(slopes, self.pairs.scaled)

    def times(self, factor: float) -> tuple[Slope, Slope, Slope]:
        """Gradients for queries, keys and scale, where the sum is multiplied by a factor."""
        scale = torch.dot(self.queries.flatten(), self.pairs.queries.flatten())
        by_query, by_scale = self.pairs.scale * factor, factor
        return (self.queries, by_query), (self.keys, factor), (scale, by_scale)


def add_product(into: Tensor, a: Tensor, b: Tensor) -> None:
    """``into += a @ b``; a sum of bfloat16 products is as exact as ``into``."""
    if into.dtype == a.dtype:
        into.addmm_(a, b)
    else:
        into += a @ b


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
