"""Tables of images and places: CSV and its kin, Parquet, GeoParquet."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from geocsp.data.assemble import Origin
from geocsp.data.columns.coordinates import Geometry, image_column, place_columns
from geocsp.data.columns.fields import split_named
from geocsp.data.images import is_url
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.delimited import Delimited, Ragged
from geocsp.data.readers.parquet import Parquet, geo_column, open_parquet, parquet_files
from geocsp.data.readers.rows import Plan, Rows
from geocsp.data.table import GeoTable
from geocsp.errors import DataError

_TEXTS = (".csv", ".tsv", ".tab", ".txt")
_LONGEST_PATH = 4096


def read_table(source: str, options: ReadOptions) -> GeoTable:
    """Read a table with a row for every image.

    Only the columns that are needed are read, block by block. Rows that cannot be used, and cells
    that are no numbers, become problems with the number of their row, from 0 after the heading.
    Files of a folder that cannot be read become problems too. Where all files of a folder have
    names such as ``train-0.parquet`` and no column tells the split, the names do.

    Args:
        source: ``.csv``, ``.tsv``, ``.tab`` or ``.txt``, also as ``.gz``; a Parquet or GeoParquet
            file; or a folder of Parquet files. A path, or a URL that fsspec can open.
        options: how to read it.

    Raises:
        DataError: the file cannot be read, or lacks the columns of images and places.
        MissingExtraError: geometries or another crs than degrees without the extra ``geo``.
    """
    plain = source.lower().partition("::")[0].partition("?")[0].removesuffix(".gz")
    return _read_text(source, options) if plain.endswith(_TEXTS) else _read_parquet(source, options)


def folder_of(source: str) -> str:
    """The folder of a file, a path or a URL; of a file in an archive, that of the archive."""
    outer = source.rpartition("::")[2]
    if is_url(outer):
        return outer.partition("?")[0].rpartition("/")[0]
    return str(Path(outer).parent)


def plan_of(names: Sequence[str], options: ReadOptions, where: str) -> Plan:
    """Which columns of a table without geometries of its own are read, and as what.

    Raises:
        DataError: there are no images or places, or a column that was named is not there.
    """
    roles = options.columns.resolve(names, where)
    image_column(roles, names, where)
    return Plan(roles, place_columns(names, roles, options.crs, where))


def rows_from(file: str, start: int) -> Origin:
    """Numbers the rows of a block in its file, whose first is number ``start``."""
    return lambda row: (file, start + row)


def _read_text(source: str, options: ReadOptions) -> GeoTable:
    file = Delimited.open(source)
    plan = plan_of(file.names, options, source)
    rows, ragged = _rows_of(file, plan, options)
    if ragged and not file.quoted:  # cells with line breaks, in quotation marks after all?
        other = _rows_of(replace(file, quoted=True), plan, options)
        rows, ragged = min((rows, ragged), other, key=lambda read: len(read[1]))
    problems = [_problem(source, row, len(file.names)) for row in ragged]
    return rows.table(problems, options.columns.notes(plan.roles))


def _rows_of(file: Delimited, plan: Plan, options: ReadOptions) -> tuple[Rows, list[Ragged]]:
    rows, ragged, start = Rows(options, folder_of(file.source)), list[Ragged](), 0
    for block in file.blocks(plan.columns, ragged):
        rows.add(block, plan, _between(file.source, ragged, start))
        start += len(block)
    return rows, ragged


def _problem(source: str, ragged: Ragged, expected: int) -> Problem:
    cells = "1 cell" if ragged.cells == 1 else f"{ragged.cells} cells"
    return Problem(source, ragged.row, f"has {cells} where the heading has {expected}")


def _between(source: str, ragged: Sequence[Ragged], start: int) -> Origin:
    """Numbers rows as they are in the file, where ragged ones count too."""
    before = [found.row - count for count, found in enumerate(ragged)]  # good ones before each
    return lambda row: (source, start + row + bisect_right(before, start + row))


def _read_parquet(source: str, options: ReadOptions) -> GeoTable:
    files = parquet_files(source)
    rows = Rows(options, folder_of(source) if files == [source] else source)
    notes: dict[str, None] = {}
    failures: list[DataError] = []
    problems: list[Problem] = []
    splits = [split_named(file) for file in files]
    for file, split in zip(files, splits, strict=True):
        start = 0
        try:
            with open_parquet(file, source) as opened:
                told = len(files) > 1 and None not in splits
                parquet = _in_split(opened, split, options) if told else opened
                roles = _roles(parquet, options)
                if _is_embedded(parquet, roles["image"]):
                    return _read_embedded(files, roles["image"], options, source)
                plan = _plan(parquet, roles, options)
                notes |= dict.fromkeys(options.columns.notes(_guessed(plan)))
                for block in parquet.blocks(plan.columns):
                    rows.add(block, plan, rows_from(file, start))
                    start += len(block)
        except DataError as error:
            failures.append(error)
            problems.append(broken_file(file, start, error))
    if len(failures) == len(files) and all(problem.row is None for problem in problems):
        raise failures[0]
    return rows.table(problems, list(notes))


def _in_split(parquet: Parquet, split: str | None, options: ReadOptions) -> Parquet:
    """A file with its name's split as a column, unless it has such a column."""
    if "split" in options.columns.resolve(parquet.schema.names, parquet.file):
        return parquet
    return replace(parquet, folders=parquet.folders | {"split": split})


