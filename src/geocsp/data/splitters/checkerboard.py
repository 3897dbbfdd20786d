"""Checkerboard: two folds of alternating cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geocsp.data.splitters.base import FixedFolds, Integers, checked_places
from geocsp.errors import DataError
from geocsp.registry import register


@register("splitter", "checkerboard")
@dataclass
class Checkerboard(FixedFolds):
    """Two folds of square cells that alternate like the fields of a chess board.

    Every test cell lies between training cells, and both folds see all climates: it says how well
    gaps of a cell's width are filled. A point's fold depends on its place alone; the board closes
    over the antimeridian.

    Attributes:
        degrees: width and height of a cell; an even number of cells must go around the globe.
    """

    degrees: float = 5.0

    folds = 2

    def __post_init__(self) -> None:
        if not 1e-6 <= self.degrees <= 180:
            raise DataError(f"cells need degrees in [1e-6, 180], got {self.degrees:g}")
        around = 360.0 / self.degrees
        even = max(2, 2 * round(around / 2))
        if not math.isclose(around, even, rel_tol=1e-6):
            raise DataError(
                f"an even number of cells must go around the globe, not {around:.6g} of "
                f"{self.degrees:g} degrees; the nearest width is {360 / even:.10g}"
            )

    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """Fold of each of ``(N, 2)`` degrees: ``(N,)``, 0 or 1.

        Raises:
            DataError: a place is missing or out of range.
        """
        around = 2 * round(180.0 / self.degrees)
        share = (checked_places(lonlat) + np.array([180.0, 90.0])) / 360.0
        column, row = np.floor(share * around).astype(np.int64).T
        row = np.minimum(row, around // 2 - 1)  # the North Pole belongs to the cells below it
        return np.asarray((column + row) % 2)
