"""Tables of text: a first reading finds the types of the columns, the second gives the rows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.assemble import Origin
from geocsp.data.columns.coordinates import LonLat
from geocsp.data.columns.numerals import numerals
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.delimited import Delimited, Ragged
from geocsp.embed.sources.points import Block, Points, Times, notes_of, places_of, roles_of

_MISSING = pa.array(["", "NA", "N/A", "NaN", "nan", "NULL", "null"])


class _Kind(Enum):
    """What all cells of a column are, from the narrowest on: a pattern and a type."""

    MISSING = r"^$", pa.string()
    INTEGER = r"^-?(0|[1-9]\d{0,17})$", pa.int64()
    DECIMAL = r"^[+-]?((0|[1-9]\d{0,17})(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$", pa.float64()
    TEXT = r"", pa.string()

    def widened(self, cells: pa.Array) -> _Kind:
        """The narrowest kind from this one on that all cells are of.

        Numbers with zeros in front, such as post codes, are text.
        """
        if self is _Kind.TEXT:
            return self
        known = cells.filter(pc.invert(pc.is_in(cells, _MISSING)))
        later = list(_Kind)[list(_Kind).index(self) :]
        return next(kind for kind in later if kind._fits(known))

    def _fits(self, cells: pa.Array) -> bool:
        return bool(pc.all(pc.match_substring_regex(cells, self.value[0]), min_count=0).as_py())

    def typed(self, cells: pa.Array) -> pa.Array:
        """Cells as what they are; null where they are not."""
        pattern, kind = self.value
        if pa.types.is_string(kind):
            return cells
        return pc.if_else(pc.match_substring_regex(cells, pattern), cells, None).cast(kind)


@dataclass(frozen=True)
class _Scan:
    """What a first reading of a file finds.

    Attributes:
        file: the file.
        kinds: what its columns are.
        rows: how many whole rows it has.
        ragged: how many others.
    """

    file: Delimited
    kinds: tuple[_Kind, ...]
    rows: int
    ragged: int

    @classmethod
    def of(cls, file: Delimited, numbers: Collection[str], *, typed: bool) -> _Scan:
        """Read a file.

        Args:
            file: the file.
            numbers: columns of coordinates, which are numbers whatever stands in bad rows.
            typed: find out what columns are; else all are text.
        """
        first = _Kind.MISSING if typed else _Kind.TEXT
        kinds, rows, ragged, lost = [first] * len(file.names), 0, list[Ragged](), 0
        for block in file.blocks(file.names, ragged):
            for column, name in enumerate(file.names if typed else ()):
                cells = block.column(column)
                cells = _readable(cells, name) if name in numbers else cells
                kinds[column] = kinds[column].widened(cells)
            rows, lost = rows + len(block), lost + len(ragged)
            ragged.clear()
        return cls(file, tuple(kinds), rows, lost + len(ragged))

    @property
    def schema(self) -> pa.Schema:
        """The columns with their types."""
        pairs = zip(self.file.names, self.kinds, strict=True)
        return pa.schema([pa.field(name, kind.value[1]) for name, kind in pairs])

    def typed(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of text with the types of the columns."""
        columns = [k.typed(c) for k, c in zip(self.kinds, rows.columns, strict=True)]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _readable(cells: pa.Array, name: str) -> pa.Array:
    """The cells that are a finite number."""
    return cells.filter(pa.array(np.isfinite(numerals(cells, name).values)))


@contextmanager
def text_points(source: str, options: ReadOptions, *, typed: bool) -> Iterator[Points]:
    """Open a ``.csv``, ``.tsv``, ``.tab`` or ``.txt`` file, also as ``.gz``.

    Args:
        source: path or URL.
        options: how to read it.
        typed: give columns of numbers as numbers; else every cell stays the text that it is.

    Raises:
        DataError: the file cannot be read, or has no places.
    """
    file = Delimited.open(source)
    roles = roles_of(file.names, options.columns, source)
    places = places_of(file.names, roles, None, options, source)
    numbers = places.names if isinstance(places, LonLat) else ()
    found = _Scan.of(file, numbers, typed=typed)
    if found.ragged and not file.quoted:  # cells with line breaks, in quotation marks after all?
        other = _Scan.of(replace(file, quoted=True), numbers, typed=typed)
        found = min(found, other, key=lambda scan: scan.ragged)
    yield Points(
        found.schema,
        places,
        Times((roles["time"],)) if "time" in roles else None,
        found.rows,
        lambda: _blocks(found.file),
        notes=notes_of(roles, places, options.columns),
        typed=found.typed,
    )


def _blocks(file: Delimited) -> Iterator[Block]:
    ragged, lost, start = list[Ragged](), list[int](), 0
    for rows in file.blocks(file.names, ragged):
        problems = [_problem(file, found) for found in ragged]
        lost += [found.row - len(lost) - n for n, found in enumerate(ragged)]
        ragged.clear()
        yield Block(rows, _origin(file.source, lost, start), problems)
        start += len(rows)
    if ragged:
        none = pa.RecordBatch.from_pylist([], pa.schema([(n, pa.string()) for n in file.names]))
        problems = [_problem(file, found) for found in ragged]
        yield Block(none, _origin(file.source, lost, start), problems)


def _problem(file: Delimited, ragged: Ragged) -> Problem:
    cells = "1 cell" if ragged.cells == 1 else f"{ragged.cells} cells"
    reason = f"has {cells} where the heading has {len(file.names)}"
    return Problem(file.source, ragged.row, reason)


def _origin(source: str, before: list[int], start: int) -> Origin:
    """Numbers rows as they are in the file, where rows that were lost count too.

    Args:
        source: the file.
        before: of each lost row, how many good ones come before it, rising.
        start: how many good rows come before the block.
    """
    return lambda row: (source, start + row + bisect_right(before, start + row))
