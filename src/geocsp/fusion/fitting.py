"""Fitting what joins image and place to held-out labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.checks import check_finite_rows, check_labels
from geocsp.errors import DataError
from geocsp.fusion.variants import Calibration, Fusion, Mixture, Variant

_SMALLEST = 1e-12
_PULL = 1e-3
_LIMIT = 7.0


def fit_fusion(
    log_image: Tensor, scores: Tensor, labels: Tensor, variant: Variant = Variant.POWER
) -> Calibration | Mixture:
    """Choose the numbers that minimise the negative log-likelihood of held-out labels.

    Fit them on a validation split, never on rows used for training or reporting. They are found
    on a log scale (a weight on a logit scale) by L-BFGS in float64, with a weak pull towards the
    plain product (equal weights) that keeps them finite where the labels do not determine them.

    Args:
        log_image: ``(N, Q)`` log P(y|I).
        scores: ``(N, Q)`` presence scores before the sigmoid.
        labels: ``(N,)`` classes.
        variant: what is fitted.

    Raises:
        DataError: shapes that do not fit, no rows, or presence scores that are not finite.
    """
    check_rows(log_image, scores, labels)
    check_finite_rows(scores, "presence scores")
    image, place = comparable(log_image), scores.double()

    def loss(freely: Tensor) -> Tensor:
        return F.cross_entropy(fusion_of(variant, freely).logits(image, place), labels)

    return fusion_of(variant, least(loss, torch.zeros(numbers_of(variant))))


def fit_calibration(log_image: Tensor, scores: Tensor, labels: Tensor) -> Calibration:
    """Choose temperatures and power; see :func:`fit_fusion`, whose ``POWER`` it is.

    Args:
        log_image: ``(N, Q)`` log P(y|I).
        scores: ``(N, Q)`` presence scores before the sigmoid.
        labels: ``(N,)`` classes.

    Raises:
        DataError: as there.
    """
    fitted = fit_fusion(log_image, scores, labels)
    assert isinstance(fitted, Calibration)
    return fitted


def fused_logits(log_image: Tensor, scores: Tensor, calibration: Fusion) -> Tensor:
    """Unnormalised log P(y|I,x) from log P(y|I) and presence scores, both ``(N, Q)``."""
    return calibration.logits(log_image, scores)


def check_rows(log_image: Tensor, scores: Tensor, labels: Tensor) -> None:
    """Raise a DataError unless shapes fit, there are rows, and labels are classes."""
    if log_image.shape != scores.shape or labels.shape != scores.shape[:1] or not len(labels):
        raise DataError(
            "log_image, scores and labels must be (N, Q), (N, Q) and (N,), got "
            f"{tuple(log_image.shape)}, {tuple(scores.shape)} and {tuple(labels.shape)}"
        )
    check_labels(labels, *scores.shape)


def comparable(log_image: Tensor) -> Tensor:
    """Float64, and no class ruled out, so that a likelihood is finite.

    Raises:
        DataError: a row is not finite otherwise.
    """
    clamped = log_image.double().clamp_min(math.log(_SMALLEST))
    check_finite_rows(clamped, "logarithms of image probabilities")
    return clamped


def fit_image_temperature(log_image: Tensor, labels: Tensor) -> float:
    """Temperature of the image alone; the arguments are as :func:`comparable` makes them."""

    def loss(freely: Tensor) -> Tensor:
        return F.cross_entropy(log_image / bounded(freely).exp(), labels)

    return float(bounded(least(loss, torch.zeros(1))).exp())


def numbers_of(variant: Variant) -> int:
    """How many numbers are fitted."""
    return {Variant.PRODUCT: 0, Variant.TEMPERATURES: 2}.get(variant, 3)


def fusion_of(variant: Variant, freely: Tensor) -> Calibration | Mixture:
    """The fusion with these numbers, which may be any; all zero for the plain product.

    Of numbers that need a gradient, the fusion has one.
    """
    logs = bounded(freely)
    values: Any = logs.exp()
    if variant is Variant.ADDITIVE:
        values = torch.stack([values[0], values[1], logs[2].sigmoid()])
    kind = Mixture if variant is Variant.ADDITIVE else Calibration
    return kind(*(values if freely.requires_grad else values.tolist()))


def bounded(freely: Tensor) -> Tensor:
    """Numbers that are not so large that their exponentials are useless."""
    return freely.clamp(-_LIMIT, _LIMIT)


def least(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Where a loss has its minimum, near zero if the loss does not say where.

    Args:
        loss: of ``(P,)`` numbers in float64.
        start: ``(P,)`` where to start.
    """
    point = start.double().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([point], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(point) + _PULL * point.square().sum()
        value.backward()
        return value

    if len(start):
        optimizer.step(closure)
    return point.detach()
