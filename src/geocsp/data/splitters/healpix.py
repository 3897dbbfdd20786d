"""HEALPix cells: blocks of equal area anywhere on Earth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geocsp.data.splitters.base import FixedFolds, Floats, Integers, checked_places, hashed
from geocsp.errors import DataError
from geocsp.registry import register

_SLICE = 1 << 20


@register("splitter", "healpix")
@dataclass
class HealpixCells(FixedFolds):
    """Cells of equal area, each hashed into one of several folds.

    Like :class:`~geocsp.data.splitters.SpatialBlocks`, but a cell in Lapland is as large as one at
    the equator. A cell's fold depends on its number and the seed alone.

    Attributes:
        nside: cells along one side of each of the 12 faces: 12 nside^2 cells, each as large as a
            square of 6,520 km / nside.
        folds: number of folds.
        seed: another seed hashes the cells into other folds.
    """

    nside: int = 16
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        check_nside(self.nside)
        super().__post_init__()

    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """Fold of each of ``(N, 2)`` degrees: ``(N,)`` in [0, folds).

        Raises:
            DataError: a place is missing or out of range.
        """
        cells = healpix_cells(checked_places(lonlat), self.nside)
        return hashed(cells, seed=self.seed, folds=self.folds)


def check_nside(nside: int) -> None:
    """Raise a DataError unless there is a HEALPix grid of this size with 64-bit cell numbers."""
    if not 1 <= nside <= 2**29:
        raise DataError(f"nside must be in [1, 2^29], got {nside}")


def healpix_cells(lonlat: Floats, nside: int) -> Integers:
    """Cell of each place in the ring order of HEALPix: ``(N,)`` in [0, 12 nside^2).

    Longitude 0 is where the cells are counted from, as is the custom for the Earth.

    Args:
        lonlat: ``(N, 2)`` degrees.
        nside: cells along one side of each of the 12 faces; any number, not only powers of two.
    """
    cells = np.empty(len(lonlat), dtype=np.int64)
    for start in range(0, len(lonlat), _SLICE):
        part = slice(start, start + _SLICE)
        cells[part] = _cells(lonlat[part], nside)
    return cells


def _cells(lonlat: Floats, nside: int) -> Integers:
    """The cells as squares between diagonals (Gorski et al., ApJ 2005, section 5)."""
    lat = lonlat[:, 1]
    quarters = lonlat[:, 0] % 360.0 / 90.0  # a remainder may round up to 360
    height = np.sin(np.deg2rad(lat))
    cap = np.abs(height) > 2 / 3
    cells = np.empty(len(lonlat), dtype=np.int64)
    cells[~cap] = _belt(quarters[~cap], height[~cap], nside)
    cells[cap] = _cap(quarters[cap], lat[cap], nside)
    return cells


def _belt(quarters: Floats, height: Floats, nside: int) -> Integers:
    """Between 41.8 S and 41.8 N: diagonals rise and fall at one slope in (longitude, height)."""
    south = np.floor(nside * (0.5 + quarters - 0.75 * height)).astype(np.int64)
    north = np.floor(nside * (0.5 + quarters + 0.75 * height)).astype(np.int64)
    ring = np.clip(nside + south - north, 0, 2 * nside)  # from 0 in the north; rounded at caps
    place = (south + north - nside + 1) // 2 % (4 * nside)
    return np.asarray(2 * nside * (nside - 1) + 4 * nside * ring + place)


def _cap(quarters: Floats, lat: Floats, nside: int) -> Integers:
    """Around a pole: diagonals to both sides of each quarter, rings of 4, 8, 12... cells."""
    ring_share = math.sqrt(6) * nside * np.sin(np.deg2rad(90.0 - np.abs(lat)) / 2)
    along = quarters % 1.0
    west = np.floor(along * ring_share).astype(np.int64)
    east = np.floor((1 - along) * ring_share).astype(np.int64)
    ring = west + east + 1  # counted from 1 at the pole
    place = np.floor(quarters * ring).astype(np.int64) % (4 * ring)
    north = 2 * ring * (ring - 1) + place
    south = 12 * nside**2 - 2 * ring * (ring + 1) + place
    return np.where(lat > 0, north, south)
