"""An open table of places: all its columns, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from geocsp.data.assemble import Origin
from geocsp.data.columns.coordinates import Geometry, PlaceColumns, place_columns
from geocsp.data.columns.moments import times_from
from geocsp.data.columns.numerals import numerals
from geocsp.data.options import Columns, ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.parquet import GeoColumn
from geocsp.data.table import Floats

_ROLES = ("lon", "lat", "time")
_LATEST = np.array([1.0, 24.0])


@dataclass(frozen=True)
class Block:
    """Some rows of a table.

    Attributes:
        rows: N rows, all columns, as they are read.
        origin: file and row in it of each of them.
        problems: rows before these that could not be read.
    """

    rows: pa.RecordBatch
    origin: Origin
    problems: Sequence[Problem] = ()

    def parts(self, size: int) -> Iterator[Block]:
        """The same rows in blocks of at most ``size``."""
        for start in range(0, max(1, len(self.rows)), size):
            shifted = lambda row, start=start: self.origin(start + row)  # noqa: E731
            problems = () if start else self.problems
            yield Block(self.rows.slice(start, size), shifted, problems)


@dataclass(frozen=True)
class Times:
    """Where in a table the times are.

    Attributes:
        columns: a column of moments; or two, of the date as a fraction of the year and the hour.
    """

    columns: tuple[str, ...]

    def read(self, block: pa.RecordBatch, lon: Floats) -> tuple[Floats, int]:
        """Date and hour of N rows, ``(N, 2)``, and how many moments cannot be read.

        Args:
            block: the rows.
            lon: ``(N,)`` degrees, NaN where unknown; by it hours become those of the local sun.
        """
        if len(self.columns) == 2:
            parts = [numerals(block.column(name), name).values for name in self.columns]
            time = np.stack(parts, axis=1)
            with np.errstate(invalid="ignore"):
                wrong = (time < 0) | (time > _LATEST)
            return np.where(wrong, np.nan, time), int(wrong.any(axis=1).sum())
        return times_from(pa.chunked_array([block.column(self.columns[0])]), lon)


@dataclass(frozen=True)
class Points:
    """An open table of places.

    Attributes:
        schema: all columns, as ``typed`` gives them.
        places: where the places are.
        times: where the times are, if anywhere.
        count: how many rows there are, as far as that is known.
        blocks: reads the rows from the first on.
        geometry: the column of geometries of a file that has one by its format.
        notes: what was guessed.
        typed: gives the rows of a block their types, where these are not those of the file.
    """

    schema: pa.Schema
    places: PlaceColumns
    times: Times | None
    count: int
    blocks: Callable[[], Iterator[Block]]
    geometry: GeoColumn | None = None
    notes: tuple[str, ...] = ()
    typed: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda rows: rows


def roles_of(names: Sequence[str], columns: Columns, where: str) -> dict[str, str]:
    """Which column is longitude, latitude and time.

    Raises:
        DataError: a column that was named is not there.
    """
    found = columns.resolve(names, where)
    return {role: found[role] for role in _ROLES if role in found}


def places_of(
    names: Sequence[str],
    roles: Mapping[str, str],
    geometry: GeoColumn | None,
    options: ReadOptions,
    where: str,
) -> PlaceColumns:
    """Geometries are the places, unless there are none or columns were named.

    Raises:
        DataError: there are no places.
    """
    if geometry is not None and options.columns.lon is None and options.columns.lat is None:
        return Geometry(geometry.name, options.crs or geometry.crs)
    return place_columns(names, roles, options.crs, where)


def notes_of(roles: Mapping[str, str], places: PlaceColumns, columns: Columns) -> tuple[str, ...]:
    """What was guessed."""
    read = {role: name for role, name in roles.items() if role == "time" or name in places.names}
    return (*columns.notes(read), *places.notes)
