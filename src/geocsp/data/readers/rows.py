"""From blocks of a table's columns to one table of geo-tagged images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.assemble import Origin, Sieve, nameless
from geocsp.data.columns.coordinates import PlaceColumns
from geocsp.data.columns.moments import times_from
from geocsp.data.columns.numerals import is_text, numerals
from geocsp.data.images import FileImages, is_url
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories, Floats, GeoTable
from geocsp.errors import DataError

_NAMED = ("label", "split", "group")


@dataclass(frozen=True)
class Plan:
    """Which columns of a table are read, and as what.

    Attributes:
        roles: column of each role, as :meth:`geocsp.data.options.Columns.resolve` finds them, with
            ``image`` among them; ``hour`` is the hour of the day where ``time`` is the date as a
            fraction of the year, as in tables that geocsp writes.
        places: where the places are.
    """

    roles: Mapping[str, str]
    places: PlaceColumns

    @property
    def columns(self) -> list[str]:
        """The columns to read."""
        others = [name for role, name in self.roles.items() if role not in ("lon", "lat")]
        return list(dict.fromkeys([*others, *self.places.names]))


class Rows:
    """Collects what is needed of a table, block by block, so that the rest is never in memory."""

    def __init__(self, options: ReadOptions, folder: str) -> None:
        """Collect rows.

        Args:
            options: how to read.
            folder: what relative names of images are relative to, unless the options say it.
        """
        self._options = options
        self._folder = folder if options.folder is None else options.folder
        self._sieve = Sieve(options.keep_unplaced)
        self._names: list[pa.Array] = []
        self._lonlat: list[Floats] = []
        self._time: list[Floats] = []
        self._named: dict[str, list[pa.Array]] = {role: [] for role in _NAMED}
        self._notes: dict[str, None] = {}
        self._roles: set[str] = set()
        self._unread = 0

    def add(self, block: pa.RecordBatch, plan: Plan, origin: Origin) -> None:
        """Take in the usable rows of a block; if there is an error, none.

        Args:
            block: N rows with the columns of the plan.
            plan: what they are.
            origin: where each of the N rows comes from.

        Raises:
            DataError: a column does not hold what its role asks for.
            MissingExtraError: places need an extra that is not installed.
        """
        columns = {name: block.column(name) for name in plan.columns}
        known = {role: columns[name] for role, name in plan.roles.items() if name in columns}
        found = plan.places.read(columns)
        names = _texts(known["image"], plan.roles["image"])
        time, unread = _times(known, plan.roles, found.lonlat)
        named = {role: _encoded(known.get(role), plan, role, len(names)) for role in _NAMED}
        lonlat, kept = self._sieve.sift(found.lonlat, nameless(names), origin, found.unreadable)
        mask = pa.array(kept)
        self._names.append(names.filter(mask))
        self._lonlat.append(lonlat[kept])
        self._time.append(time[kept] if "time" in known else time[: kept.sum()])
        for role, part in named.items():
            self._named[role].append(part.filter(mask))
        self._notes |= dict.fromkeys([*plan.places.notes, *found.notes])
        self._roles |= known.keys()
        self._unread += unread

    def table(self, problems: Sequence[Problem], notes: Sequence[str]) -> GeoTable:
        """All rows as one table.

        Args:
            problems: rows that did not come this far.
            notes: what was guessed.
        """
        names, slashed = _slashed(pa.chunked_array(self._names, pa.string()), self._folder)
        told = [*notes, *self._notes, *slashed, *self._sieve.notes]
        if self._unread:
            told.append(f"{self._unread} times could not be read and count as unknown")
        label, split, group = (
            Categories.of(_one_type(parts)) if role in self._roles else None
            for role, parts in self._named.items()
        )
        return GeoTable(
            FileImages(names, self._folder, self._options.bands),
            _joined(self._lonlat),
            _joined(self._time) if "time" in self._roles else None,
            label,
            split,
            group,
            problems=(*problems, *self._sieve.problems),
            notes=tuple(told),
        )


def _joined(parts: Sequence[Floats]) -> Floats:
    return np.concatenate([np.empty((0, 2)), *parts])


def _texts(column: pa.Array, name: str) -> pa.Array:
    """Names of images as texts."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _texts(column.dictionary_decode(), name)
    if is_text(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            pass
    raise DataError(f"column {name!r} holds {kind}, not paths or URLs of images")


def _times(
    known: Mapping[str, pa.Array], roles: Mapping[str, str], lonlat: Floats
) -> tuple[Floats, int]:
    """Date and hour of rows, and how many cannot be read."""
    if "time" not in known:
        return np.broadcast_to(np.nan, (len(lonlat), 2)), 0
    if "hour" in known:
        parts = [numerals(known[role], roles[role]).values for role in ("time", "hour")]
        return np.stack(parts, axis=1), 0
    lon = np.where(np.abs(lonlat[:, 0]) <= 360, lonlat[:, 0], np.nan)
    return times_from(pa.chunked_array([known["time"]]), lon)


def _encoded(column: pa.Array | None, plan: Plan, role: str, rows: int) -> pa.Array:
    """A column of names as a dictionary, of which a block needs little memory."""
    if column is None:
        column = pa.nulls(rows, pa.string())
    if pa.types.is_dictionary(column.type):
        return column
    try:
        return pc.dictionary_encode(column)
    except pa.ArrowNotImplementedError as error:
        raise DataError(
            f"column {plan.roles[role]!r} holds {column.type}, which cannot name classes, splits "
            "or groups"
        ) from error


def _one_type(parts: Sequence[pa.Array]) -> pa.ChunkedArray:
    """Blocks of one column; as texts if they differ, as those of several files may."""
    kinds = {part.type for part in parts}
    if len(kinds) > 1:
        parts = [pc.dictionary_encode(part.dictionary_decode().cast(pa.string())) for part in parts]
    return pa.chunked_array(parts) if parts else pa.chunked_array([], pa.string())


def _slashed(names: pa.ChunkedArray, folder: str) -> tuple[pa.ChunkedArray, list[str]]:
    """Paths written on Windows, with the slashes of this system; and a note if there are any."""
    if os.sep != "/" or is_url(folder):
        return names, []
    written = pc.match_substring(names, "\\").fill_null(False)
    first = pc.index(written, True).as_py()
    if first < 0 or _is_there(Path(folder) / names[first].as_py()):
        return names, []
    return pc.replace_substring(names, "\\", "/"), [
        "backslashes in image paths are read as slashes"
    ]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long to be one
        return False
