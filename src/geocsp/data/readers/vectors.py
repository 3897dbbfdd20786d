"""Vector files of GIS: GeoJSON, GeoPackage, shapefiles, FlatGeobuf, KML."""

from __future__ import annotations

import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa

from geocsp.data.columns.coordinates import Geometry, image_column, place_columns
from geocsp.data.images import is_url
from geocsp.data.options import ReadOptions, listing
from geocsp.data.readers.rows import Plan, Rows
from geocsp.data.readers.tables import folder_of, rows_from
from geocsp.data.table import GeoTable
from geocsp.errors import DataError, MissingExtraError

_JSON = r"^(\xef\xbb\xbf)?[\s\x1e]*\{"
_STARTS = {
    ".geojson": _JSON,
    ".geojsonl": _JSON,
    ".geojsons": _JSON,
    ".json": _JSON,
    ".gpkg": r"^SQLite format 3\0",
    ".fgb": r"^fgb",
    ".shp": r"^\0\0\x27\x0a",
    ".kml": r"<kml[\s>]",
}
"""How files must begin: GDAL goes by the content, which may lead it to other files (OGR VRT)."""
_SLOW_FLATGEOBUF = "OGR_FLATGEOBUF_STREAM_BASE_IMPL"
_DRIVERS = (
    "GeoJSON",
    "GeoJSONSeq",
    "ESRIJSON",
    "TopoJSON",
    "GPKG",
    "FlatGeobuf",
    "ESRI Shapefile",
    "KML",
    "LIBKML",
)


def read_vectors(source: str, options: ReadOptions) -> GeoTable:
    """Read a vector file with a feature for every image.

    Places are the features' points, or the centroids of other geometries; attributes are found as
    the columns of a table are. Any coordinate reference system becomes degrees of WGS84.

    Args:
        source: ``.geojson``, ``.geojsonl``, ``.json``, ``.gpkg``, ``.shp``, ``.fgb`` or ``.kml``;
            a path, or, but for shapefiles, a URL that fsspec can open.
        options: how to read it; a file of several layers needs the name of one.

    Raises:
        DataError: the file cannot be read, or lacks images.
        MissingExtraError: the extra ``geo`` is not installed.
    """
    try:
        import pyogrio
    except ImportError as error:
        raise MissingExtraError("pyogrio", "geo") from error
    _check_start(source)
    with _told(source), _local(source) as opened:
        layer = _layer([name for name, _ in pyogrio.list_layers(opened)], options, source)
        about = pyogrio.read_info(opened, layer=layer)
        if about["driver"] not in _DRIVERS:
            raise DataError(f"{source} is a file of {about['driver']}, which is not read")
        fields = about["fields"].tolist()
        plan = _plan(about, fields, options, source)
        wanted = [name for name in plan.columns if name in fields]
        rows, start = Rows(options, folder_of(source)), 0
        for block in _blocks(opened, layer, wanted):
            rows.add(block, plan, rows_from(source, start))
            start += len(block)
    return rows.table([], [*options.columns.notes(plan.roles), *_unstated(about, options)])


def _blocks(opened: str, layer: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Blocks of features: geometries and some attributes.

    FlatGeobuf goes by GDAL's slower way, as the fast one makes invalid arrays of features without a
    geometry (GDAL 3.12), which end the process unless they are checked.
    """
    import pyogrio

    before = pyogrio.get_gdal_config_option(_SLOW_FLATGEOBUF)
    pyogrio.set_gdal_config_options({_SLOW_FLATGEOBUF: True})
    try:
        with pyogrio.open_arrow(opened, layer=layer, columns=columns, use_pyarrow=True) as stream:
            for block in stream[1]:
                block.validate(full=True)
                yield block
    finally:
        pyogrio.set_gdal_config_options({_SLOW_FLATGEOBUF: before})


def _plan(
    about: Mapping[str, Any], fields: Sequence[str], options: ReadOptions, source: str
) -> Plan:
    """Geometries are the places, unless the layer has none or columns were named."""
    roles = options.columns.resolve(fields, source)
    image_column(roles, fields, source)
    if about["geometry_type"] is None or options.columns.lon or options.columns.lat:
        return Plan(roles, place_columns(fields, roles, options.crs, source))
    others = {role: name for role, name in roles.items() if role not in ("lon", "lat")}
    geometry = about["geometry_name"] or "wkb_geometry"
    return Plan(others, Geometry(geometry, options.crs or about["crs"]))


def _unstated(about: Mapping[str, Any], options: ReadOptions) -> list[str]:
    if about["geometry_type"] is None or about["crs"] or options.crs:
        return []
    return ["the file states no coordinate reference system; its coordinates are taken as degrees"]


def _layer(layers: Sequence[str], options: ReadOptions, source: str) -> str:
    if options.layer is not None and options.layer not in layers:
        raise DataError(
            f"{source} has no layer {options.layer!r}; its layers are {listing(layers)}"
        )
    if not layers:
        raise DataError(f"{source} has no layers")
    if options.layer is None and len(layers) > 1:
        raise DataError(
            f"{source} has {len(layers)} layers; name one of {listing(layers)} as layer"
        )
    return options.layer or layers[0]


def _check_start(source: str) -> None:
    """Refuse files that are not what their names say."""
    ending = _ending(source)
    with _told(source), fsspec.open(source, "rb") as file:
        start = file.read(4096)
    if not re.search(_STARTS[ending].encode("latin-1"), start):
        kind = "GeoJSON" if _STARTS[ending] == _JSON else ending
        raise DataError(f"{source} does not begin as {kind} does; is it another kind of file?")


@contextmanager
def _local(source: str) -> Iterator[str]:
    """The file, or a copy of a remote one, as GDAL knows other URLs than fsspec does."""
    if not is_url(source):
        yield source
        return
    ending = _ending(source)
    if ending == ".shp":
        raise DataError(f"{source}: a shapefile is several files; copy them to this computer")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"copy{ending}"
        with fsspec.open(source, "rb") as remote, copy.open("wb") as file:
            shutil.copyfileobj(remote, file)
        yield str(copy)


def _ending(source: str) -> str:
    return posixpath.splitext(source.partition("::")[0].partition("?")[0].lower())[1]


@contextmanager
def _told(source: str) -> Iterator[None]:
    """Turn what goes wrong within GDAL and file systems into errors that name the file.

    pyogrio's errors are RuntimeErrors.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist") from error
    except (OSError, RuntimeError, ValueError, pa.ArrowException, ImportError) as error:
        if isinstance(error, (DataError, MissingExtraError)):
            raise
        reason = " ".join(str(error).split())[:300]
        if "UTF8" in reason:
            reason = "its text is not UTF-8; a .cpg file beside a shapefile names the encoding"
        raise DataError(f"{source} cannot be read: {reason}") from error
