"""Honest splits: spatial blocks for testing, stratified few-shot subsets for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocsp.data.splitters.base import Integers
from geocsp.data.splitters.blocks import SpatialBlocks
from geocsp.errors import DataError

__all__ = ["SpatialBlocks", "Split", "block_split", "few_shot", "overlapping"]


def overlapping(corners: Integers, others: Integers, size: int, turn: int) -> NDArray[np.bool_]:
    """Which square windows share a pixel with any of the others: ``(N,)``.

    Args:
        corners: ``(N, 2)`` column and row of each window's first pixel.
        others: ``(M, 2)`` corners of the other windows.
        size: pixels on a side.
        turn: columns around the globe; column ``turn`` is column 0 again.
    """
    if len(others) == 0:
        return np.zeros(len(corners), dtype=bool)
    # Chebyshev distance on a cylinder; a box size of zero means that rows do not wrap.
    tree = cKDTree(others, boxsize=[turn, 0])
    distance, _ = tree.query(corners, p=np.inf, distance_upper_bound=size - 0.5)
    return np.asarray(np.isfinite(distance), dtype=bool)


def few_shot(
    labels: Integers, *, ratio: float | None = None, per_class: int | None = None, seed: int
) -> Integers:
    """Rows of a stratified random subset, sorted: a share of every class, or a fixed number.

    A share of a class is rounded half to even, and at least one row is taken (as in the released
    code of CSP, Mai et al., ICML 2023). Subsets of one seed are nested: a larger share holds the
    smaller ones.

    Args:
        labels: ``(N,)`` class of each row; rows below zero have no label and are left out.
        ratio: share of each class, in (0, 1].
        per_class: rows of each class, or all if there are fewer.
        seed: which rows.

    Raises:
        DataError: not exactly one of ratio and per_class, or out of range.
    """
    if (ratio is None) == (per_class is None):
        raise DataError("give either a ratio or a number per class")
    if ratio is not None and not 0 < ratio <= 1:
        raise DataError(f"the ratio must be in (0, 1], got {ratio:g}")
    if per_class is not None and per_class < 1:
        raise DataError(f"need at least 1 label per class, got {per_class}")
    generator = np.random.default_rng(seed)
    by_class = np.argsort(labels, kind="stable")[np.count_nonzero(labels < 0) :]
    borders = np.flatnonzero(np.diff(labels[by_class])) + 1
    chosen = []
    for members in np.split(by_class, borders) if len(by_class) else []:
        rows = generator.permutation(members)
        count = per_class if ratio is None else max(1, round(len(rows) * ratio))
        chosen.append(rows[:count])
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *chosen]))


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a training, a validation and a test set that share no pixel with each other.

    Attributes:
        train: training rows.
        validation: rows to calibrate and choose on.
        test: rows to report on, all of the test fold.
        dropped_train: training rows left out because they share a pixel with a test row.
        dropped_validation: validation rows left out because they share a pixel with a test or
            training row.
    """

    train: Integers
    validation: Integers
    test: Integers
    dropped_train: int
    dropped_validation: int


def block_split(
    fold: Integers, corners: Integers, *, test: int, validation: int, size: int, turn: int
) -> Split:
    """Split by folds and drop what shares a pixel across the border.

    Args:
        fold: ``(N,)`` fold of each row, as from :meth:`SpatialBlocks.fold_of`.
        corners: ``(N, 2)`` column and row of each image's first pixel.
        test: test fold.
        validation: validation fold, another one.
        size: pixels on a side of an image.
        turn: columns around the globe.

    Raises:
        DataError: the folds are the same, or a set is empty.
    """
    if test == validation:
        raise DataError(f"fold {test} cannot be the test and the validation fold")
    tested, held = fold == test, fold == validation
    others = ~tested & ~held
    near_test = overlapping(corners, corners[tested], size, turn)
    trained = others & ~near_test
    near_train = overlapping(corners, corners[trained], size, turn)
    kept = held & ~near_test & ~near_train
    split = Split(
        train=np.flatnonzero(trained),
        validation=np.flatnonzero(kept),
        test=np.flatnonzero(tested),
        dropped_train=int((others & near_test).sum()),
        dropped_validation=int((held & ~kept).sum()),
    )
    for name in ("train", "validation", "test"):
        if len(getattr(split, name)) == 0:
            raise DataError(f"the {name} set of test fold {test} is empty; use more points")
    return split
