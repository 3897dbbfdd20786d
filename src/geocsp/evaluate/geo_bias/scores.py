"""Marked and unmarked spatial self-information around the places where a model fails."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from geocsp.coords import EARTH_RADIUS_KM, unit_vectors
from geocsp.data.audit.coordinates import distinct_places, has_place
from geocsp.data.splitters.base import checked_places
from geocsp.data.table import Floats
from geocsp.errors import DataError
from geocsp.evaluate.geo_bias.points import Points, background
from geocsp.evaluate.geo_bias.surprisal import LIMIT, self_information

_HIGH = 0.5
_MOST_NEIGHBOURS = 6
"""Beyond it the published variance can be negative."""


@dataclass(frozen=True, eq=False)
class GeoBias:
    """Spatial self-information around C rows with low performance, nats.

    Attributes:
        rows: ``(C,)`` int64 the rows, in the order of the input.
        sizes: ``(C,)`` int64 rows within the radius of each, itself among them.
        unmarked_scores: ``(C,)`` of points against background: how unlikely it is that these test
            points lie as they do if they are spread evenly.
        marked_scores: ``(C,)`` of high and low performance against background: how unlikely it is
            that good and bad answers lie as they do if they are dealt out by chance.
    """

    rows: NDArray[np.int64]
    sizes: NDArray[np.int64]
    unmarked_scores: NDArray[np.float64]
    marked_scores: NDArray[np.float64]

    @property
    def unmarked(self) -> float:
        """Mean unmarked score; NaN if no performance is low."""
        return _mean(self.unmarked_scores)

    @property
    def marked(self) -> float:
        """Mean marked score; NaN if no performance is low."""
        return _mean(self.marked_scores)

    @property
    def limited(self) -> float:
        """Share of unmarked scores at the highest value there is, which say no more than that."""
        return _mean((self.unmarked_scores >= LIMIT - 1e-9).astype(np.float64))

    def metrics(self) -> dict[str, float]:
        """geo_bias_unmarked and geo_bias_marked."""
        return {"geo_bias_unmarked": self.unmarked, "geo_bias_marked": self.marked}


def geo_bias(
    hits: ArrayLike,
    lonlat: ArrayLike,
    *,
    radius_km: float = 100.0,
    neighbours: int = 4,
    centres: int | None = None,
    seed: int = 0,
) -> GeoBias:
    """How far from chance the answers of a model lie around the places where it fails.

    A higher score means more geo-bias: failures (marked) or the points around them (unmarked) lie
    in patterns, mostly clusters, that chance does not explain. 0 is what chance gives. The scores
    grow with the number of points in a neighbourhood, so compare models on the same rows only. A
    row without place is left out.

    After TorchSpatial (Wu et al., NeurIPS 2024, datasets track) and GeoBS (Wang et al., arXiv
    2509.23482). Around every row with low performance, the points within the radius get mark 1 if
    their performance is high and -1 if it is low, or 1 throughout for the unmarked score, and a
    regular background in rings around the centre gets mark 0, five times as many points. Every
    point has its 4 nearest others as neighbours, with weight 1. Moran's sum over them is held
    against a normal distribution (:func:`~geocsp.evaluate.geo_bias.surprisal.self_information`).
    The score of the model is the mean over the centres.

    The published text and programs leave some of this open or differ. Here, scores and background
    are those of the authors' package PyGBS of July 2025: the probability of both tails, where its
    tables of early 2025 have the density of the normal distribution; marks 1 and -1, where those
    tables have 1 and 0, which makes failures background. Centres and mean are those of the
    authors' program for TorchSpatial. All points within the radius count; the package takes the
    100 or 400 nearest of them. Of points equally far away, which those at one place are, it takes
    some in the order of a search tree, and may take a point's twin for the point; here they share
    what is left of the neighbours, which is the mean over all orders.
    The released programs do not give the averages printed in TorchSpatial's table, so use these
    scores to compare models with each other, not with that table.

    Args:
        hits: ``(N,)`` performance in [0, 1], such as ``answers.hits(1)``; below 0.5 is low.
        lonlat: ``(N, 2)`` degrees, NaN where unknown.
        radius_km: of a neighbourhood, below 10,000.
        neighbours: of every point, at most 6.
        centres: average over so many rows with low performance, drawn at random; all if left out.
        seed: of the draw.

    Raises:
        DataError: shapes that do not fit, performance that is not in [0, 1], a place or a setting
            out of range.
    """
    _check_settings(radius_km, neighbours, centres)
    high, places, placed = _checked(hits, lonlat)
    sites, site_of = distinct_places(places)
    highs = np.bincount(site_of[high], minlength=len(sites)).astype(np.float64)
    lows = np.bincount(site_of[~high], minlength=len(sites)).astype(np.float64)
    rows = np.flatnonzero(~high)
    if centres is not None and centres < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, centres, replace=False))
    asked, asked_of = np.unique(site_of[rows], return_inverse=True)
    vectors = unit_vectors(torch.from_numpy(sites)).numpy()
    scores = _scores(vectors, highs, lows, asked, radius_km, neighbours)
    sizes, unmarked, marked = scores[asked_of].T
    return GeoBias(placed[rows], sizes.astype(np.int64), unmarked, marked)


def _scores(
    vectors: Floats,
    highs: Floats,
    lows: Floats,
    asked: NDArray[np.int64],
    radius_km: float,
    neighbours: int,
) -> NDArray[np.float64]:
    """Number of points, unmarked and marked score around some of the sites, ``(len(asked), 3)``."""
    from scipy.spatial import cKDTree

    tree = cKDTree(vectors)
    radius = radius_km / EARTH_RADIUS_KM
    found = np.empty((len(asked), 3))
    for place, site in enumerate(asked):
        near = np.sort(tree.query_ball_point(vectors[site], 2 * math.sin(radius / 2)))
        count = int(highs[near].sum() + lows[near].sum())
        around = background(vectors[site], count, radius)
        every = np.concatenate([vectors[near], around])
        unmarked = _score(every, highs[near] + lows[near], np.zeros(len(near)), neighbours)
        marked = _score(every, highs[near], lows[near], neighbours)
        found[place] = count, unmarked, marked
    return found


def _score(vectors: Floats, highs: Floats, lows: Floats, neighbours: int) -> float:
    """Self-information of ``highs`` points of mark 1 and ``lows`` of -1 before mark 0.

    Args:
        vectors: ``(S + B, 3)`` sites, then the background.
        highs: ``(S,)`` points with high performance.
        lows: ``(S,)`` points with low performance.
        neighbours: of every point.
    """
    alone = len(vectors) - len(highs)
    total = highs.sum() + lows.sum() + alone
    mean = (highs.sum() - lows.sum()) / total
    counts = np.concatenate([highs + lows, np.ones(alone)])
    sums = np.concatenate([highs - lows - mean * (highs + lows), np.full(alone, -mean)])
    squares = highs * (1 - mean) ** 2 + lows * (1 + mean) ** 2
    squares = np.concatenate([squares, np.full(alone, mean**2)])
    moran = Points(vectors, counts, sums, squares).moran(neighbours)
    marks = np.array([0.0, 1.0, -1.0])
    return self_information(moran, marks, np.array([alone, highs.sum(), lows.sum()]), neighbours)


def _check_settings(radius_km: float, neighbours: int, centres: int | None) -> None:
    if not 0 < radius_km < 10_000:
        raise DataError(f"radius_km must be above 0 and below 10,000, got {radius_km:g}")
    if not 1 <= neighbours <= _MOST_NEIGHBOURS:
        raise DataError(f"neighbours must be in 1..{_MOST_NEIGHBOURS}, got {neighbours}")
    if centres is not None and centres < 1:
        raise DataError(f"centres must be at least 1, got {centres}")


def _checked(
    hits: ArrayLike, lonlat: ArrayLike
) -> tuple[NDArray[np.bool_], Floats, NDArray[np.int64]]:
    """Whether performance is high, and the place, of rows that have one, and their numbers."""
    performance, places = np.asarray(hits, np.float64), np.asarray(lonlat, np.float64)
    if performance.ndim != 1 or places.shape != (len(performance), 2):
        raise DataError(
            f"hits and lonlat must be (N,) and (N, 2), got {performance.shape} and {places.shape}"
        )
    wrong = ~((performance >= 0) & (performance <= 1))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"hits of row {row} is {performance[row]:g}, not in [0, 1]")
    known = has_place(places)
    checked_places(np.where(known[:, None], places, 0.0))
    return performance[known] >= _HIGH, places[known], np.flatnonzero(known)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