def broken_file(file: str, row: int, error: DataError) -> Problem:
    """A file that cannot be read, from some row on or at all."""
    reason = str(error).removeprefix(f"{file} ").removeprefix(f"{file}: ")
    return Problem(file, row, f"and all after it: {reason}") if row else Problem(file, None, reason)


def _roles(parquet: Parquet, options: ReadOptions) -> dict[str, str]:
    """Which column is what; one with images in it knows itself by its type."""
    schema = parquet.schema
    roles = options.columns.resolve(schema.names, parquet.file)
    if "image" not in roles:
        holders = [f.name for f in schema if _holds_image(f.type)]
        roles |= {"image": holders[0]} if len(holders) == 1 else {}
    image_column(roles, schema.names, parquet.file)
    return roles


def _plan(parquet: Parquet, roles: dict[str, str], options: ReadOptions) -> Plan:
    """Like :func:`plan_of`; geometries know themselves by their type here."""
    schema, columns = parquet.schema, options.columns
    decimals = {field.name for field in schema if pa.types.is_floating(field.type)}
    if columns.time is None and {"date", "hour"} <= decimals:  # as GeoTable.write writes them
        roles |= {"time": "date", "hour": "hour"}
    geometry = geo_column(schema)
    if geometry is not None and columns.lon is None and columns.lat is None:
        roles = {role: name for role, name in roles.items() if role not in ("lon", "lat")}
        return Plan(roles, Geometry(geometry.name, options.crs or geometry.crs))
    return Plan(roles, place_columns(schema.names, roles, options.crs, parquet.file))


def _guessed(plan: Plan) -> dict[str, str]:
    """The roles that may be guesses; those of date and hour are none."""
    own = ("time", "hour") if "hour" in plan.roles else ()
    return {role: name for role, name in plan.roles.items() if role not in own}


def _holds_image(kind: pa.DataType) -> bool:
    """Whether a column is as Hugging Face's datasets store images: bytes and path."""
    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _is_embedded(parquet: Parquet, image: str) -> bool:
    """Whether a column holds images themselves, not their paths, which may be stored as bytes."""
    kind = parquet.schema.field(image).type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return bool(pa.types.is_struct(kind))
    for block in parquet.blocks([image], rows=64):
        for value in block.column(0).drop_null().to_pylist():
            return len(value) > _LONGEST_PATH or not _is_printable(value)
    return False


def _is_printable(value: bytes) -> bool:
    try:
        return value.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _read_embedded(files: Sequence[str], image: str, options: ReadOptions, source: str) -> GeoTable:
    from geocsp.data.readers.embedded import read_embedded

    named = replace(options, columns=replace(options.columns, image=image))
    return read_embedded(files, named, source)
