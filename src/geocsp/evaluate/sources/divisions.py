"""Folds of a table: its own splits, or blocks of the Earth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocsp.data.splitters import Buffered, SpatialBlocks, split_table
from geocsp.data.splitters.base import Integers, Splitter
from geocsp.data.splitters.buffered import near
from geocsp.data.table import GeoTable
from geocsp.errors import DataError
from geocsp.evaluate.benchmark import Fold
from geocsp.train.validation import hold_out

PUBLISHED = "published"
"""Name of the fold that a table's own splits make."""
_TRAIN = ("train", "training")
_VALIDATION = ("validation", "val", "valid", "dev")
_TEST = ("test", "testing")


@dataclass(frozen=True)
class Division:
    """How rows are divided.

    Attributes:
        folds: number of folds of spatial blocks, each of which is tested once while the next one
            calibrates; None: the table's own splits, or 5 folds where it has none.
        blocks: width and height of a block, degrees.
        buffer_km: training rows nearer than this to a test row are left out, and rows to calibrate
            on nearer than this to either; if it is not 0, those without a place, too.
        calibrate: share of the training rows, in whole blocks, that only calibrates where the
            table's own splits have no third part.
        seed: of the blocks.
    """

    folds: int | None = None
    blocks: float = 5.0
    buffer_km: float = 0.0
    calibrate: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.folds is not None and self.folds < 3:
            raise DataError(
                f"need at least 3 folds, to train, calibrate and test, got {self.folds}"
            )
        if self.buffer_km < 0 or not 0 < self.calibrate < 1:
            raise DataError(
                f"need a buffer >= 0 km and a share in (0, 1) to calibrate, got "
                f"{self.buffer_km:g} and {self.calibrate:g}"
            )

    def divide(self, table: GeoTable) -> dict[str, Fold]:
        """Folds by name.

        Raises:
            DataError: a part of a fold is empty.
        """
        if self.folds is None and tested_split(table) is not None:
            return {PUBLISHED: self._apart(table, self._published(table))}
        count = self.folds or 5
        blocks: Splitter = SpatialBlocks(degrees=self.blocks, folds=count, seed=self.seed)
        splitter = Buffered(blocks, self.buffer_km) if self.buffer_km else blocks
        return {
            str(test): _fold(table, splitter, test, (test + 1) % count) for test in range(count)
        }

    def _published(self, table: GeoTable) -> Fold:
        test = tested_split(table)
        assert test is not None
        train, held = _named(table, _TRAIN), _named(table, _VALIDATION)
        tested = _rows(table, test)
        if held is not None and held != test:
            return Fold(_rows(table, train), _rows(table, held), tested)
        rows = _rows(table, train)
        placed = rows[np.isfinite(table.lonlat[rows]).all(axis=1)]
        if len(placed) == 0:
            raise DataError(f"none of the {len(rows)} training rows has a place")
        kept, validation = hold_out(
            table.lonlat[placed], share=self.calibrate, blocks=self.blocks, seed=self.seed
        )
        dropped = len(rows) - len(kept) - len(validation)
        return Fold(placed[kept], placed[validation], tested, dropped)

    def _apart(self, table: GeoTable, fold: Fold) -> Fold:
        """A fold with the buffer between its parts."""
        if self.buffer_km == 0:
            return fold
        placed = np.asarray(np.isfinite(table.lonlat).all(axis=1))

        def far(rows: Integers, *others: Integers) -> Integers:
            here, there = rows[placed[rows]], np.concatenate(others)
            return here[~near(table.lonlat, here, there[placed[there]], self.buffer_km)]

        train = far(fold.train, fold.test)
        validation = far(fold.validation, fold.test, train)
        lost = len(fold.train) - len(train) + len(fold.validation) - len(validation)
        return Fold(train, validation, fold.test, fold.dropped + lost)


def tested_split(table: GeoTable) -> str | None:
    """Name of the split that is tested; None if the table's splits do not say."""
    if _named(table, _TRAIN) is None:
        return None
    return _named(table, _TEST) or _named(table, _VALIDATION)


def _named(table: GeoTable, names: tuple[str, ...]) -> str | None:
    """The first of some split names that the table has."""
    if table.split is None:
        return None
    known = {name.lower(): name for name in table.split.names}
    return next((known[name] for name in names if name in known), None)


def _rows(table: GeoTable, name: str | None) -> Integers:
    assert table.split is not None
    assert name is not None
    return np.flatnonzero(table.split.codes == table.split.names.index(name))


def _fold(table: GeoTable, splitter: Splitter, test: int, validation: int) -> Fold:
    split = split_table(table, splitter, test=test, validation=validation).split
    assert split is not None
    parts = {name: np.flatnonzero(split.codes == code) for code, name in enumerate(split.names)}
    return Fold(**parts, dropped=int((split.codes < 0).sum()))
