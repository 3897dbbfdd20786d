"""Blocks of rows as GeoJSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.columns.numerals import is_text
from geocsp.data.readers.parquet import GeoColumn
from geocsp.errors import DataError, MissingExtraError

_END = b"\n]\n}\n"
_WKB = {b"ARROW:extension:name": b"geoarrow.wkb"}


def write_geojson(
    path: Path, schema: pa.Schema, blocks: Iterable[pa.RecordBatch], geometry: GeoColumn
) -> None:
    """Write GeoJSON (RFC 7946), in which coordinates are degrees, by GDAL.

    Args:
        path: the file.
        schema: columns of the blocks.
        blocks: the rows.
        geometry: the column of WKB and its crs.

    Raises:
        DataError: GDAL has no form for some column.
        MissingExtraError: pyogrio is not installed.
        RuntimeError: writing failed.
    """
    try:
        import pyogrio
        from pyogrio.errors import FieldError
    except ImportError as error:
        raise MissingExtraError("pyogrio", "geo") from error
    number = schema.get_field_index(geometry.name)
    schema = schema.set(number, pa.field(geometry.name, schema.field(number).type, metadata=_WKB))
    schema = pa.schema([field.with_type(_passed(field.type)) for field in schema])
    relay = _Relay(blocks, schema)
    try:
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(schema, iter(relay)),
            path,
            driver="GeoJSON",
            geometry_name=geometry.name,
            geometry_type="Unknown",
            crs=geometry.crs or "OGC:CRS84",
            layer_options={"RFC7946": "YES", "COORDINATE_PRECISION": "15", "WRITE_NAME": "NO"},
        )
    except (RuntimeError, pa.ArrowException, OSError) as error:
        if relay.error is not None:
            raise relay.error from None
        reason = " ".join(str(error).split())[:300]
        if isinstance(error, FieldError):
            raise DataError(f"GDAL has no GeoJSON for a column: {reason}") from error
        raise RuntimeError(f"GDAL cannot write the rows: {reason}") from error
    if not _is_whole(path):
        raise RuntimeError("GDAL did not write the file to its end; is the disk full?")


def _is_whole(path: Path) -> bool:
    """Whether the file has its end, of which GDAL does not tell."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_END)))
        return file.read() == _END


class _Relay:
    """Hands blocks on and keeps the error that ends them, which does not come through GDAL."""

    def __init__(self, blocks: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        self.error: BaseException | None = None
        self._blocks, self._schema = blocks, schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for block in self._blocks:
                columns = [_converted(column) for column in block.columns]
                yield pa.RecordBatch.from_arrays(columns, schema=self._schema)
        except GeneratorExit:  # GDAL asks for no more
            raise
        except BaseException as error:
            self.error = error
            raise


def _passed(kind: pa.DataType) -> pa.DataType:
    """The type in which GDAL is handed a column."""
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_passed(kind.value_type), kind.list_size)
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return pa.float64()
    zoned = pa.types.is_timestamp(kind) and kind.tz is not None
    return pa.string() if zoned or pa.types.is_null(kind) or is_text(kind) else kind


def _converted(column: pa.Array) -> pa.Array:
    """A column as GDAL writes it right.

    Short numbers go by their shortest digits, as GDAL would write eight, which may be too few;
    moments of a time zone, which it would drop, as text in UTC.
    """
    kind, wanted = column.type, _passed(column.type)
    if kind == wanted:
        return column
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        values = column.values.slice(column.offset * size, len(column) * size)
        mask = column.is_null()
        return pa.FixedSizeListArray.from_arrays(_converted(values), size, mask=mask)
    if pa.types.is_timestamp(kind):
        return pc.strftime(column.cast(pa.timestamp(kind.unit, "UTC")), "%Y-%m-%dT%H:%M:%SZ")
    return column.cast(pa.string()).cast(wanted)
