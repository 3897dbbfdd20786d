"""Random folds: every place on its own, the optimistic baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geocsp.data.splitters.base import FixedFolds, Integers, checked_places, hashed
from geocsp.registry import register


@register("splitter", "random")
@dataclass
class RandomFolds(FixedFolds):
    """Every place hashed into one of several folds.

    Test rows lie between training rows, so this says how well gaps are filled, not how a model
    does where it has not been. Rows at exactly the same place share a fold, which depends on the
    place and the seed alone. Sizes of the folds differ as those of random draws do.

    Attributes:
        folds: number of folds.
        seed: another seed gives other folds.
    """

    folds: int = 5
    seed: int = 0

    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """Fold of each of ``(N, 2)`` degrees: ``(N,)`` in [0, folds).

        Raises:
            DataError: a place is missing or out of range.
        """
        lon, lat = checked_places(lonlat).T
        # One place has one key: over the antimeridian, at the poles, and with zeros of any sign.
        lon = np.where((lon == 180.0) | (np.abs(lat) == 90.0), -180.0, lon) + 0.0
        return hashed(lon, lat + 0.0, seed=self.seed, folds=self.folds)
