"""P(y | I, x): combine any classifier's probabilities with a location prior."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol

import torch
from torch import Tensor

from geocsp.arrays import ScoresT, places_of, scores_of
from geocsp.coords import check_lonlat
from geocsp.errors import DataError
from geocsp.fusion import (
    Calibration,
    Fusion,
    GuardedFusion,
    fit_calibration,
    fused_logits,
)

__all__ = [
    "Calibration",
    "LocationPrior",
    "ScoreKind",
    "fit_calibration",
    "fuse",
    "fused_logits",
    "probabilities_of",
]

_SMALLEST = 1e-12


class ScoreKind(StrEnum):
    """What the numbers of an image classifier are.

    ``PROBABILITIES``: not negative; rows are scaled to sum to one. ``LOGITS``: any numbers, of
    which a softmax makes probabilities; minus infinity rules a class out.
    """

    PROBABILITIES = "probabilities"
    LOGITS = "logits"


class LocationPrior(Protocol):
    """What says how likely each class is at a place: a trained prior, or one that counts."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the Q classes mean."""

    def class_scores(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Presence scores before the sigmoid: ``(N, 2)`` degrees to ``(N, Q)``."""


def fuse(
    image_probabilities: ScoresT,
    prior: LocationPrior,
    lonlat: Any,
    fusion: Fusion | GuardedFusion | None = None,
    time: Any = None,
    *,
    kind: ScoreKind = ScoreKind.PROBABILITIES,
) -> ScoresT:
    """Sharpen image probabilities with a location prior (Mai et al., ICML 2023, section 3.4).

    Args:
        image_probabilities: ``(N, Q)`` of any classifier. A tensor or a NumPy array has its classes
            in the order of the prior. A pandas or polars DataFrame has a column for every class, in
            any order, found by name.
        prior: location prior over the same Q classes.
        lonlat: ``(N, 2)`` degrees, tensor or array, or a DataFrame with columns of longitude and
            latitude; a row with NaN has no place and keeps the image's answer.
        fusion: from :func:`geocsp.fusion.fit_fusion` or
            :func:`geocsp.fusion.fit_guarded_fusion`; the plain product if left out.
        time: ``(N, 2)`` date and hour, tensor or array, for priors that take them.
        kind: whether these are probabilities or logits.

    Returns:
        ``(N, Q)`` probabilities, each row summing to one, in the kind of array or DataFrame that
        was given, with its columns, index and floating point type. Tensors are computed in their
        type, all else in float64.

    Raises:
        DataError: shapes or class names that do not fit, probabilities that are negative or not
            finite, logits that are NaN or infinite, or a guarded fusion that was fitted with the
            disagreement of an ensemble.
        ValueError: a place is out of range.
    """
    scores, back = scores_of(image_probabilities, prior.class_names)
    moments = None if time is None else torch.as_tensor(time)
    return back(_fused(scores, prior, places_of(lonlat), fusion, moments, kind))


def _fused(
    image: Tensor,
    prior: LocationPrior,
    lonlat: Tensor,
    fusion: Fusion | GuardedFusion | None,
    time: Tensor | None,
    kind: ScoreKind,
) -> Tensor:
    image_probabilities = probabilities_of(image, kind, len(lonlat), len(prior.class_names))
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


def probabilities_of(image: Tensor, kind: ScoreKind, rows: int, classes: int) -> Tensor:
    """Probabilities, not negative and not all zero in any row, of scores of a kind.

    Args:
        image: ``(N, Q)`` scores.
        kind: what they are.
        rows: N.
        classes: Q.

    Raises:
        DataError: the first row that cannot be what the kind says, or a shape that does not fit.
    """
    if image.shape != (rows, classes):
        raise DataError(
            f"image {kind.value} must be (places, classes) = ({rows}, {classes}), got "
            f"{tuple(image.shape)}"
        )
    good = usable(image, kind)
    if not bool(good.all()):
        raise DataError(f"image {kind.value} of row {int((~good).nonzero()[0])} {WHY_NOT[kind]}")
    return image.softmax(dim=1) if kind is ScoreKind.LOGITS else image


def usable(image: Tensor, kind: ScoreKind) -> Tensor:
    """Which rows of ``(N, Q)`` scores can be what the kind says, ``(N,)``."""
    if kind is ScoreKind.LOGITS:
        return ~image.isnan().any(1) & image.amax(1).isfinite()
    return ((image >= 0) & image.isfinite()).all(1) & (image.sum(1) > 0)


WHY_NOT = {
    ScoreKind.PROBABILITIES: "must be finite, >= 0 and not all zero; if these are logits, say so "
    "(ScoreKind.LOGITS, --logits) or apply softmax first",
    ScoreKind.LOGITS: "must be numbers, none of them NaN or plus infinity",
}
"""What a row that cannot be used is to be told."""
