"""What an evaluation is about: image features, places, labels, and which rows are tested."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from geocsp.data.splitters.base import Integers
from geocsp.data.table import Categories
from geocsp.errors import DataError
from geocsp.evaluate.fewshot import Shot

REGION_DEGREES = 30.0
"""Width and height of a region."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows of one division into training, validation and test rows, none of them in two.

    Attributes:
        train: training rows, ascending.
        validation: rows to calibrate on, ascending.
        test: rows to report on, ascending.
        dropped: how many rows are in none of them, because they are too near to others or have no
            place.
    """

    train: Integers
    validation: Integers
    test: Integers
    dropped: int = 0

    def labelled(self, part: Integers, labels: Categories) -> Integers:
        """Those of some rows that have a label."""
        return part[labels.codes[part] >= 0]


@dataclass(frozen=True, eq=False)
class Published:
    """What was published with a data set, by amount of labels.

    Attributes:
        probabilities: P(y | I) of all rows ``(N, Q)``, nothing in rows without.
        subset: labelled rows.
    """

    probabilities: sparse.csr_array | None = None
    subset: Integers | None = None


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A data set with its divisions.

    Attributes:
        name: of the data set.
        fingerprint: changes whenever an image, a place or a label changes.
        features: ``(N, F)`` image features.
        lonlat: ``(N, 2)`` float64 degrees, NaN where there is no place.
        tasks: ``(N,)`` classes by name of the task, -1 where unknown.
        folds: divisions by name.
        views: ``(V, N, F)`` features of randomly changed images, for image-only pre-training.
        block_degrees: width and height of the blocks that intervals resample.
        published: by label of the amount of labels.
    """

    name: str
    fingerprint: str
    features: Tensor
    lonlat: NDArray[np.float64]
    tasks: Mapping[str, Categories]
    folds: Mapping[str, Fold]
    views: Tensor | None = None
    block_degrees: float = 5.0
    published: Mapping[str, Published] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lonlat)

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Which rows have a place, ``(N,)``."""
        return np.asarray(np.isfinite(self.lonlat).all(axis=1))

    @property
    def places(self) -> Tensor:
        """Places as the models take them, ``(N, 2)`` float32 degrees."""
        return torch.from_numpy(self.lonlat).float()

    def subset(self, task: str, fold: str, shot: Shot, seed: int) -> Integers:
        """Rows that a run may see the labels of: published ones, or drawn by the seed.

        Raises:
            DataError: there are none.
        """
        published = self.published.get(shot.label)
        if published is not None and published.subset is not None:
            return published.subset
        division, labels = self.folds[fold], self.tasks[task]
        train = division.labelled(division.train, labels)
        rows = train[shot.rows(labels.codes[train], seed)]
        if len(rows) == 0:
            raise DataError(f"no training row of fold {fold} has a label of {task}")
        return rows

    def cells(self, degrees: float) -> tuple[Integers, tuple[str, ...]]:
        """Square of longitude and latitude of every row, -1 without a place, and their names."""
        placed = self.placed
        codes = np.full(len(self), -1, dtype=np.int64)
        lon, lat = self.lonlat[placed].T
        columns = round(360 / degrees)
        column = np.floor((lon + 180.0) / degrees).astype(np.int64) % columns
        row = np.minimum(np.floor((lat + 90.0) / degrees), round(180 / degrees) - 1)
        found, member = np.unique(row.astype(np.int64) * columns + column, return_inverse=True)
        codes[placed] = member
        names = tuple(_square(int(cell) % columns, int(cell) // columns, degrees) for cell in found)
        return codes, names


class Source(ABC):
    """Makes a benchmark, also in another process, where it is made anew and kept.

    Subclasses are frozen dataclasses of what it is made from.
    """

    @abstractmethod
    def load(self) -> Benchmark:
        """The benchmark; the same one each time in a process."""


def _square(column: int, row: int, degrees: float) -> str:
    west, south = column * degrees - 180.0, row * degrees - 90.0
    return f"{_side(south, 'NS')} to {_side(south + degrees, 'NS')}, " + (
        f"{_side(west, 'EW')} to {_side(west + degrees, 'EW')}"
    )


def _side(value: float, letters: str) -> str:
    return "0°" if value == 0 else f"{abs(value):g}°{letters[0] if value > 0 else letters[1]}"
