"""How well do presence scores rank the places where a class occurs above the others?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.errors import DataError, MissingExtraError

_SCORES = 2**26
"""Scores in memory at once: 256 MiB in float32."""


class Prior(Protocol):
    """What gives scores to classes at places: any location prior of the library."""

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the Q classes."""

    def class_scores(self, lonlat: Tensor) -> Tensor:
        """``(N, 2)`` degrees to scores ``(N, Q)``."""


@dataclass(frozen=True, eq=False)
class RangeMaps:
    """Average precision of the range maps of Q classes.

    Attributes:
        precision: ``(Q,)`` average precision, NaN for a class that is present nowhere.
        present: ``(Q,)`` int64 places where the class is present.
    """

    precision: NDArray[np.float64]
    present: NDArray[np.int64]

    @property
    def mean(self) -> float:
        """Mean average precision over the classes that are present somewhere, in [0, 1]."""
        return float(np.nanmean(self.precision))


def average_precision(scores: Tensor, presence: Tensor) -> RangeMaps:
    """Average precision of each class, as SINR is evaluated (Cole et al., ICML 2023).

    The precision at each score, weighted by the recall gained there, without interpolation; places
    with equal scores come together, as in scikit-learn, which counts.

    Args:
        scores: ``(M, Q)`` of any monotone scale, a higher one for more likely presence.
        presence: ``(M, Q)`` bool, where each class is.

    Raises:
        DataError: shapes that do not fit, scores that are not finite, or no class is present.
        MissingExtraError: scikit-learn is not installed.
    """
    _check(scores.shape, presence)
    return RangeMaps(_precision(scores, presence), presence.sum(0).cpu().numpy())


def range_maps(prior: Prior, lonlat: Tensor, presence: Tensor) -> RangeMaps:
    """Average precision of the range maps of a prior, see :func:`average_precision`.

    Exact in bounded memory: where the scores of all places and classes are too many, they are
    computed again for each part of the classes.

    Args:
        prior: over Q classes.
        lonlat: ``(M, 2)`` degrees.
        presence: ``(M, Q)`` bool, where each class is, classes in the order of the prior.

    Raises:
        DataError: shapes that do not fit, scores that are not finite, or no class is present.
        MissingExtraError: scikit-learn is not installed.
        ValueError: a place is missing or out of range.
    """
    _check((len(lonlat), len(prior.class_names)), presence)
    parts = torch.arange(presence.shape[1]).split(max(1, _SCORES // len(lonlat)))
    precision = [
        _precision(_part_scores(prior, lonlat, part), presence[:, part.to(presence.device)])
        for part in parts
    ]
    return RangeMaps(np.concatenate(precision), presence.sum(0).cpu().numpy())


def _check(shape: tuple[int, ...], presence: Tensor) -> None:
    if presence.shape != shape or presence.ndim != 2 or presence.dtype != torch.bool:
        raise DataError(
            f"presence must be bool (places, classes) = {tuple(shape)}, got {presence.dtype} "
            f"{tuple(presence.shape)}"
        )
    if not bool(presence.any()):
        raise DataError("no class is present at any place: there is nothing to rank")


def _part_scores(prior: Prior, lonlat: Tensor, part: Tensor) -> Tensor:
    """Scores of some classes at all places, ``(M, q)``."""
    rows = max(1, _SCORES // len(prior.class_names))
    scores = [prior.class_scores(places)[:, part].cpu() for places in lonlat.split(rows)]
    return torch.cat(scores)


def _precision(scores: Tensor, presence: Tensor) -> NDArray[np.float64]:
    """Average precision of each class, ``(q,)``."""
    try:
        from sklearn.metrics import average_precision_score
    except ImportError:
        raise MissingExtraError("scikit-learn", "evaluate") from None
    precision = np.full(scores.shape[1], np.nan)
    for column, (values, present) in enumerate(zip(scores.T, presence.T, strict=True)):
        if not bool(values.isfinite().all()):
            row = int((~values.isfinite()).nonzero()[0])
            raise DataError(f"score of place {row} is {float(values[row]):g}, not finite")
        if bool(present.any()):
            here = values.detach().cpu().double().numpy()
            precision[column] = average_precision_score(present.cpu().numpy(), here)
    return precision
