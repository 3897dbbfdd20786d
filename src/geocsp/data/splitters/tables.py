"""A table's split column from the folds of a splitter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geocsp.data.splitters.base import Integers, Splitter
from geocsp.errors import DataError

if TYPE_CHECKING:
    from geocsp.data.table import GeoTable


def split_table(
    table: GeoTable, splitter: Splitter, *, test: int = 0, validation: int | None = 1
) -> GeoTable:
    """The same table with a split column: "train", "validation" and "test".

    One fold is tested, another one is for choosing and calibrating, the rest is for training. All
    rows stay, so cached features stay valid; a row that may not be used is in no split (unknown),
    and ``notes`` says how many and why: rows without a place or a group where the splitter goes by
    it, training rows in the buffer around test rows, and validation rows in the buffer around test
    or training rows.

    Args:
        table: what to split; a split column that it has is replaced.
        splitter: makes the folds.
        test: number of the test fold.
        validation: number of the validation fold; None: no validation rows.

    Raises:
        DataError: there are no such folds, they are the same, or a set is empty; or as the splitter
            says.
    """
    placed, grouped = _has_place(table, splitter), _has_group(table, splitter)
    rows = np.flatnonzero(placed & grouped)
    lonlat = table.lonlat[rows]
    labels, groups = (c if c is None else c.take(rows) for c in (table.label, table.group))
    fold = splitter.fold_of(lonlat, labels, groups)
    _check_folds(test, validation, splitter.get_n_splits(lonlat, labels, groups))
    tested = np.flatnonzero(fold == test)
    held = np.flatnonzero(fold == (-1 if validation is None else validation))
    others = np.flatnonzero((fold != test) & (fold != validation))
    trained = splitter.apart(lonlat, others, tested)
    kept = splitter.apart(lonlat, held, np.concatenate([tested, trained]))
    sets = {"train": rows[trained], "validation": rows[kept], "test": rows[tested]}
    if validation is None:
        del sets["validation"]
    left_out = {
        "rows without a place": int((~placed).sum()),
        "rows without a group": int((placed & ~grouped).sum()),
        "training rows too near to a test row": len(others) - len(trained),
        "validation rows too near to a test or training row": len(held) - len(kept),
    }
    return _with_sets(table, splitter, sets, left_out)


def _has_place(table: GeoTable, splitter: Splitter) -> NDArray[np.bool_]:
    """Which rows have a place, or all if the splitter does not go by it."""
    if not splitter.needs_place:
        return np.ones(len(table), dtype=bool)
    return np.asarray(np.isfinite(table.lonlat).all(axis=1))


def _has_group(table: GeoTable, splitter: Splitter) -> NDArray[np.bool_]:
    """Which rows have a group, or all if the splitter does not go by it (or misses them all)."""
    if not splitter.needs_group or table.group is None:
        return np.ones(len(table), dtype=bool)
    return np.asarray(table.group.codes >= 0)


def _check_folds(test: int, validation: int | None, count: int) -> None:
    for number in (test, validation):
        if number is not None and not 0 <= number < count:
            raise DataError(f"folds are 0 to {count - 1}, got {number}")
    if test == validation:
        raise DataError(f"fold {test} cannot be the test and the validation fold")


def _with_sets(
    table: GeoTable, splitter: Splitter, sets: dict[str, Integers], left_out: dict[str, int]
) -> GeoTable:
    from geocsp.data.table import Categories

    codes = np.full(len(table), -1, dtype=np.int64)
    for code, (name, rows) in enumerate(sets.items()):
        if len(rows) == 0:
            why = "".join(f"; {count} {what}" for what, count in left_out.items() if count)
            raise DataError(f"the {name} set of {splitter} is empty{why}; use more rows")
        codes[rows] = code
    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in sets.items())
    notes = [f"split by {splitter}: {sizes} rows"]
    if table.split is not None:
        notes.append("the splits of the source were replaced")
    notes += [f"in no split: {count} {what}" for what, count in left_out.items() if count]
    return replace(table, split=Categories(codes, tuple(sets)), notes=(*table.notes, *notes))
