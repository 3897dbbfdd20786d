"""Maps as polygons: where a value reaches a level, or where a class is the most likely one."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError, MissingExtraError
from geocsp.files import write_atomically
from geocsp.maps.quantities import Colours
from geocsp.maps.raster import Raster

_DECIMALS = 6
"""Of degrees in a file: about 10 cm."""
_LEVELS = 5


def default_levels(raster: Raster) -> tuple[float, ...]:
    """About five round levels between the least and the highest value."""
    from matplotlib.ticker import MaxNLocator

    known = raster.values[raster.shown]
    if not known.size or raster.names:
        return ()
    low, high = float(known.min()), float(known.max())
    ticks = MaxNLocator(_LEVELS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return tuple(round(float(tick), 12) for tick in ticks if low < tick < high)


def polygons(raster: Raster, levels: Sequence[float] | None = None) -> Any:
    """Polygons of a map as a GeoDataFrame, WGS84, cut at the antimeridian.

    Of numbers, one row a level that is reached: ``level``, and where the value is at least that
    high, between cell centres by linear interpolation, without the cells that are left out; so a
    polygon lies in those of lower levels. Of classes, one row a class: ``class``, and the cells
    where it is the most likely one.

    Args:
        raster: the map.
        levels: to draw; by default :func:`default_levels`.

    Raises:
        DataError: colours have no polygons, or levels that are not finite.
        MissingExtraError: geopandas, rasterio or matplotlib is not installed.
    """
    try:
        import geopandas
    except ImportError as error:
        raise MissingExtraError("geopandas", "geo") from error
    try:
        import contourpy  # noqa: F401  # comes with matplotlib
    except ImportError as error:
        raise MissingExtraError("matplotlib", "evaluate") from error
    if isinstance(raster.quantity, Colours):
        raise DataError("colours have no contours; write an embedding as .png or .tif")
    if raster.names:
        found: dict[Any, Any] = dict(_class_areas(raster))
    else:
        levels = default_levels(raster) if levels is None else levels
        if not all(map(math.isfinite, levels)):
            raise DataError(f"levels must be numbers, got {levels}")
        found = dict(_level_areas(raster, sorted(set(levels))))
    key = "class" if raster.names else "level"
    columns = {key: list(found), "quantity": raster.quantity.title}
    return geopandas.GeoDataFrame(columns, geometry=list(found.values()), crs="EPSG:4326")


def write_polygons(raster: Raster, path: Path, levels: Sequence[float] | None = None) -> int:
    """Write the polygons of a map as GeoJSON (``.geojson``) or GeoPackage (``.gpkg``).

    The settings are the member ``geocsp`` of the GeoJSON, or the metadata of the GeoPackage.

    Returns:
        How many polygons there are: none if no value reaches a level.

    Raises:
        DataError: a name that ends otherwise, or as :func:`polygons`.
        MissingExtraError: as :func:`polygons`.
        OSError: the file cannot be written.
    """
    frame = polygons(raster, levels)
    reached = [] if "class" in frame else frame["level"].tolist()
    settings = raster.settings | ({"levels": reached} if "level" in frame else {})
    if path.suffix.lower() == ".geojson":
        whole = frame.to_geo_dict(drop_id=True) | {"geocsp": settings}
        write_atomically(path, json.dumps(whole, allow_nan=False).encode())
    elif path.suffix.lower() == ".gpkg":
        _write_geopackage(frame, path, settings)
    else:
        raise DataError(f"{path.name}: polygons are written as .geojson or .gpkg")
    return len(frame)


def _write_geopackage(frame: Any, path: Path, settings: dict[str, Any]) -> None:
    import pyogrio

    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / "map.gpkg"
        pyogrio.write_dataframe(
            frame,
            made,
            layer="map",
            driver="GPKG",
            geometry_type="MultiPolygon",
            promote_to_multi=True,
            dataset_metadata={"geocsp": json.dumps(settings)},
        )
        made.replace(path)


def _level_areas(raster: Raster, levels: Sequence[float]) -> Iterator[tuple[float, Any]]:
    """Levels that are reached, and where."""
    import shapely
    from contourpy import FillType, contour_generator

    if not raster.shown.any():
        return
    found = contour_generator(*_padded(raster), fill_type=FillType.OuterOffset)
    shown = None if raster.shown.all() else shapely.union_all(_cells(raster.shown, raster)[1])
    for level in levels:
        shapes = []
        for points, starts in zip(*found.filled(level, math.inf), strict=True):
            rings = [points[a:b] for a, b in pairwise(starts)]
            shapes.append(shapely.make_valid(shapely.Polygon(rings[0], rings[1:])))
        area = shapely.union_all(shapes)
        area = _clean(area if shown is None else shapely.intersection(area, shown))
        if not area.is_empty:
            yield level, area


def _padded(raster: Raster) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Longitudes, latitudes and values, with a row or column more along each edge of the window.

    Around the globe, the western edge is the eastern one, so both have the mean of their cells.
    Cells that are left out have the value of the nearest one that is not.
    """
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~raster.shown, return_distances=False, return_indices=True)
    west, south, east, north = raster.grid.bounds
    lon = np.concatenate([[west], raster.grid.longitudes.numpy(), [east]])
    lat = np.concatenate([[north], raster.grid.latitudes.numpy(), [south]])
    values = np.pad(raster.values[tuple(nearest)].astype(np.float64), 1, mode="edge")
    if east - west > 360 - 1e-9:
        values[:, 0] = values[:, -1] = (values[:, 1] + values[:, -2]) / 2
    return lon, lat, values


def _class_areas(raster: Raster) -> Iterator[tuple[str, Any]]:
    """Classes that are the most likely somewhere, and where."""
    import shapely

    numbers, shapes = _cells(raster.values, raster)
    for number in np.unique(numbers):
        area = shapely.union_all([shapes[i] for i in np.flatnonzero(numbers == number)])
        yield raster.names[number], _clean(area)


def _cells(numbers: NDArray[Any], raster: Raster) -> tuple[NDArray[np.int64], list[Any]]:
    """Numbers and outlines of cells that hang together and have the same one, if they are shown."""
    import shapely

    try:
        from rasterio.features import shapes
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo") from error
    found = list(
        shapes(numbers.astype(np.int32), mask=raster.shown, transform=raster.grid.transform)
    )
    values = np.array([number for _, number in found], dtype=np.int64)
    return values, [shapely.geometry.shape(outline) for outline, _ in found]


def _clean(area: Any) -> Any:
    """One valid MultiPolygon in [-180, 180], rounded."""
    import shapely

    parts = []
    for turn in (0.0, 360.0):
        inside = shapely.intersection(area, shapely.box(turn - 180, -90, turn + 180, 90))
        parts.append(shapely.transform(inside, lambda xy, by=turn: xy - np.array([by, 0.0])))
    rounded = shapely.set_precision(shapely.union_all(parts), 10.0**-_DECIMALS)
    areas = [part for part in shapely.get_parts(rounded) if part.geom_type == "Polygon"]
    return shapely.MultiPolygon(areas)
