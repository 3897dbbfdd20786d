"""Points of geometries, however these are written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geocsp.data.columns.numerals import is_text
from geocsp.data.columns.projections import is_geographic, to_degrees
from geocsp.data.table import Floats
from geocsp.errors import DataError, MissingExtraError

_SRID = r"(?i)^\s*SRID=4326;"
_HEX = r"^(?:[0-9A-Fa-f]{2}){21,}$"


def points_of(column: pa.Array, name: str, crs: str | None) -> tuple[Floats, dict[int, str]]:
    """Longitude and latitude of geometries: points as they are, of others the centroid.

    Geometries are WKB or WKT (ISO 19125-1), WKB as hexadecimal digits as PostGIS writes it, or
    GeoArrow's points, which are x and y. The centroid is that of the plane of the coordinates. A
    geometry of degrees that is wider than half the globe is taken to cross the antimeridian.

    Args:
        column: N geometries.
        name: name of the column, for error messages.
        crs: their coordinate reference system; None: degrees of WGS84.

    Returns:
        ``(N, 2)`` degrees, NaN where there is no point, and by row why there is none.

    Raises:
        DataError: a column of something else, or an unknown crs.
        MissingExtraError: shapely or pyproj is not installed.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if is_text(column.type):
        text = pc.replace_substring_regex(column.cast(pa.string()), _SRID, "")
        column = pc.if_else(pc.equal(pc.utf8_trim_whitespace(text), ""), None, text)
    why: dict[int, str] = {}
    if pa.types.is_struct(column.type) or pa.types.is_fixed_size_list(column.type):
        xy = _of_points(column, name)
    else:
        xy, why = _of_shapes(_shapes(column, name), column, degrees=is_geographic(crs))
    why |= {int(row): "no geometry" for row in np.flatnonzero(~_valid(column))}
    return converted(xy, crs, why), why


def converted(xy: Floats, crs: str | None, why: dict[int, str]) -> Floats:
    """Coordinates as degrees; rows that cannot be converted become NaN and are told in ``why``."""
    degrees = to_degrees(xy, crs)
    if degrees is xy:
        return xy
    given, reached = (np.asarray(np.isfinite(c).all(axis=1)) for c in (xy, degrees))
    for row in np.flatnonzero(given & ~reached).tolist():
        x, y = xy[row].tolist()
        why[row] = f"x {x:g}, y {y:g} cannot be converted to degrees"
    return np.where(given[:, None], np.where(reached[:, None], degrees, np.nan), xy)


def _valid(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False).astype(np.bool_))


def _of_points(column: pa.Array, name: str) -> Floats:
    if pa.types.is_struct(column.type):
        axes = [column.type.get_field_index(axis) for axis in ("x", "y")]
        parts = [pc.struct_field(column, axis) for axis in axes if axis >= 0]
    else:
        parts = [pc.list_element(column, axis) for axis in range(min(2, column.type.list_size))]
    if len(parts) != 2 or not all(pa.types.is_floating(part.type) for part in parts):
        raise DataError(f"column {name!r} holds {column.type}, not geometries; write WKB")
    return np.stack([part.to_numpy(zero_copy_only=False) for part in parts], axis=1)


def _shapes(column: pa.Array, name: str) -> NDArray[np.object_]:
    """Geometries of shapely, None where there is none or it is damaged."""
    try:
        import shapely
    except ImportError as error:
        raise MissingExtraError("shapely", "geo") from error
    kind = column.type
    if not is_text(kind):
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            raise DataError(f"column {name!r} holds {kind}, not geometries")
        return _parsed(shapely.from_wkb, _objects(column))
    digits = pc.match_substring_regex(column, _HEX).fill_null(False).to_numpy(zero_copy_only=False)
    words = _objects(column)
    shapes = np.full(len(words), None, dtype=object)
    shapes[digits] = _parsed(shapely.from_wkb, words[digits])
    shapes[~digits] = _parsed(shapely.from_wkt, words[~digits])
    return shapes


def _parsed(parse: Callable[..., Any], values: NDArray[np.object_]) -> NDArray[np.object_]:
    """Geometries, None where there is none, or one that is damaged or of an unknown kind."""
    try:
        return np.asarray(parse(values, on_invalid="ignore"))
    except NotImplementedError:  # some curve among them
        shapes = np.full(len(values), None, dtype=object)
        for row, value in enumerate(values):
            with suppress(NotImplementedError):
                shapes[row] = parse(value, on_invalid="ignore")
        return shapes


def _objects(column: pa.Array) -> NDArray[np.object_]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)


def _of_shapes(
    shapes: NDArray[np.object_], column: pa.Array, *, degrees: bool
) -> tuple[Floats, dict[int, str]]:
    import shapely

    damaged = shapely.is_missing(shapes) & _valid(column)
    why = dict.fromkeys(np.flatnonzero(damaged).tolist(), "the geometry is damaged or a curve")
    empty = shapely.is_empty(shapes)
    why |= dict.fromkeys(np.flatnonzero(empty).tolist(), "the geometry is empty")
    if degrees:
        with np.errstate(all="ignore"):
            west, _, east, _ = shapely.bounds(shapes).T
            around = np.flatnonzero(east - west > 180)
        for row in around:
            shapes[row] = shapely.transform(shapes[row], _eastwards)
    with np.errstate(all="ignore"):
        middle = shapely.centroid(shapes)
    middle[shapely.is_empty(middle)] = None
    return np.stack([shapely.get_x(middle), shapely.get_y(middle)], axis=1), why


def _eastwards(xy: Any) -> Any:
    """Longitudes of the western half as those from 180 to 360."""
    return np.stack([np.where(xy[:, 0] < 0, xy[:, 0] + 360, xy[:, 0]), xy[:, 1]], axis=1)
