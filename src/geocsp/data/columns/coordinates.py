"""Where in a table the places are: two columns, a pair in one, or geometries."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.columns.geometries import converted, points_of
from geocsp.data.columns.numerals import is_text, numerals, shorten
from geocsp.data.options import listing, simple
from geocsp.data.table import Floats
from geocsp.errors import DataError

_PAIRS = {"latlon": True, "latlng": True, "latlong": True, "lonlat": False, "lnglat": False}
_EITHER = ("location", "coordinates", "coords", "coordinate", "position", "gps", "latlons", "point")
_GEOMETRIES = ("geometry", "geom", "wkt", "wkb", "thegeom", "wkbgeometry", "shape", "geometrywkt")
_PAIR = re.compile(
    r"^\s*[\[(]?\s*(?P<first>[+-]?[\d.eE+-]+)\s*[,;\s]\s*(?P<second>[+-]?[\d.eE+-]+)\s*[\])]?\s*$"
)


@dataclass(frozen=True)
class Places:
    """Places of some rows.

    Attributes:
        lonlat: ``(N, 2)`` degrees as found, NaN where unknown.
        unreadable: why there is no place, by row, where more is to be said than that.
        notes: what was repaired.
    """

    lonlat: Floats
    unreadable: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class PlaceColumns(ABC):
    """The columns that say where images are."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The columns to read."""

    @property
    def notes(self) -> list[str]:
        """What was guessed."""
        return []

    @abstractmethod
    def read(self, block: Mapping[str, pa.Array]) -> Places:
        """Places of N rows.

        Raises:
            DataError: a column does not hold what its name promises, or the crs is unknown.
            MissingExtraError: shapely or pyproj is needed and not installed.
        """


@dataclass(frozen=True)
class LonLat(PlaceColumns):
    """A column of longitudes and one of latitudes, or of eastings and northings.

    Attributes:
        lon: column of longitudes.
        lat: column of latitudes.
        crs: what they are in; None: degrees of WGS84. In another crs decimal commas are not read,
            as they may part thousands there.
    """

    lon: str
    lat: str
    crs: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Both columns."""
        return self.lon, self.lat

    def read(self, block: Mapping[str, pa.Array]) -> Places:
        """Places of N rows."""
        axes = [numerals(block[name], name, commas=self.crs is None) for name in self.names]
        why: dict[int, str] = {}
        for name, axis in zip(self.names, axes, strict=True):
            for row, cell in axis.unreadable.items():
                why[row] = "; ".join(filter(None, [why.get(row), f"{name} {cell} is not a number"]))
        xy = np.stack([axis.values for axis in axes], axis=1)
        xy[list(why)] = np.nan
        notes = [
            f"decimal commas in column {name!r} are read as decimal points"
            for name, axis in zip(self.names, axes, strict=True)
            if axis.commas
        ]
        return Places(converted(xy, self.crs, why), why, tuple(notes))


@dataclass(frozen=True)
class Pair(PlaceColumns):
    """A column of texts such as "48.9, 2.4".

    Attributes:
        column: name of the column.
        latitude_first: the order of the two numbers.
    """

    column: str
    latitude_first: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def notes(self) -> list[str]:
        """In which order the numbers are read."""
        first = "latitude" if self.latitude_first else "longitude"
        return [f"column {self.column!r} is taken as {first} first"]

    def read(self, block: Mapping[str, pa.Array]) -> Places:
        """Places of N rows."""
        text = block[self.column]
        if not is_text(text.type):
            raise DataError(f"column {self.column!r} holds {text.type}, not texts of two numbers")
        text = text.cast(pa.string())
        parts = pc.extract_regex(text, _PAIR.pattern)
        axes = [
            numerals(pc.struct_field(parts, n), self.column, commas=False).values for n in (0, 1)
        ]
        order = slice(None, None, -1) if self.latitude_first else slice(None)
        lonlat = np.stack(axes[order], axis=1)
        found = np.asarray(np.isfinite(lonlat).all(axis=1))
        filled = pc.not_equal(pc.utf8_trim_whitespace(text), "").fill_null(False)
        bad = np.flatnonzero(~found & filled.to_numpy(zero_copy_only=False).astype(np.bool_))
        cells = text.take(pa.array(bad)).to_pylist()
        why = {
            int(row): f"{self.column} {shorten(cell)} is not two numbers"
            for row, cell in zip(bad, cells, strict=True)
        }
        return Places(np.where(found[:, None], lonlat, np.nan), why)


@dataclass(frozen=True)
class Geometry(PlaceColumns):
    """A column of geometries.

    Attributes:
        column: name of the column.
        crs: what their coordinates are in; None: degrees of WGS84.
    """

    column: str
    crs: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def read(self, block: Mapping[str, pa.Array]) -> Places:
        """Places of N rows: points, or the centroids of other geometries."""
        lonlat, why = points_of(block[self.column], self.column, self.crs)
        return Places(lonlat, why)


def place_columns(
    names: Sequence[str], roles: Mapping[str, str], crs: str | None, where: str
) -> PlaceColumns:
    """The columns of places of a table: longitude and latitude, else a pair, else geometries.

    Args:
        names: columns of the table.
        roles: what :meth:`geocsp.data.options.Columns.resolve` found.
        crs: coordinate reference system that the user named.
        where: the file, for error messages.

    Raises:
        DataError: there are none.
    """
    if "lon" in roles and "lat" in roles:
        return LonLat(roles["lon"], roles["lat"], crs)
    known: dict[str, str] = {}
    for name in names:
        known.setdefault(simple(name), name)
    for pair, latitude_first in _PAIRS.items():
        if pair in known and crs is None:
            return Pair(known[pair], latitude_first)
    for geometry in _GEOMETRIES:
        if geometry in known:
            return Geometry(known[geometry], crs)
    missing = "lat" if "lon" in roles else "lon"
    either = next((known[name] for name in _EITHER if name in known), None)
    advice = _advice(names, either)
    raise DataError(f"{where} has no column {missing}; its columns are {listing(names)}; {advice}")


def _advice(names: Sequence[str], either: str | None) -> str:
    if any(re.fullmatch(r"\s*-?\d+(\.\d*)?\s*", name) for name in names):
        return "the first line must name the columns"
    if either is not None:
        return f"if {either!r} is pairs of numbers, name it latlon or lonlat, as their order is"
    return (
        "name them with columns=Columns(lon=..., lat=...), on the command line --lon-column and "
        "--lat-column"
    )


def image_column(roles: Mapping[str, str], names: Sequence[str], where: str) -> str:
    """The column of images.

    Raises:
        DataError: there is none.
    """
    if "image" in roles:
        return roles["image"]
    raise DataError(
        f"{where} has no column image; its columns are {listing(names)}; name it with "
        "columns=Columns(image=...), on the command line --image-column"
    )
