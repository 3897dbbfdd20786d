"""Parquet and GeoParquet, one file or a folder of parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.parquet import geo_column, open_parquet, parquet_files
from geocsp.data.readers.tables import broken_file, rows_from
from geocsp.embed.sources.points import Block, Points, Times, notes_of, places_of, roles_of
from geocsp.errors import DataError

_ROWS = 1 << 16


@contextmanager
def parquet_points(source: str, options: ReadOptions) -> Iterator[Points]:
    """Open a Parquet file or a folder of such files with the same columns.

    Files of a folder that are damaged become problems.

    Args:
        source: path or URL.
        options: how to read it.

    Raises:
        DataError: no file can be read, they have different columns, or there are no places.
    """
    files = parquet_files(source)
    schema, count, failures = _schema(files, source)
    names = schema.names
    roles = roles_of(names, options.columns, source)
    geometry = geo_column(schema)
    places = places_of(names, roles, geometry, options, source)
    yield Points(
        schema,
        places,
        _times(schema, roles.get("time"), options),
        count,
        lambda: _blocks(files, source, schema, failures),
        geometry,
        notes_of(roles, places, options.columns),
    )


def _schema(files: Sequence[str], source: str) -> tuple[pa.Schema, int, dict[str, DataError]]:
    """The columns that all files have, how many rows they have, and which are damaged."""
    found: tuple[pa.Schema, str] | None = None
    count, failures = 0, dict[str, DataError]()
    for file in files:
        try:
            with open_parquet(file, source) as parquet:
                schema, rows = parquet.schema, parquet.content.metadata.num_rows
        except DataError as error:
            failures[file] = error
            continue
        twice = [name for name in schema.names if schema.names.count(name) > 1]
        if twice:
            raise DataError(f"{file} has {schema.names.count(twice[0])} columns {twice[0]!r}")
        found, count = found or (schema, file), count + rows
        if not schema.equals(found[0]):
            raise DataError(f"{file} has other columns than {found[1]}; name one of them")
    if found is None:
        raise next(iter(failures.values()))
    return found[0], count, failures


def _times(schema: pa.Schema, moment: str | None, options: ReadOptions) -> Times | None:
    decimals = {field.name for field in schema if pa.types.is_floating(field.type)}
    if options.columns.time is None and {"date", "hour"} <= decimals:  # as GeoTable.write does
        return Times(("date", "hour"))
    return None if moment is None else Times((moment,))


def _blocks(
    files: Sequence[str], source: str, schema: pa.Schema, failures: dict[str, DataError]
) -> Iterator[Block]:
    problems: list[Problem] = []
    for file in files:
        start = 0
        try:
            if file in failures:
                raise failures[file]
            with open_parquet(file, source) as parquet:
                for rows in parquet.blocks(schema.names, _ROWS):
                    yield Block(rows, rows_from(file, start), tuple(problems))
                    problems.clear()
                    start += len(rows)
        except DataError as error:
            if len(files) == 1:
                raise
            problems.append(broken_file(file, start, error))
    if problems:
        empty = pa.RecordBatch.from_pylist([], schema=schema)
        yield Block(empty, rows_from(source, 0), tuple(problems))
