"""Tables in text files: CSV, TSV and their kin, read block by block."""

from __future__ import annotations

import codecs
import csv
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from geocsp.data.readers.utf8 import MARK, Utf8, first_bad_line
from geocsp.errors import DataError

_BLOCK = 8 << 20
_HEAD = 1 << 18
_SHOWN = 1000
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Ragged:
    """A row with more or fewer cells than the heading.

    Attributes:
        row: number of the row, from 0, without the heading and empty lines.
        cells: how many cells it has.
        text: the row, its first thousand characters.
    """

    row: int
    cells: int
    text: str


@dataclass(frozen=True)
class Delimited:
    """A text file whose first line names the columns.

    Attributes:
        source: path or URL.
        delimiter: what is between cells.
        names: the columns.
        quoted: whether cells may stand in quotation marks. In tables with tabs, which mostly do
            without, only if those of the heading do; a mark there may be one of inches, and what
            is up to the next one would become one cell.
    """

    source: str
    delimiter: str
    names: tuple[str, ...]
    quoted: bool = True

    @classmethod
    def open(cls, source: str) -> Delimited:
        """Find out the columns and what is between them: comma, semicolon, tab or bar.

        Raises:
            DataError: the file cannot be read, is not UTF-8, or is binary.
        """
        with _opened(source) as file:
            head = file.read(_HEAD)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{source} is UTF-16; save it as UTF-8")
        text = head.decode("utf-8-sig", "replace")
        line = next((line for line in text.splitlines() if line.strip()), "")
        if "\0" in line:
            raise DataError(f"{source} is a binary file, not a table of text")
        delimiter = _delimiter(line, source)
        names = _heading(text, delimiter, source)
        if any("\ufffd" in name for name in names):
            raise DataError(_not_utf8(source))
        return cls(source, delimiter, names, delimiter != "\t" or '"' in line)

    def blocks(self, columns: Sequence[str], ragged: list[Ragged]) -> Iterator[pa.RecordBatch]:
        """Blocks of rows of some columns, all as text.

        Args:
            columns: names of the columns to read.
            ragged: where rows with another number of cells are put, which are left out.

        Raises:
            DataError: the file cannot be read, or text in these columns is not UTF-8.
        """
        for name in columns:
            if self.names.count(name) > 1:
                raise DataError(f"{self.source} has {self.names.count(name)} columns {name!r}")
        with _opened(self.source) as file:
            text = Utf8(file)
            try:
                for block in self._stream(text, columns, ragged):
                    if text.replaced and any(_is_marked(column) for column in block.columns):
                        raise DataError(_not_utf8(self.source))
                    yield block
            except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
                if "Empty CSV file" not in str(error):  # the heading alone is no error
                    raise DataError(self._why(str(error))) from error

    def _stream(
        self, file: Utf8, columns: Sequence[str], ragged: list[Ragged]
    ) -> Iterator[pa.RecordBatch]:
        def leave_out(row: Any) -> str:
            ragged.append(Ragged(row.number - 2, row.actual_columns, row.text[:_SHOWN]))
            return "skip"

        yield from arrow_csv.open_csv(
            file,
            # With one thread rows are numbered; the parser is not what takes the time.
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.quoted else False,
                newlines_in_values=self.quoted,
                invalid_row_handler=leave_out,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(columns),
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=False,
            ),
        )

    def _why(self, message: str) -> str:
        if "straddling" in message:
            size = f"{_BLOCK >> 20} MB"
            return f'{self.source} has a row of more than {size}; is a quotation mark " not closed?'
        return f"{self.source} cannot be read: {message}"


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    """A file to read, unpacked where its name ends in ``.gz``.

    Raises:
        DataError: it is not there, cannot be read, or is damaged.
    """
    packed = source.partition("::")[0].partition("?")[0].lower().endswith(".gz")
    try:
        with fsspec.open(source, "rb", compression="gzip" if packed else None) as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist") from error
    except (OSError, EOFError, ImportError, ValueError, zlib.error) as error:
        if isinstance(error, (DataError, pa.ArrowException)):
            raise
        raise DataError(f"{source} cannot be read: {' '.join(str(error).split())}") from error


def _delimiter(line: str, source: str) -> str:
    if source.partition("::")[0].lower().endswith((".tsv", ".tsv.gz", ".tab")):
        return "\t"
    outside = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _heading(text: str, delimiter: str, source: str) -> tuple[str, ...]:
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return tuple(next((row for row in rows if row), []))
    except csv.Error as error:
        raise DataError(f"{source}: the heading cannot be read: {error}") from error


def _is_marked(column: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring(column, MARK)).as_py())


def _not_utf8(source: str) -> str:
    """Which line is the first that is not UTF-8."""
    with _opened(source) as file:
        line = first_bad_line(file)
    return f"{source}: line {line} is not UTF-8; save the file as UTF-8"
