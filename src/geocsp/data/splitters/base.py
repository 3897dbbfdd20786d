"""What every splitter is: a scikit-learn splitter whose X is places."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from geocsp.coords import check_lonlat
from geocsp.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Splitter(ABC):
    """Divides rows into folds, each of which is the test set once.

    A splitter in the sense of scikit-learn: pass it as ``cv`` with lon/lat as X. Where X is
    something else, such as image features, pass ``cv=list(splitter.split(lonlat, y, groups))``.

    Subclasses are dataclasses of their settings and write :meth:`fold_of` and
    :meth:`get_n_splits`.
    """

    @property
    def needs_place(self) -> bool:
        """Whether it goes by the places, so that every row must have one."""
        return True

    @property
    def needs_group(self) -> bool:
        """Whether it goes by the groups, so that every row must have one."""
        return False

    @abstractmethod
    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """Fold of each row: ``(N,)`` in [0, folds).

        Args:
            lonlat: ``(N, 2)`` degrees.
            labels: N classes, any values or :class:`~geocsp.data.table.Categories`.
            groups: N groups, likewise.

        Raises:
            DataError: what the folds depend on is missing or out of range in some row.
        """

    def apart(self, lonlat: ArrayLike, rows: Integers, others: Integers) -> Integers:
        """Those of ``rows`` that may be trained on if ``others`` are tested: here all."""
        return rows

    def split(
        self, X: ArrayLike, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[Integers, Integers]]:
        """Train and test rows of every fold.

        Args:
            X: ``(N, 2)`` lon/lat in degrees.
            y: N classes, for splitters that go by them.
            groups: N groups, likewise.

        Raises:
            DataError: as :meth:`fold_of`, or a training or test set is empty.
        """
        fold = self.fold_of(X, y, groups)
        count = self.get_n_splits(X, y, groups)
        empty = np.flatnonzero(np.bincount(fold, minlength=count) == 0)
        if count < 2 or len(empty):
            what = (
                f"fold {empty[0]} of {count} is empty" if len(empty) else f"too few folds ({count})"
            )
            raise DataError(
                f"{what} when {self} divides {len(fold)} rows; use more rows, smaller cells or "
                "fewer folds"
            )
        for number in range(count):
            test = np.flatnonzero(fold == number)
            train = self.apart(X, np.flatnonzero(fold != number), test)
            if len(train) == 0:
                raise DataError(
                    f"no row is left to train on when fold {number} of {self} is tested"
                )
            yield train, test

    @abstractmethod
    def get_n_splits(self, X: object = None, y: object = None, groups: Any = None) -> int:
        """How many splits there are."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Settings by name; with ``deep`` those of a splitter within as ``splitter__name``."""
        params = {field.name: getattr(self, field.name) for field in fields(cast(Any, self))}
        if deep:
            for name, value in list(params.items()):
                if isinstance(value, Splitter):
                    params |= {f"{name}__{key}": v for key, v in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Change settings by name, in place.

        Raises:
            ValueError: there is no such setting, or its value is out of range.
        """
        known = self.get_params(deep=False)
        own = {name: value for name, value in params.items() if "__" not in name}
        for name in params:
            if name.partition("__")[0] not in known:
                raise ValueError(f"{self} has no setting {name!r}; settings: {', '.join(known)}")
        type(self)(**known | own)  # refuses what makes no sense before anything changes
        for name, value in own.items():
            setattr(self, name, value)
        for name in params.keys() - own.keys():
            outer, _, inner = name.partition("__")
            getattr(self, outer).set_params(**{inner: params[name]})
        return self


class FixedFolds(Splitter):
    """A splitter whose number of folds is a setting.

    Attributes:
        folds: number of folds.
    """

    folds: int

    def get_n_splits(self, X: object = None, y: object = None, groups: Any = None) -> int:
        """How many folds there are."""
        return self.folds

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise DataError(f"need at least 2 folds, got {self.folds}")


def checked_places(lonlat: ArrayLike) -> Floats:
    """Places as ``(N, 2)`` float64 degrees.

    Raises:
        DataError: not ``(N, 2)`` numbers, or a place is missing or out of range; the message names
            the row.
    """
    try:
        places = np.ascontiguousarray(lonlat, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"places must be numbers, lon and lat in degrees: {error}") from None
    if places.ndim != 2 or places.shape[1] != 2:
        raise DataError(
            f"splitting by place takes (N, 2) lon, lat, got shape {places.shape}; for other X pass "
            "cv=list(splitter.split(lonlat, y, groups))"
        )
    try:
        check_lonlat(torch.from_numpy(places))
    except ValueError as error:
        raise DataError(str(error)) from None
    return places


def hashed(*keys: NDArray[np.generic], seed: int, folds: int) -> Integers:
    """Fold of rows by a hash of their keys, the same on every machine: ``(N,)`` in [0, folds).

    Mixes with the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), so keys that
    differ a little fall into unrelated folds.

    Args:
        *keys: ``(N,)`` arrays of 64-bit numbers.
        seed: another seed gives other folds.
        folds: number of folds.
    """
    state = _mix(np.full(len(keys[0]), seed % 2**64, dtype=np.uint64))
    for key in keys:
        state = _mix(state ^ key.view(np.uint64))
    return (state % np.uint64(folds)).astype(np.int64)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state += np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state ^= state >> np.uint64(shift)
        state *= np.uint64(factor)
    state ^= state >> np.uint64(31)
    return state
