"""From the columns beside images to a table, for readers whose images are no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.assemble import Origin, assemble
from geocsp.data.columns.coordinates import Geometry, Pair, PlaceColumns, Places, place_columns
from geocsp.data.columns.fields import ROLES, Fields, is_pair_name
from geocsp.data.columns.moments import times_from
from geocsp.data.columns.numerals import numerals
from geocsp.data.geotag.clock import Moment, times_at
from geocsp.data.geotag.exif import Geotag
from geocsp.data.geotag.inside import look
from geocsp.data.images import Images, Integers
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.parquet import geo_column
from geocsp.data.table import Categories, Floats, GeoTable
from geocsp.errors import DataError, MissingExtraError

_KEPT = ROLES[2:]
_NAMED = ROLES[3:]
_NO_CLASSES: Mapping[str, Sequence[str]] = {}
_TRIED = 64
"""Images that are looked into before it is believed that none has a place."""


class ListPair(Pair):
    """A column of lists of two numbers or more, the coordinates."""

    def read(self, block: Mapping[str, pa.Array]) -> Places:
        """Places of N rows."""
        lists = block[self.column]
        if pa.types.is_fixed_size_list(lists.type):
            lists = lists.cast(pa.list_(lists.type.value_type))
        lists = pc.if_else(pc.greater_equal(pc.list_value_length(lists), 2), lists, None)
        axes = [numerals(pc.list_element(lists, n), self.column).values for n in (0, 1)]
        return Places(np.stack(axes[::-1] if self.latitude_first else axes, axis=1))


@dataclass(frozen=True)
class Layout:
    """Which columns beside the images are what.

    Attributes:
        roles: column of each role; those in structs with dots, as "location.lat".
        places: where the places are; None: nowhere but, perhaps, in the images.
        lacking: what to tell if they are not there either.
        notes: what was guessed.
    """

    roles: Mapping[str, str]
    places: PlaceColumns | None
    lacking: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, schema: pa.Schema, image: str, options: ReadOptions, where: str) -> Layout:
        """Find the roles among the columns.

        Args:
            schema: all columns.
            image: the column of images.
            options: how to read.
            where: the file, for error messages.

        Raises:
            DataError: a column that was named is not there, or there are two of one name.
        """
        twice = {name for name in schema.names if schema.names.count(name) > 1}
        if twice:
            raise DataError(f"{where} has several columns {sorted(twice)[0]!r}")
        kinds = leaf_types(schema, image)
        free = replace(options.columns, image=None)
        free.resolve(list(kinds), where)
        roles = {
            role: name
            for role, name in Fields(free).roles(list(kinds)).items()
            if getattr(free, role) is not None or not pa.types.is_nested(kinds[name])
        }
        notes = tuple(free.notes(roles))
        try:
            places = _places(schema, kinds, roles, options, where)
        except DataError as error:
            if options.columns.lon or options.columns.lat:
                raise
            return cls(roles, None, str(error), notes)
        return cls(roles, places, notes=(*notes, *places.notes))

    @property
    def columns(self) -> list[str]:
        """The columns to read."""
        others = [name for role, name in self.roles.items() if role not in ("lon", "lat")]
        return list(dict.fromkeys([*others, *(self.places.names if self.places else ())]))


def _places(
    schema: pa.Schema,
    kinds: Mapping[str, pa.DataType],
    roles: Mapping[str, str],
    options: ReadOptions,
    where: str,
) -> PlaceColumns:
    geometry = geo_column(schema)
    if geometry is not None and options.columns.lon is None and options.columns.lat is None:
        return Geometry(geometry.name, options.crs or geometry.crs)
    if "lon" not in roles or "lat" not in roles:
        for name, kind in kinds.items():
            latitude_first = is_pair_name(name)
            if latitude_first is not None and _is_numbers(kind):
                return ListPair(name, latitude_first)
    return place_columns(list(kinds), roles, options.crs, where)


def _is_numbers(kind: pa.DataType) -> bool:
    lists = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    if not any(is_list(kind) for is_list in lists):
        return False
    return bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def leaf_types(schema: pa.Schema, image: str) -> dict[str, pa.DataType]:
    """All columns but that of images, those in structs with dots; those outside first."""
    kinds: dict[str, pa.DataType] = {}
    level = [(column.name, column.type) for column in schema if column.name != image]
    while level:
        inner = []
        for name, kind in level:
            if pa.types.is_struct(kind):
                inner += [(f"{name}.{part.name}", part.type) for part in kind]
            else:
                kinds.setdefault(name, kind)
        level = inner
    return kinds


def leaf(block: pa.RecordBatch, name: str) -> pa.Array:
    """A column as :func:`leaf_types` names it."""
    names = block.schema.names
    if name in names:
        return block.column(name)
    outer = next(n for n in names if name.startswith(f"{n}."))
    column = block.column(outer)
    for part in name[len(outer) + 1 :].split("."):
        column = pc.struct_field(column, part)
    return column


class Beside:
    """Collects what is known beside images, block by block."""

    def __init__(
        self, options: ReadOptions, classes: Mapping[str, Sequence[str]] = _NO_CLASSES
    ) -> None:
        """Collect rows.

        Args:
            options: how to read.
            classes: what the numbers in a column mean, by column.
        """
        self._options = options
        self._classes = classes
        self._rows = 0
        self._lonlat: list[Floats] = [np.empty((0, 2))]
        self._time: list[Floats] = [np.empty((0, 2))]
        self._named: dict[str, list[pa.Array]] = {role: [] for role in _NAMED}
        self._columns: dict[str, str] = {}
        self._reasons: dict[int, str] = {}
        self._notes: dict[str, None] = {}
        self._lacking = ""
        self._unread = 0

    def add(self, block: pa.RecordBatch, layout: Layout) -> None:
        """Take in a block of rows; if there is an error, none.

        Raises:
            DataError: a column does not hold what its role asks for.
            MissingExtraError: places need an extra that is not installed.
        """
        found = Places(np.full((len(block), 2), np.nan))
        if layout.places is not None:
            found = layout.places.read({name: leaf(block, name) for name in layout.places.names})
        columns = {role: leaf(block, layout.roles[role]) for role in layout.roles if role in _KEPT}
        time, unread = _times(columns.get("time"), found.lonlat)
        for role in _NAMED:
            self._named[role].append(columns.get(role, pa.nulls(len(block))))
        self._lonlat.append(found.lonlat)
        self._time.append(time)
        self._columns |= {role: layout.roles[role] for role in columns}
        self._reasons |= {self._rows + row: reason for row, reason in found.unreadable.items()}
        self._notes |= dict.fromkeys([*layout.notes, *found.notes])
        self._lacking = self._lacking or layout.lacking
        self._unread += unread
        self._rows += len(block)

    def table(
        self, images: Images, origin: Origin, problems: Sequence[Problem], notes: Sequence[str] = ()
    ) -> GeoTable:
        """All rows as one table; where no column tells places, they are looked for in the images.

        Args:
            images: as many images as rows.
            origin: where a row comes from.
            problems: what was left out already.
            notes: what was guessed already.

        Raises:
            DataError: there are no columns of places, and the images have none either.
        """
        lonlat = np.concatenate(self._lonlat)
        timed = "time" in self._columns or self._lacking
        time = np.concatenate(self._time) if timed else None
        if time is not None and self._lacking:
            self._look_inside(images, lonlat, time)
        if self._unread:
            self._notes[f"{self._unread} times could not be read and count as unknown"] = None
        label, split, group = (self._categories(role) for role in _NAMED)
        return assemble(
            images,
            lonlat,
            time=None if time is None or np.isnan(time).all() else time,
            label=label,
            split=split,
            group=group,
            problems=problems,
            notes=[*notes, *self._notes],
            origin=origin,
            reasons=self._reasons,
            keep_unplaced=self._options.keep_unplaced,
        )

    def _look_inside(self, images: Images, lonlat: Floats, time: Floats) -> None:
        """Fill in places and times that the images themselves tell."""
        moments: dict[int, Moment] = {}
        placed = 0
        for row in np.flatnonzero(np.isnan(lonlat).all(axis=1)).tolist():
            tag = _tag(images, row, self._options)
            lonlat[row] = tag.lon, tag.lat
            placed += tag.placed
            moments[row] = tag.moment
            if tag.reason:
                self._reasons[row] = tag.reason
            if len(moments) == _TRIED and not placed:
                break
        if not placed and not self._options.keep_unplaced:
            raise DataError(f"{self._lacking}; the images hold no places either")
        rows = np.array([row for row in moments if np.isnan(time[row]).all()], dtype=np.int64)
        found = times_at([moments[row] for row in rows.tolist()], lonlat[rows, 0])
        if found is not None:
            time[rows] = found
        if placed:
            self._notes["no column tells places; they are taken from the images"] = None

    def _categories(self, role: str) -> Categories | None:
        if role not in self._columns:
            return None
        parts = self._named[role]
        names = self._classes.get(self._columns[role])
        kinds = {part.type for part in parts} - {pa.null()}
        if names is not None and all(pa.types.is_integer(kind) for kind in kinds):
            codes = np.concatenate([_codes(part, len(names)) for part in parts])
            return Categories(codes, tuple(names))
        kind = kinds.pop() if len(kinds) == 1 else pa.string()
        return Categories.of(pa.chunked_array([part.cast(kind) for part in parts], kind))


def _times(column: pa.Array | None, lonlat: Floats) -> tuple[Floats, int]:
    """Date and hour of rows, and how many cannot be read."""
    if column is None:
        return np.broadcast_to(np.nan, (len(lonlat), 2)), 0
    lon = np.where(np.abs(lonlat[:, 0]) <= 360, lonlat[:, 0], np.nan)
    return times_from(pa.chunked_array([column]), lon)


def _codes(column: pa.Array, classes: int) -> Integers:
    """Numbers of classes, -1 where there is none."""
    codes = column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return np.where((codes < 0) | (codes >= classes), -1, codes)


def _tag(images: Images, row: int, options: ReadOptions) -> Geotag:
    try:
        return look(images.load(row), options.crs)
    except (OSError, DataError, MissingExtraError) as error:
        return Geotag(reason=str(error))
