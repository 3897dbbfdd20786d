"""Probes: what a frozen embedding of places knows, by nested cross-validation.

The protocol of CoordBench (https://github.com/torchgeo/torchgeo-bench), RANGE (Dhakal et al., CVPR
2025) and SatCLIP (Klemmer et al., AAAI 2025): freeze the encoder, embed labelled places, fit a
simple model, judge it on places held out. Other than there, settings are chosen on inner folds
within the training rows (Varma and Simon, BMC Bioinformatics 2006), and on spatial blocks these are
blocks as well, so that no score has seen its test rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocsp.data.splitters import RandomFolds, SpatialBlocks, Splitter
from geocsp.data.splitters.base import Integers, checked_places
from geocsp.errors import DataError
from geocsp.evaluate.intervals import Interval, interval
from geocsp.evaluate.probes.heads import ALPHAS, NEIGHBOURS, Head, scores_of, search
from geocsp.evaluate.probes.targets import Target

FEWEST = 50
"""Rows with a label that a probe needs."""


class Folds(StrEnum):
    """How places are divided.

    RANDOM: every place on its own; tells how well an embedding fills gaps.
    BLOCKS: squares of longitude and latitude; tells how well it does where no label is near.
    """

    RANDOM = "random"
    BLOCKS = "blocks"

    def splitter(self, *, seed: int, count: int, degrees: float) -> Splitter:
        """The splitter.

        Args:
            seed: which place or block falls into which fold.
            count: number of folds.
            degrees: width of a block.
        """
        if self is Folds.RANDOM:
            return RandomFolds(folds=count, seed=seed)
        return SpatialBlocks(degrees=degrees, folds=count, seed=seed)


@dataclass(frozen=True)
class FoldScore:
    """How a probe did on one outer fold.

    Attributes:
        scores: as :func:`~geocsp.evaluate.probes.heads.scores_of` names them.
        chosen: penalty or number of neighbours that the inner folds chose.
        train: number of training rows.
        test: number of test rows.
    """

    scores: dict[str, float]
    chosen: float
    train: int
    test: int


@dataclass(frozen=True)
class ProbeResult:
    """How a probe did.

    Attributes:
        label: name of the target.
        head: what was fitted.
        folds: results on the outer folds.
    """

    label: str
    head: Head
    folds: tuple[FoldScore, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the scores, the main one first: "r2" or "accuracy"."""
        return tuple(self.folds[0].scores)

    def values(self, metric: str) -> tuple[float, ...]:
        """A score on each outer fold."""
        return tuple(fold.scores[metric] for fold in self.folds)

    def interval(self, metric: str) -> Interval:
        """Mean of a score over the outer folds, with a Student-t 95 % interval.

        Folds share training rows, so the interval is somewhat too narrow for other places (Nadeau
        and Bengio, Machine Learning 2003).
        """
        return interval(self.values(metric))

    @property
    def at_edge(self) -> bool:
        """Whether a fold chose the smallest or largest setting, so that one beyond might do."""
        edges = {Head.RIDGE: (ALPHAS[0], ALPHAS[-1]), Head.KNN: (NEIGHBOURS[-1],)}[self.head]
        return any(fold.chosen in edges for fold in self.folds)


def probe(
    embedding: ArrayLike,
    target: Target,
    lonlat: ArrayLike,
    *,
    outer: Splitter,
    inner: Splitter,
    head: Head = Head.RIDGE,
) -> ProbeResult:
    """Probe an embedding by nested cross-validation.

    Rows without a label are left out. The same input gives the same numbers.

    Args:
        embedding: ``(N, D)`` embeddings of the places, of any scale.
        target: N labels.
        lonlat: ``(N, 2)`` degrees.
        outer: divides the places into folds that are tested in turn.
        inner: divides the training rows to choose the setting on; of the same kind as ``outer``.
        head: what to fit.

    Raises:
        DataError: sizes do not fit, an embedding is not finite, there are fewer than 50 labels or
            only one value, or a fold is empty.
        MissingExtraError: scikit-learn is not installed.
    """
    features, places, rows = _checked(embedding, target, lonlat)
    known = Target(target.name, target.values[rows], target.class_names)
    folds = [
        probe_fold(features[rows], known, places[rows], train, test, inner=inner, head=head)
        for train, test in outer.split(places[rows], known.values)
    ]
    return ProbeResult(target.name, head, tuple(folds))


def probe_fold(
    embedding: ArrayLike,
    target: Target,
    lonlat: ArrayLike,
    train: Integers,
    test: Integers,
    *,
    inner: Splitter,
    head: Head = Head.RIDGE,
) -> FoldScore:
    """Probe an embedding on one fold, as for an encoder that was trained without it.

    Args:
        embedding: ``(N, D)`` embeddings of the places.
        target: N labels.
        lonlat: ``(N, 2)`` degrees.
        train: rows to fit on; those without a label are left out.
        test: rows to judge on, likewise.
        inner: divides the training rows to choose the setting on.
        head: what to fit.

    Raises:
        DataError: as :func:`probe`.
        MissingExtraError: scikit-learn is not installed.
    """
    features, places, rows = _checked(embedding, target, lonlat)
    train, test = (part[np.isin(part, rows)] for part in (train, test))
    if len(test) == 0:
        raise DataError(f"no test row has a {target.name}; use more points or wider folds")
    values = target.values[train]
    if len(np.unique(values)) < 2:
        raise DataError(
            f"{target.name} has fewer than two values in {len(train)} training rows; use more "
            "points or wider folds"
        )
    cv = list(inner.split(places[train], values))
    fitted = search(head, target.is_number, cv).fit(features[train], values)
    mean = float(values.mean()) if target.is_number else None
    scores = scores_of(target.values[test], fitted.predict(features[test]), mean)
    (chosen,) = fitted.best_params_.values()
    return FoldScore(scores, float(chosen), len(train), len(test))


def _checked(
    embedding: ArrayLike, target: Target, lonlat: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], Integers]:
    """Embeddings and places as arrays, and the rows with a label."""
    features, places = np.asarray(embedding, dtype=np.float64), checked_places(lonlat)
    if features.ndim != 2 or not len(features) == len(places) == len(target):
        raise DataError(
            f"need an embedding (N, D), a place and a label for each row; got {features.shape}, "
            f"{len(places)} places and {len(target)} labels"
        )
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise DataError(f"embedding of row {int(np.argmin(finite))} is not finite")
    rows = np.flatnonzero(target.known)
    if len(rows) < FEWEST or len(np.unique(target.values[rows])) < 2:
        raise DataError(
            f"{target.name} is known of {len(rows)} of {len(target)} places; a probe needs "
            f"{FEWEST} of them and two different values"
        )
    return features, places, rows
