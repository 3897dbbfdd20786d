"""Losses over all pairs of two sets of embeddings, in memory that grows with one side only.

They go through the similarities tile by tile (:mod:`geocsp.objectives.tiles`) and compute the
gradients on the way, so that no tile is kept for the backward pass. The softmax is summed up with
a running maximum (Milakov and Gimelshein, 2018, algorithm 3).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from geocsp.objectives.sigmoid import binary_nll, sigmoid_loss
from geocsp.objectives.softmax import both_ways_softmax, one_way_softmax
from geocsp.objectives.tiles import Loss, Mask

__all__ = ["Mask", "binary_nll", "sigmoid_pairs", "softmax_pairs"]


def softmax_pairs(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor | float,
    *,
    own: int = 0,
    excluded: Mask | None = None,
    targets: Mask | None = None,
    both_ways: bool = False,
) -> Tensor:
    """Cross-entropy of each query over all keys (InfoNCE; van den Oord et al., 2018).

    The mean over queries i of ``W_i lse_j(scale q_i . k_j) - sum_j w_ij scale q_i . k_j``, where
    w_ij is 1 for the query's own key and 0 for all others, unless ``targets`` says otherwise, and
    W_i is the sum of w_ij over j.

    Args:
        queries: ``(M, D)``.
        keys: ``(N, D)``.
        scale: inverse temperature, a scalar.
        own: query i's own key is number ``own + i``.
        excluded: from a slice of queries, c long, to ``(c, N)`` bool: pairs that are left out of
            the softmax; never an own pair or one with a weight.
        targets: likewise to the weights w, ``(c, N)``. A query without any costs nothing.
        both_ways: the mean of this loss and that of the keys over the queries, where
            ``excluded`` must be symmetric.

    Returns:
        The loss, a scalar, with gradients for queries, keys and scale.

    Raises:
        ValueError: ``both_ways`` with targets, or with queries that do not match the keys.
    """
    if not both_ways:
        one_way = partial(one_way_softmax, own=own, excluded=excluded, targets=targets)
        return _evaluate(one_way, queries, keys, scale)
    if targets is not None or own or len(queries) != len(keys):
        raise ValueError(
            f"both_ways needs one key for each query and no targets, got {len(queries)} queries, "
            f"{len(keys)} keys, own = {own} and {'no ' if targets is None else ''}targets"
        )
    return _evaluate(partial(both_ways_softmax, excluded=excluded), queries, keys, scale)


def sigmoid_pairs(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor | float,
    bias: Tensor | float = 0.0,
    *,
    own: int = 0,
    others: float = 1.0,
    epsilon: float = 0.0,
    excluded: Mask | None = None,
) -> Tensor:
    """Binary cross-entropy of each pair: own pairs belong together, all others do not.

    With ``z_ij = scale q_i . k_j + bias`` and ``l(z) = -log(sigmoid(z) + epsilon)``, the mean
    over queries i of ``l(z_ii) + others * sum_{j != i} l(-z_ij)``. SigLIP (Zhai et al., ICCV
    2023) has ``others = 1``, a mean over negatives ``others = 1 / (N - 1)``.

    Args:
        queries: ``(M, D)``.
        keys: ``(N, D)``.
        scale: inverse temperature, a scalar.
        bias: added to the logits, a scalar.
        own: query i's own key is number ``own + i``.
        others: weight of the other pairs.
        epsilon: added inside the logarithm.
        excluded: from a slice of queries, c long, to ``(c, N)`` bool: pairs that do not count;
            never an own pair.

    Returns:
        The loss, a scalar, with gradients for queries, keys, scale and bias.
    """
    loss = partial(sigmoid_loss, own=own, others=others, epsilon=epsilon, excluded=excluded)
    return _evaluate(loss, queries, keys, scale, bias)


def _evaluate(loss: Callable[..., Loss], queries: Tensor, *others: Tensor | float) -> Tensor:
    wanted = torch.is_grad_enabled() and any(
        isinstance(value, Tensor) and value.requires_grad for value in (queries, *others)
    )
    value: Tensor = _WithGradients.apply(loss, wanted, queries, *others)  # type: ignore[no-untyped-call]
    return value


class _WithGradients(torch.autograd.Function):
    """A loss whose gradients come with its value."""

    @staticmethod
    def forward(
        ctx: Any, loss: Callable[..., Loss], wanted: bool, queries: Tensor, *others: Tensor | float
    ) -> Tensor:
        device, fast = queries.device.type, torch.float32
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
            fast = torch.bfloat16  # float16 could not hold the powers
        with torch.autocast(device, enabled=False):
            value, slopes = loss(queries, *others, fast=fast, wanted=wanted)
        ctx.save_for_backward(*(slope for slope, _ in slopes))
        ctx.factors = [factor for _, factor in slopes]
        ctx.dtypes = [getattr(given, "dtype", None) for given in (queries, *others)]
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        given = zip(
            ctx.saved_tensors, ctx.factors, ctx.dtypes, ctx.needs_input_grad[2:], strict=True
        )
        return (
            None,
            None,
            *(
                (slope * (factor * gradient)).to(dtype) if needed else None
                for slope, factor, dtype, needed in given
            ),
        )
