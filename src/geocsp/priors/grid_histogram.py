"""Grid histogram: the labels in the cell of a place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from geocsp.data.splitters.base import Floats, Integers
from geocsp.data.splitters.healpix import healpix_cells
from geocsp.priors.base import PlacePrior, check_positive, label_counts, smoothed
from geocsp.registry import register

_FINEST = 1e-6
_HEALPIX_DEGREES = math.degrees(math.sqrt(math.pi / 3))
"""Width of a square as large as a HEALPix cell with nside 1."""


@register("prior", "grid-histogram")
@dataclass(eq=False)
class GridHistogram(PlacePrior):
    """Labels in the same cell of a grid as the place.

    Cells are counted from longitude -180 and latitude -90; longitudes 180 and -180 are one place,
    and so are all longitudes at a pole, which belongs to the first cell of its row.

    Attributes:
        degrees: width and height of a cell.
        smoothing: labels at the overall frequency added to those of a cell.
        equal_area: use HEALPix cells of about that width (Gorski et al., ApJ 2005), which do not
            narrow towards the poles.

    Raises:
        ValueError: a setting out of range.
    """

    degrees: float = 5.0
    smoothing: float = 1.0
    equal_area: bool = False

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"degrees": degrees, "smoothing": smoothing}
        for degrees, smoothing in product((1.0, 2.0, 5.0, 10.0, 20.0, 30.0), (0.1, 1.0, 10.0))
    )

    def __post_init__(self) -> None:
        check_positive(degrees=self.degrees, smoothing=self.smoothing)
        if self.degrees < _FINEST:
            raise ValueError(f"degrees must be at least {_FINEST:g}, got {self.degrees}")

    @property
    def parameters_stored(self) -> int:
        """Cells with labels, their counts, classes of these, and frequencies."""
        return super().parameters_stored + len(self._cells) + 2 * int(self._counts.nnz)

    def _keep(self, places: Floats, labels: Integers) -> None:
        self._cells, member = np.unique(self._cell_of(places), return_inverse=True)
        shape = (len(self._cells), len(self.frequency))
        self._counts = label_counts(member, labels, shape)

    def _probabilities(self, places: Floats) -> Floats:
        cells = self._cell_of(places)
        nearest = self._cells.searchsorted(cells).clip(max=len(self._cells) - 1)
        votes = self._counts[nearest].toarray()
        votes[self._cells[nearest] != cells] = 0.0
        return smoothed(votes, self.frequency, self.smoothing)

    def _cell_of(self, places: Floats) -> Integers:
        """Number of the cell of each place, ``(N,)``."""
        lon, lat = places.T
        lon = np.where((lon == 180) | (np.abs(lat) == 90), -180.0, lon)
        if self.equal_area:
            nside = max(1, round(_HEALPIX_DEGREES / self.degrees))
            return healpix_cells(np.stack([lon, lat], axis=1), nside)
        columns, rows = math.ceil(360 / self.degrees), math.ceil(180 / self.degrees)
        column = np.floor((lon + 180) / self.degrees).astype(np.int64).clip(max=columns - 1)
        row = np.floor((lat + 90) / self.degrees).astype(np.int64).clip(max=rows - 1)
        return np.asarray(row * columns + column)
