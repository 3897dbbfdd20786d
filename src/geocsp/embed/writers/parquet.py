"""Blocks of rows as Parquet, with metadata that say how they came about."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from geocsp.data.readers.parquet import GeoColumn
from geocsp.errors import MissingExtraError

ABOUT_KEY = b"geocsp_embedding"
"""Where in the metadata of the schema the record is, as JSON."""
_GEO = b"geo"
_GROUP_BYTES = 1 << 27


def write_parquet(
    path: Path,
    schema: pa.Schema,
    blocks: Iterable[pa.RecordBatch],
    about: Mapping[str, Any],
    searched: int,
    geometry: GeoColumn | None = None,
) -> None:
    """Write Parquet, compressed with Zstandard.

    Args:
        path: the file.
        schema: columns of the blocks; what its metadata says stays.
        blocks: the rows.
        about: the record, for the metadata.
        searched: how many columns, from the first on, get dictionaries and statistics.
        geometry: column of WKB that the metadata does not describe yet; then the file is
            GeoParquet 1.1 (OGC 24-013).

    Raises:
        MissingExtraError: geometries have another crs than degrees, and pyproj is not installed.
    """
    metadata = dict(schema.metadata or {}) | {ABOUT_KEY: json.dumps(about).encode()}
    if geometry is not None:
        metadata[_GEO] = json.dumps(_described(geometry)).encode()
    elif _GEO in metadata:
        metadata[_GEO] = _unbounded(metadata[_GEO])
    schema = schema.with_metadata(metadata)
    looked_up = schema.names[:searched]  # random numbers have no use for either of these
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=looked_up or False,
        write_statistics=looked_up or False,
    ) as writer:
        for group in _groups(blocks):
            table = pa.Table.from_batches(group).replace_schema_metadata(metadata)
            writer.write_table(table, row_group_size=len(table))


def _groups(blocks: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Blocks that make a row group: many small groups would make a large footer."""
    group: list[pa.RecordBatch] = []
    size = 0
    for block in blocks:
        if len(block):
            group.append(block)
            size += block.nbytes
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _described(geometry: GeoColumn) -> dict[str, Any]:
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": []}
    if geometry.crs is not None:
        try:
            from pyproj import CRS
        except ImportError as error:
            raise MissingExtraError("pyproj", "geo") from error
        column["crs"] = CRS.from_user_input(geometry.crs).to_json_dict()
    return {"version": "1.1.0", "primary_column": geometry.name, "columns": {geometry.name: column}}


def _unbounded(geo: bytes) -> bytes:
    """The description of geometries without their bounds, as rows may have been left out."""
    try:
        about = json.loads(geo)
        for column in about["columns"].values():
            column.pop("bbox", None)
    except (KeyError, TypeError, ValueError, AttributeError):
        return geo
    return json.dumps(about).encode()
