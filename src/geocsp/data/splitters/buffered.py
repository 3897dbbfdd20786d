"""Buffer: no training point near a test point."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from geocsp.coords import EARTH_RADIUS_KM, unit_vectors
from geocsp.data.splitters.base import Floats, Integers, Splitter, checked_places
from geocsp.data.splitters.blocks import SpatialBlocks
from geocsp.errors import DataError
from geocsp.registry import register

_SLICE = 1 << 18


@register("splitter", "buffered")
@dataclass
class Buffered(Splitter):
    """The folds of another splitter; training rows closer than ``km`` to a test row are dropped.

    Blocks touch, so a test point at an edge has training points beside it: a buffer as wide as
    the correlation of what is predicted takes them away. The whole fold is still tested.

    Attributes:
        splitter: makes the folds.
        km: great-circle distance, kilometres.
    """

    splitter: Splitter = field(default_factory=SpatialBlocks)
    km: float = 50.0

    def __post_init__(self) -> None:
        if not isinstance(self.splitter, Splitter):
            raise DataError(f"a buffer goes around a splitter, not {self.splitter!r}")
        if not 0 < self.km < math.inf:
            raise DataError(f"a buffer needs km > 0, got {self.km:g}")

    @property
    def needs_group(self) -> bool:
        """Whether the splitter goes by the groups."""
        return self.splitter.needs_group

    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """The folds of the splitter: ``(N,)``.

        Raises:
            DataError: a place is missing or out of range, or as the splitter says.
        """
        return self.splitter.fold_of(checked_places(lonlat), labels, groups)

    def apart(self, lonlat: ArrayLike, rows: Integers, others: Integers) -> Integers:
        """Those of ``rows`` that are ``km`` or more from all ``others``."""
        places = np.asarray(lonlat, dtype=np.float64)
        rows = self.splitter.apart(places, rows, others)
        return rows[~near(places, rows, others, self.km)]

    def get_n_splits(self, X: object = None, y: object = None, groups: Any = None) -> int:
        """How many splits the splitter makes."""
        return self.splitter.get_n_splits(X, y, groups)


def near(lonlat: Floats, rows: Integers, others: Integers, km: float) -> NDArray[np.bool_]:
    """Which of some rows are closer than ``km`` to any of the others: ``(len(rows),)``.

    Compares chords of unit vectors, so the antimeridian and the poles are places like any other.

    Args:
        lonlat: ``(N, 2)`` degrees.
        rows: row numbers to answer for.
        others: row numbers to measure to.
        km: great-circle distance, kilometres.
    """
    from scipy.spatial import cKDTree

    angle = km / EARTH_RADIUS_KM
    chord = 2 * math.sin(angle / 2) if angle < math.pi else math.inf
    if len(others) == 0:
        return np.zeros(len(rows), dtype=bool)
    # Many images of one camera make a tree slow, so every place counts once.
    tree = cKDTree(_vectors(np.unique(_complex(lonlat[others]))))
    places, member = np.unique(_complex(lonlat[rows]), return_inverse=True)
    found = np.zeros(len(places), dtype=bool)
    for start in range(0, len(places), _SLICE):
        part = slice(start, start + _SLICE)
        distance, _ = tree.query(_vectors(places[part]), distance_upper_bound=chord)
        found[part] = np.isfinite(distance)
    return found[member]


def _complex(lonlat: Floats) -> NDArray[np.complex128]:
    """Places as one number each, which sorts faster than a pair."""
    return np.ascontiguousarray(lonlat).view(np.complex128)[:, 0]


def _vectors(places: NDArray[np.complex128]) -> Floats:
    lonlat = torch.from_numpy(places[:, None].view(np.float64))
    vectors: Floats = unit_vectors(lonlat).numpy()
    return vectors
