"""Rows of one or more CSV files: some columns, with types, however large the files are."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from geocsp.data.images import Integers
from geocsp.data.quarantine import Problem
from geocsp.data.table import Floats
from geocsp.errors import DataError

NUMBER, WHOLE, TEXT = pa.float64(), pa.int64(), pa.string()
_BLOCK = 1 << 24
_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?$"
_WHOLE = r"^-?\d{1,18}(\.0*)?$"


@dataclass(frozen=True, eq=False)
class Records:
    """Rows of files, one file after the other.

    Attributes:
        files: where they are.
        file: ``(N,)`` int64 index into ``files``.
        row: ``(N,)`` int64 number of each row in its file, from 0.
        columns: columns by name, null where unknown; also those that no file has.
        problems: rows that do not have as many fields as the heading.
    """

    files: tuple[Path, ...]
    file: Integers
    row: Integers
    columns: Mapping[str, pa.ChunkedArray]
    problems: tuple[Problem, ...]

    def __len__(self) -> int:
        return len(self.row)

    def lonlat(self, lon: str, lat: str) -> Floats:
        """``(N, 2)`` degrees of two columns, NaN where unknown."""
        return np.stack([self.columns[name].to_numpy() for name in (lon, lat)], axis=1)

    def first(self, *names: str) -> pa.ChunkedArray | None:
        """The first of some columns that is not empty, None if all are."""
        columns = (self.columns[name] for name in names)
        return next((column for column in columns if column.null_count < len(column)), None)

    def origin(self, row: int) -> tuple[str, int]:
        """File of a row and its number there."""
        return str(self.files[self.file[row]]), int(self.row[row])


def read_records(
    files: Sequence[Path],
    required: Mapping[str, pa.DataType],
    optional: Mapping[str, pa.DataType] | None = None,
    *,
    delimiter: str = ",",
) -> Records:
    """Read some columns of CSV files with a heading.

    Values that do not fit the type of their column count as unknown.

    Args:
        files: at least one.
        required: type of the columns that every file must have.
        optional: type of the columns that a file may have.
        delimiter: what separates fields.

    Raises:
        DataError: a file cannot be read, or lacks a column.
    """
    kinds = {**required, **(optional or {})}
    parts = [_read(path, set(required), kinds, delimiter) for path in files]
    return Records(
        files=tuple(files),
        file=np.repeat(np.arange(len(parts)), [part.num_rows for part, _ in parts]),
        row=np.concatenate(
            [_rows(part.num_rows, [p.row for p in problems]) for part, problems in parts]
        ),
        columns={
            name: pa.chunked_array([c for part, _ in parts for c in part[name].chunks], kind)
            for name, kind in kinds.items()
        },
        problems=tuple(problem for _, problems in parts for problem in problems),
    )


def _rows(count: int, bad: Sequence[int | None]) -> Integers:
    """Numbers of the rows that are left when some are not."""
    return np.delete(np.arange(count + len(bad)), np.array(bad, dtype=np.int64))


def _read(
    path: Path, required: set[str], kinds: Mapping[str, pa.DataType], delimiter: str
) -> tuple[pa.Table, list[Problem]]:
    heading = _heading(path, delimiter)
    if lacking := sorted(required - set(heading)):
        raise DataError(
            f"{path} has no column {lacking[0]!r}; its columns are {', '.join(heading) or 'none'}"
        )
    there = {name: kind for name, kind in kinds.items() if name in heading}
    try:
        table, problems = _parse(path, there, delimiter)
    except pa.ArrowInvalid:  # some value is no number: one by one
        table, problems = _parse(path, dict.fromkeys(there, TEXT), delimiter)
    columns = {
        name: _fitting(table[name], kind)
        if name in there
        else pa.chunked_array([pa.nulls(table.num_rows, kind)])
        for name, kind in kinds.items()
    }
    return pa.table(columns), problems


def _heading(path: Path, delimiter: str) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, delimiter=delimiter), [])
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged or no CSV ({error})") from error


def _parse(
    path: Path, kinds: Mapping[str, pa.DataType], delimiter: str
) -> tuple[pa.Table, list[Problem]]:
    problems = []

    def leave_out(found: pacsv.InvalidRow) -> str:
        fields = f"has {found.actual_columns} fields where the heading has {found.expected_columns}"
        problems.append(Problem(str(path), found.number - 2, fields))
        return "skip"

    texts_only = all(kind == TEXT for kind in kinds.values())
    try:
        table = pacsv.read_csv(
            path,
            pacsv.ReadOptions(use_threads=False, block_size=_BLOCK),  # threads number no rows
            pacsv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=leave_out
            ),
            pacsv.ConvertOptions(include_columns=list(kinds), column_types=dict(kinds)),
        )
    except pa.ArrowInvalid as error:
        if texts_only:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{path} is damaged or no CSV ({reason})") from error
        raise
    return table, problems


def _fitting(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column of texts as numbers, null where a text is none."""
    if column.type == kind:
        return column
    text = pc.utf8_trim_whitespace(column)
    fits = pc.match_substring_regex(text, _NUMBER if kind == NUMBER else _WHOLE)
    return pc.if_else(fits, text, pa.scalar(None, TEXT)).cast(NUMBER).cast(kind)
