"""Spatial blocks: squares of longitude and latitude."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geocsp.data.splitters.base import FixedFolds, Integers, checked_places
from geocsp.errors import DataError
from geocsp.registry import register

_FINEST = 1e-6


@register("splitter", "spatial-blocks")
@dataclass
class SpatialBlocks(FixedFolds):
    """Square blocks of longitude and latitude, each hashed into one of several folds.

    A block's fold depends on its place and the seed alone, so points added later fall into the
    same folds. Longitudes 180 and -180 are one place; the North Pole belongs to the blocks below
    it. Blocks narrow towards the poles; :class:`~geocsp.data.splitters.HealpixCells` do not.

    Attributes:
        degrees: width and height of a block.
        folds: number of folds.
        seed: another seed hashes the blocks into other folds.
    """

    degrees: float = 5.0
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not _FINEST <= self.degrees < math.inf or self.folds < 2:
            raise DataError(
                f"need blocks of at least {_FINEST:g} degrees and at least 2 folds, got "
                f"{self.degrees:g} and {self.folds}"
            )

    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """Fold of each of ``(N, 2)`` degrees: ``(N,)`` in [0, folds).

        Raises:
            DataError: a place is missing or out of range.
        """
        places = checked_places(lonlat) + np.array([180.0, 90.0])
        places[places[:, 0] == 360.0, 0] = 0.0
        cells = np.floor(places / self.degrees).astype(np.int64)
        columns = math.ceil(360.0 / self.degrees)
        cells[:, 0] %= columns
        cells[:, 1] = np.minimum(cells[:, 1], math.ceil(180.0 / self.degrees) - 1)
        blocks, member = np.unique(cells[:, 1] * columns + cells[:, 0], return_inverse=True)
        fold = [self._hash(b % columns, b // columns) % self.folds for b in blocks.tolist()]
        return np.array(fold, dtype=np.int64)[member]

    def _hash(self, column: int, row: int) -> int:
        key = f"{self.seed} {column} {row}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
