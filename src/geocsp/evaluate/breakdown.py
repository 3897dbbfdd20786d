"""Accuracy by region, by distance to the nearest label and by confidence of the image model.

Intervals are Wilson's 95 % intervals of a share (Wilson, JASA 1927), for images that are drawn
independently. Images near each other are not quite: they are for reading a figure, and
:mod:`geocsp.evaluate.significance` is for claims.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers

EDGES_KM = (0.0, 25.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2500.0)
NO_PLACE = "no place"
_NORMAL = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Slice:
    """Some of the test rows.

    Attributes:
        name: what they have in common.
        count: number of images.
        top1: share of right answers, in [0, 1]; equal classes share theirs.
        low: lower end of its interval.
        high: upper end.
        confidence: mean confidence of the answers.
    """

    name: str
    count: int
    top1: float
    low: float
    high: float
    confidence: float


def by_group(
    answers: Answers,
    groups: NDArray[np.integer],
    names: Sequence[str],
    images: NDArray[np.integer] | None = None,
) -> tuple[Slice, ...]:
    """Accuracy by group, such as the region.

    Args:
        answers: of N rows.
        groups: ``(N,)`` index into the names, -1 for rows without a place.
        names: of the groups.
        images: ``(N,)`` number of the image that each row is about, for answers of several runs
            about the same images: intervals are as wide as if each image was there once. All rows
            are of different images if left out.

    Returns:
        One slice for each group with rows, in the order of the names; rows without a place last.

    Raises:
        DataError: sizes that do not fit, or a group without a name.
    """
    _check(answers, groups, "groups")
    out = (groups < -1) | (groups >= len(names))
    if out.any():
        row = int(out.argmax())
        raise DataError(f"group of row {row} is {groups[row]}, not in -1..{len(names) - 1}")
    return _slices(answers, np.where(groups < 0, len(names), groups), [*names, NO_PLACE], images)


def by_distance(
    answers: Answers,
    km: NDArray[np.floating],
    edges: Sequence[float] = EDGES_KM,
    images: NDArray[np.integer] | None = None,
) -> tuple[Slice, ...]:
    """Accuracy by distance to the nearest labelled place.

    Args:
        answers: of N rows.
        km: ``(N,)`` distances, NaN for rows without a place.
        edges: increasing distances in km, the first 0; a lower edge belongs to its slice, and the
            last slice is open above.
        images: as for :func:`by_group`.

    Returns:
        One slice for each range with rows, the nearest first; rows without a place last.

    Raises:
        DataError: sizes that do not fit, negative distances, or edges that are not as said.
    """
    _check(answers, km, "km")
    bounds = np.asarray(edges, dtype=np.float64)
    if bounds.size == 0 or bounds[0] != 0 or not (np.diff(bounds) > 0).all():
        raise DataError(f"edges must increase from 0, got {list(edges)}")
    if (km < 0).any():
        row = int((km < 0).argmax())
        raise DataError(f"km of row {row} is {km[row]:g}, and must not be negative")
    names = [f"{low:g} to {high:g} km" for low, high in itertools.pairwise(edges)]
    names += [f"over {edges[-1]:g} km", NO_PLACE]
    member = np.searchsorted(bounds, km, side="right") - 1
    return _slices(answers, np.where(np.isnan(km), len(bounds), member), names, images)


def by_confidence(
    answers: Answers,
    confidence: NDArray[np.floating],
    bins: int = 5,
    images: NDArray[np.integer] | None = None,
) -> tuple[Slice, ...]:
    """Accuracy by confidence of another model, such as the image model alone.

    Args:
        answers: of N rows.
        confidence: ``(N,)`` of the other model, in [0, 1].
        bins: number of slices of about as many rows; fewer where many confidences are equal,
            because equal ones are in one slice.
        images: as for :func:`by_group`.

    Returns:
        The slices, least confidence first.

    Raises:
        DataError: sizes that do not fit, no bins, or confidences out of [0, 1].
    """
    _check(answers, confidence, "confidence")
    wrong = ~((confidence >= 0) & (confidence <= 1))
    if wrong.any() or bins < 1:
        row = int(wrong.argmax())
        raise DataError(
            f"need bins >= 1 and confidences in [0, 1], got {bins} and {confidence[row]:g} in row "
            f"{row}"
        )
    if len(confidence) == 0:
        return ()
    edges = np.unique(np.quantile(confidence, np.linspace(0.0, 1.0, bins + 1)))
    member = np.digitize(confidence, edges[1:-1])
    uppers = edges[1:] if len(edges) > 1 else edges
    names = [f"{low:.2f} to {high:.2f}" for low, high in zip(edges, uppers, strict=False)]
    return _slices(answers, member, names, images)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Both ends of Wilson's 95 % interval of a share of ``count`` things."""
    pull = _NORMAL**2 / count
    centre = (share + pull / 2) / (1 + pull)
    half = math.sqrt(pull * (share * (1 - share) + pull / 4)) / (1 + pull)
    return max(0.0, centre - half), min(1.0, centre + half)


def _check(answers: Answers, values: NDArray[np.generic], name: str) -> None:
    if values.shape != (len(answers),):
        raise DataError(
            f"{name} must be ({len(answers)},), one for each answer; got {values.shape}"
        )


def _slices(
    answers: Answers,
    member: NDArray[np.integer],
    names: Sequence[str],
    images: NDArray[np.integer] | None,
) -> tuple[Slice, ...]:
    """One slice for each name that has rows."""
    if images is not None:
        _check(answers, images, "images")
    hits = answers.hits(1)
    found = []
    for number, name in enumerate(names):
        rows = member == number
        count = int(rows.sum()) if images is None else len(np.unique(images[rows]))
        if count:
            top1, confidence = float(hits[rows].mean()), float(answers.confidence[rows].mean())
            found.append(Slice(name, count, top1, *wilson(top1, count), confidence))
    return tuple(found)
