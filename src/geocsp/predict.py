"""P(y | I, x): combine any classifier's probabilities with a location prior."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.checks import check_finite_rows
from geocsp.coords import check_lonlat
from geocsp.errors import DataError
from geocsp.model import GeoPrior

_SMALLEST = 1e-12


@dataclass(frozen=True)
class Calibration:
    """How much to trust each side of the product; ones give the plain product.

    ``P(y|I,x)`` is proportional to ``P(y|I)^(1/image_temperature)`` times
    ``sigmoid(score / prior_temperature)^prior_power``.

    Attributes:
        image_temperature: above 1 softens the image classifier.
        prior_temperature: above 1 softens the presence scores, which the presence-absence loss
            drives into saturation.
        prior_power: 0 ignores the place.
    """

    image_temperature: float = 1.0
    prior_temperature: float = 1.0
    prior_power: float = 1.0

    def __post_init__(self) -> None:
        if not (self.image_temperature > 0 and self.prior_temperature > 0 <= self.prior_power):
            raise ValueError(f"temperatures must be > 0 and the power >= 0, got {self}")


def fuse(
    image_probabilities: Tensor,
    prior: GeoPrior,
    lonlat: Tensor,
    calibration: Calibration | None = None,
    time: Tensor | None = None,
) -> Tensor:
    """Sharpen image probabilities with a location prior (Mai et al., ICML 2023, section 3.4).

    Args:
        image_probabilities: ``(N, Q)`` of any classifier, classes in the order of the prior.
        prior: location prior over the same Q classes.
        lonlat: ``(N, 2)`` degrees; a row with NaN has no place and keeps the image's answer.
        calibration: from :func:`fit_calibration`; the plain product if left out.
        time: ``(N, 2)`` date and hour, for priors that take them.

    Returns:
        ``(N, Q)`` probabilities, each row summing to one.

    Raises:
        DataError: shapes that do not fit, or probabilities that are negative or not finite.
        ValueError: a place is out of range.
    """
    _check_probabilities(image_probabilities, len(prior.class_names), len(lonlat))
    placed = ~lonlat.isnan().any(dim=1)
    check_lonlat(torch.where(placed.unsqueeze(1), lonlat, 0.0))
    log_image = image_probabilities.clamp_min(_SMALLEST).log()
    scores = torch.zeros_like(log_image)
    if bool(placed.any()):
        moments = None if time is None else time[placed]
        scores[placed] = prior.class_scores(lonlat[placed], moments).to(scores)
    fused = fused_logits(log_image, scores, calibration or Calibration()).softmax(dim=1)
    alone = image_probabilities / image_probabilities.sum(dim=1, keepdim=True)
    return torch.where(placed.unsqueeze(1), fused, alone)


def _check_probabilities(probabilities: Tensor, classes: int, rows: int) -> None:
    if probabilities.shape != (rows, classes):
        raise DataError(
            f"image probabilities must be (places, classes) = ({rows}, {classes}), got "
            f"{tuple(probabilities.shape)}"
        )
    good = ((probabilities >= 0) & probabilities.isfinite()).all(1) & (probabilities.sum(1) > 0)
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        raise DataError(
            f"image probabilities of row {row} must be finite, >= 0 and not all zero; if these "
            "are logits, apply softmax first"
        )


def fused_logits(log_image: Tensor, scores: Tensor, calibration: Calibration) -> Tensor:
    """Unnormalised log P(y|I,x) from log P(y|I) and presence scores, both ``(N, Q)``."""
    prior = F.logsigmoid(scores / calibration.prior_temperature)
    return log_image / calibration.image_temperature + calibration.prior_power * prior


def fit_calibration(log_image: Tensor, scores: Tensor, labels: Tensor) -> Calibration:
    """Choose the calibration that minimises the negative log-likelihood of held-out labels.

    Fit it on a validation split, never on rows used for training or reporting. The three
    parameters are found on a log scale by L-BFGS in float64, with a weak pull towards one that
    keeps them finite where the labels do not determine them.

    Args:
        log_image: ``(N, Q)`` log P(y|I).
        scores: ``(N, Q)`` presence scores before the sigmoid.
        labels: ``(N,)`` classes.

    Raises:
        DataError: shapes that do not fit, or presence scores that are not finite.
    """
    if log_image.shape != scores.shape or labels.shape != scores.shape[:1] or not len(labels):
        raise DataError(
            "log_image, scores and labels must be (N, Q), (N, Q) and (N,), got "
            f"{tuple(log_image.shape)}, {tuple(scores.shape)} and {tuple(labels.shape)}"
        )
    check_finite_rows(scores, "presence scores")
    log_image, scores = log_image.double().clamp_min(math.log(_SMALLEST)), scores.double()
    logs = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        image_temperature, prior_temperature, power = logs.clamp(-7, 7).exp()
        prior = power * F.logsigmoid(scores / prior_temperature)
        loss = F.cross_entropy(log_image / image_temperature + prior, labels)
        loss = loss + 1e-3 * logs.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return Calibration(*logs.detach().clamp(-7, 7).exp().tolist())
