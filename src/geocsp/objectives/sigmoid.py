"""Binary cross-entropy over all pairs; :func:`geocsp.objectives.pairs.sigmoid_pairs`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.objectives.tiles import Loss, Mask, Similarities, Slopes


def sigmoid_loss(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    *,
    fast: torch.dtype,
    wanted: bool,
    own: int,
    others: float,
    epsilon: float,
    excluded: Mask | None,
) -> Loss:
    """Loss; gradients for queries, keys, scale and bias."""
    pairs = Similarities(queries, keys, scale, fast=fast, bias=bias, own=own, excluded=excluded)
    slopes = Slopes(pairs)
    own_logits = pairs.own_logits + bias
    loss = binary_nll(own_logits, epsilon).sum()
    by_bias = torch.zeros_like(loss)
    for rows in pairs.blocks():
        for columns, tile in pairs.tiles(rows):
            loss += others * _cost_of_others(tile.add_(bias), epsilon)
            if wanted:
                tile.mul_(others)
                by_bias += tile.sum(dtype=pairs.exact)
                slopes.add(rows, columns, tile)
    mean = 1 / len(queries)
    if not wanted:
        return loss * mean, ()
    own_slope = -own_logits
    _cost_of_others(own_slope, epsilon)
    slopes.add_own(own_slope.neg_())
    return loss * mean, (*slopes.times(mean), (by_bias + own_slope.sum(), mean))


def binary_nll(logit: Tensor, epsilon: float) -> Tensor:
    """-log(sigmoid(logit) + epsilon), element by element, stable where epsilon is zero."""
    if epsilon == 0:
        return -F.logsigmoid(logit)
    return -(logit.sigmoid() + epsilon).log()


def _cost_of_others(logits: Tensor, epsilon: float) -> Tensor:
    """Sum of -log(1 - sigmoid(logit) + epsilon); the logits turn into its derivatives.

    Logits of minus infinity count as zero.
    """
    exact = torch.promote_types(logits.dtype, torch.float)
    if epsilon == 0:
        cost = F.softplus(logits).sum(dtype=exact)
        logits.sigmoid_()
        return cost
    left_out = logits == -torch.inf
    absent = logits.neg().sigmoid_()
    logits.sigmoid_().mul_(absent)
    absent.add_(epsilon)
    logits.div_(absent)
    return -absent.log_().masked_fill_(left_out, 0.0).sum(dtype=exact)
