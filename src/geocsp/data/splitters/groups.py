"""Groups, such as photographers, sites or regions: none is in two folds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from geocsp.data.splitters.base import FixedFolds, Integers, Splitter
from geocsp.errors import DataError
from geocsp.registry import register

if TYPE_CHECKING:
    import pyarrow as pa

    from geocsp.data.table import Categories


@register("splitter", "group")
@dataclass
class GroupFolds(FixedFolds):
    """Every group hashed into one of several folds, such as photographers or sites.

    Says how a model does on images by others, or of other sites. A group's fold depends on its
    name and the seed alone; large groups make folds of unequal size.

    Attributes:
        folds: number of folds.
        seed: another seed hashes the groups into other folds.
    """

    needs_place = False
    needs_group = True

    folds: int = 5
    seed: int = 0

    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """Fold of each row by its group: ``(N,)`` in [0, folds).

        Raises:
            DataError: there are no groups, or a row has none.
        """
        known = _groups(groups, np.shape(lonlat)[0])
        fold = [self._hash(name) % self.folds for name in known.names]
        return np.array(fold, dtype=np.int64)[known.codes]

    def _hash(self, name: str) -> int:
        key = f"{self.seed} {name}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


@register("splitter", "leave-one-group-out")
@dataclass
class LeaveOneGroupOut(Splitter):
    """Every group is a fold of its own, such as continents or countries.

    Says how a model does in a region that it has never seen. Folds are numbered in the sorted
    order of the groups that have rows.
    """

    needs_place = False
    needs_group = True

    def fold_of(self, lonlat: ArrayLike, labels: Any = None, groups: Any = None) -> Integers:
        """Number of each row's group among those that occur: ``(N,)``.

        Raises:
            DataError: there are no groups, or a row has none.
        """
        codes = _groups(groups, np.shape(lonlat)[0]).codes
        return np.unique(codes, return_inverse=True)[1].astype(np.int64)

    def get_n_splits(self, X: object = None, y: object = None, groups: Any = None) -> int:
        """How many groups occur.

        Raises:
            DataError: there are no groups.
        """
        return len(np.unique(_groups(groups, None).codes))


def numbered(values: Any, *, rows: int | None, name: str) -> Categories:
    """Any column of names or numbers as categories.

    Args:
        values: categories, or an array or sequence; None, NaN and "" are unknown.
        rows: how many there should be, if that is known.
        name: what to call them in an error message.

    Raises:
        DataError: another number of rows, or more than one column.
    """
    from geocsp.data.table import Categories

    known = values if isinstance(values, Categories) else Categories.of(_column(values, name))
    if rows is not None and len(known) != rows:
        raise DataError(f"{rows} rows but {len(known)} {name}")
    return known


def _column(values: Any, name: str) -> pa.ChunkedArray:
    """One column of an array or sequence; None and NaN become null, mixed types become text."""
    import pyarrow as pa

    column = np.asarray(values)
    if column.ndim != 1:
        raise DataError(f"{name} must be one column, got shape {column.shape}")
    try:
        found = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeError):
        texts = [None if v is None or v != v else str(v) for v in column.tolist()]
        clean = [t and t.encode("utf-8", "backslashreplace").decode() for t in texts]
        found = pa.array(clean, pa.string())
    return pa.chunked_array([found])


def _groups(groups: Any, rows: int | None) -> Categories:
    """Groups of all rows.

    Raises:
        DataError: there are none, or a row has none.
    """
    if groups is None:
        raise DataError("splitting by group needs groups: pass them, or a table with such a column")
    known = numbered(groups, rows=rows, name="groups")
    if len(known) and known.codes.min() < 0:
        raise DataError(f"row {int(np.argmin(known.codes))} has no group; drop the row or name one")
    return known
