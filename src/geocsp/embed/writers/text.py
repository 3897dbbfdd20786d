"""Blocks of rows as lines of text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.columns.numerals import is_text
from geocsp.errors import DataError, MissingExtraError


def write_text(
    path: Path,
    schema: pa.Schema,
    blocks: Iterable[pa.RecordBatch],
    *,
    delimiter: str = ",",
    geometry: str | None = None,
) -> None:
    """Write CSV (RFC 4180) or the like, cells in quotation marks only where they need them.

    Numbers have the fewest digits that give them back exactly; a missing value is an empty cell.

    Args:
        path: the file.
        schema: columns of the blocks.
        blocks: the rows.
        delimiter: what is between cells.
        geometry: column of WKB, which becomes WKT.

    Raises:
        DataError: a column holds what a cell of text does not.
        MissingExtraError: there are geometries, and shapely is not installed.
    """
    for field in schema:
        if field.name != geometry and not _is_plain(field.type):
            raise DataError(
                f"column {field.name!r} holds {field.type}, for which CSV has no form; write "
                ".parquet"
            )
    heading = [_quoted(pa.array([name]), delimiter)[0].as_py() for name in schema.names]
    with path.open("wb") as file:
        file.write(f"{delimiter.join(heading)}\n".encode())
        for block in blocks:
            if len(block):
                file.write(_lines(block, delimiter, geometry))


def _lines(block: pa.RecordBatch, delimiter: str, geometry: str | None) -> memoryview:
    cells = [
        _quoted(_wkt(column) if field.name == geometry else column, delimiter)
        for field, column in zip(block.schema, block.columns, strict=True)
    ]
    lines = pc.binary_join_element_wise(*cells, pa.scalar(delimiter))
    ended = pc.binary_join_element_wise(lines, pa.scalar(""), pa.scalar("\n"))
    whole = pa.ListArray.from_arrays(pa.array([0, len(ended)], pa.int32()), ended)
    return memoryview(pc.binary_join(whole, "")[0].as_buffer())


def _quoted(column: pa.Array, delimiter: str) -> pa.Array:
    """Cells of a column as they stand in the file."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not is_text(column.type):
        return column.cast(pa.string()).fill_null("")
    text = column.cast(pa.string()).fill_null("")
    special = pc.match_substring_regex(text, f'["\\r\\n{delimiter}]')
    if not pc.any(special, min_count=0).as_py():
        return text
    doubled = pc.replace_substring(text, '"', '""')
    quoted = pc.binary_join_element_wise(pa.scalar('"'), doubled, pa.scalar('"'), pa.scalar(""))
    return pc.if_else(special, quoted, text)


def _wkt(column: pa.Array) -> pa.Array:
    try:
        import shapely
    except ImportError as error:
        raise MissingExtraError("shapely", "geo") from error
    shapes = shapely.from_wkb(column.to_numpy(zero_copy_only=False), on_invalid="ignore")
    return pa.array(shapely.to_wkt(shapes, rounding_precision=-1).tolist(), pa.string())


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        return False
    binary = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary
    return not any(is_binary(kind) for is_binary in binary)
