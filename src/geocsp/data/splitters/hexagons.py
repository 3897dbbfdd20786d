"""H3 cells: hexagonal blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geocsp.data.splitters.base import FixedFolds, Integers, checked_places, hashed
from geocsp.errors import DataError, MissingExtraError
from geocsp.registry import register

_SLICE = 1 << 16


@register("splitter", "h3")
@dataclass
class H3Cells(FixedFolds):
    """Hexagons of Uber's H3 grid, each hashed into one of several folds.

    For work that is reported by H3 cell. A cell's fold depends on its number and the seed alone.
    Needs the extra ``geo``.

    Attributes:
        resolution: 0 (cells of 4.4 million km2) to 15 (0.9 m2); 2 is about 87,000 km2.
        folds: number of folds.
        seed: another seed hashes the cells into other folds.
    """

    resolution: int = 2
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.resolution <= 15:
            raise DataError(f"H3 resolutions are 0 to 15, got {self.resolution}")
        super().__post_init__()

    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """Fold of each of ``(N, 2)`` degrees: ``(N,)`` in [0, folds).

        Raises:
            DataError: a place is missing or out of range.
            MissingExtraError: h3 is not installed.
        """
        try:
            from h3.api.basic_int import latlng_to_cell
        except ImportError as error:
            raise MissingExtraError("h3", "geo") from error
        places = checked_places(lonlat)
        cells = np.empty(len(places), dtype=np.int64)
        for start in range(0, len(places), _SLICE):
            part = places[start : start + _SLICE].tolist()
            cells[start : start + len(part)] = [
                latlng_to_cell(lat, lon, self.resolution) for lon, lat in part
            ]
        return hashed(cells, seed=self.seed, folds=self.folds)
