"""Stratified folds: every class in every fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geocsp.data.splitters.base import FixedFolds, Integers
from geocsp.data.splitters.groups import numbered
from geocsp.errors import DataError
from geocsp.registry import register


@register("splitter", "stratified")
@dataclass
class StratifiedFolds(FixedFolds):
    """Random folds with the same share of every class.

    The rows of a class are dealt out in random order, so the folds differ by at most one row in
    size, and in the number of rows of any class. Rows without a class are dealt out like a class
    of their own. The place of a row has no influence, and folds change as rows are added.

    Attributes:
        folds: number of folds.
        seed: another seed gives other folds.
    """

    needs_place = False

    folds: int = 5
    seed: int = 0

    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """Fold of each row by its label: ``(N,)`` in [0, folds).

        Raises:
            DataError: there are no labels, or not one a row.
        """
        if labels is None:
            raise DataError("stratified folds need labels: pass y, or a table with classes")
        codes = numbered(labels, rows=np.shape(lonlat)[0], name="labels").codes
        shuffled = np.random.default_rng(self.seed % 2**64).permutation(len(codes))
        dealt = shuffled[np.argsort(codes[shuffled], kind="stable")]
        fold = np.empty(len(codes), dtype=np.int64)
        fold[dealt] = np.arange(len(codes)) % self.folds
        return fold
