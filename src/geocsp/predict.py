"""P(y | I, x): combine any classifier's probabilities with a location prior."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from geocsp.coords import check_lonlat
from geocsp.errors import DataError
from geocsp.fusion import (
    Calibration,
    Fusion,
    GuardedFusion,
    fit_calibration,
    fused_logits,
)

__all__ = ["Calibration", "LocationPrior", "fit_calibration", "fuse", "fused_logits"]

_SMALLEST = 1e-12


class LocationPrior(Protocol):
    """What says how likely each class is at a place: a trained prior, or one that counts."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the Q classes mean."""

    def class_scores(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Presence scores before the sigmoid: ``(N, 2)`` degrees to ``(N, Q)``."""


def fuse(
    image_probabilities: Tensor,
    prior: LocationPrior,
    lonlat: Tensor,
    fusion: Fusion | GuardedFusion | None = None,
    time: Tensor | None = None,
) -> Tensor:
    """Sharpen image probabilities with a location prior (Mai et al., ICML 2023, section 3.4).

    Args:
        image_probabilities: ``(N, Q)`` of any classifier, classes in the order of the prior.
        prior: location prior over the same Q classes.
        lonlat: ``(N, 2)`` degrees; a row with NaN has no place and keeps the image's answer.
        fusion: from :func:`geocsp.fusion.fit_fusion` or
            :func:`geocsp.fusion.fit_guarded_fusion`; the plain product if left out.
        time: ``(N, 2)`` date and hour, for priors that take them.

    Returns:
        ``(N, Q)`` probabilities, each row summing to one.

    Raises:
        DataError: shapes that do not fit, probabilities that are negative or not finite, or a
            guarded fusion that was fitted with the disagreement of an ensemble.
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
    if isinstance(fusion, GuardedFusion):
        logits = fusion.logits(log_image, scores, lonlat)
    else:
        logits = (fusion or Calibration()).logits(log_image, scores)
    fused = logits.softmax(dim=1).to(image_probabilities)
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
