"""Honest splits: spatial blocks for testing, stratified few-shot subsets for training."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocsp.errors import DataError

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class SpatialBlocks:
    """Square blocks of longitude and latitude, each hashed into one of several folds.

    A splitter in the sense of scikit-learn: pass it as ``cv``, with lon/lat as X. A block's fold
    depends on its place and the seed alone, so points added later fall into the same folds.

    Attributes:
        degrees: width and height of a block.
        folds: number of folds.
        seed: another seed hashes the blocks into other folds.
    """

    degrees: float = 5.0
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.degrees <= 0 or self.folds < 2:
            raise DataError(
                f"need block degrees > 0 and at least 2 folds, got {self.degrees:g}, {self.folds}"
            )

    def fold_of(self, lonlat: NDArray[np.floating[Any]]) -> Integers:
        """Fold of each of ``(N, 2)`` degrees: ``(N,)`` in [0, folds).

        Longitudes 180 and -180 are one place; the North Pole belongs to the blocks below it.

        Raises:
            DataError: a coordinate is not finite.
        """
        finite = np.isfinite(lonlat).all(axis=1)
        if not finite.all():
            raise DataError(f"coordinates of row {int(np.argmin(finite))} are not finite")
        cells = np.floor((lonlat + np.array([180.0, 90.0])) / self.degrees).astype(np.int64)
        cells[:, 0] %= math.ceil(360.0 / self.degrees)
        cells[:, 1] = np.minimum(cells[:, 1], math.ceil(180.0 / self.degrees) - 1)
        blocks, member = np.unique(cells, axis=0, return_inverse=True)
        fold = np.array([self._hash(*block) % self.folds for block in blocks.tolist()])
        return fold.astype(np.int64)[member.reshape(-1)]

    def _hash(self, column: int, row: int) -> int:
        key = f"{self.seed} {column} {row}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")

    def split(
        self, X: NDArray[np.floating[Any]], y: object = None, groups: object = None
    ) -> Iterator[tuple[Integers, Integers]]:
        """Train and test rows of every fold; ``X`` is ``(N, 2)`` degrees, the rest is not used."""
        fold = self.fold_of(X)
        for number in range(self.folds):
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """How many splits there are."""
        return self.folds


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
    chosen = []
    for label in np.unique(labels[labels >= 0]):
        rows = generator.permutation(np.flatnonzero(labels == label))
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
