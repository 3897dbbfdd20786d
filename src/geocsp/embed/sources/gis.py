"""Vector files of GIS: GeoJSON, GeoPackage, shapefiles, FlatGeobuf, KML."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pyarrow as pa

from geocsp.data.options import ReadOptions
from geocsp.data.readers import vectors
from geocsp.data.readers.parquet import GeoColumn
from geocsp.data.readers.tables import rows_from
from geocsp.embed.sources.points import Block, Points, Times, notes_of, places_of, roles_of
from geocsp.errors import DataError, MissingExtraError

ENDINGS = tuple(vectors._STARTS)


@contextmanager
def gis_points(source: str, options: ReadOptions) -> Iterator[Points]:
    """Open a vector file; places are points, or the centroids of other geometries.

    Args:
        source: path, or, but for shapefiles, a URL.
        options: how to read it; a file of several layers needs the name of one.

    Raises:
        DataError: the file cannot be read, or has no places.
        MissingExtraError: the extra ``geo`` is not installed.
    """
    try:
        import pyogrio  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pyogrio", "geo") from error
    with ExitStack() as stack:
        with vectors._told(source):
            vectors._check_start(source)
            opened = stack.enter_context(vectors._local(source))
            points = _opened(source, opened, options)
        yield points


def _opened(source: str, opened: str, options: ReadOptions) -> Points:
    import pyogrio

    layers = [name for name, _ in pyogrio.list_layers(opened)]
    layer = vectors._layer(layers, options, source)
    about = pyogrio.read_info(opened, layer=layer, force_feature_count=True)
    if about["driver"] not in vectors._DRIVERS:
        raise DataError(f"{source} is a file of {about['driver']}, which is not read")
    with pyogrio.open_arrow(opened, layer=layer, use_pyarrow=True) as (_, reader):
        stored = reader.schema
    fields = about["fields"].tolist()
    schema = pa.schema([(_renamed(f.name, fields), f.type) for f in stored])
    shapes = [name for name in schema.names if name not in fields]
    geometry = GeoColumn(shapes[0], about["crs"]) if shapes else None
    roles = roles_of(fields, options.columns, source)
    places = places_of(schema.names, roles, geometry, options, source)
    return Points(
        schema,
        places,
        Times((roles["time"],)) if "time" in roles else None,
        about["features"],
        lambda: _blocks(source, opened, layer, fields, stored.names, schema),
        geometry,
        (*notes_of(roles, places, options.columns), *vectors._unstated(about, options)),
    )


def _renamed(name: str, fields: list[str]) -> str:
    """A name for geometries of a file that gives them none, but for which GDAL makes one up."""
    return "geometry" if name == "wkb_geometry" and "geometry" not in fields else name


def _blocks(
    source: str, opened: str, layer: str, fields: list[str], names: list[str], schema: pa.Schema
) -> Iterator[Block]:
    start = 0
    with vectors._told(source):
        for block in vectors._blocks(opened, layer, fields):
            columns = [block.column(name) for name in names]
            rows = pa.RecordBatch.from_arrays(columns, schema=schema)
            yield Block(rows, rows_from(source, start))
            start += len(rows)
