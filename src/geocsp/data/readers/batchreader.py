"""Values of one column of Parquet files by row, a few neighbouring ones kept in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from geocsp.data.images import Integers
from geocsp.errors import DataError

_BATCH_BYTES = 16 << 20
_KEPT_BYTES = 128 << 20
_MOST_ROWS = 1024
_BUFFER = 1 << 20


class BatchReader:
    """Reads images of one column batch by batch; shared by threads, empty again in a copy."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._batches: deque[_Batch] = deque()
        self._cursor: _Cursor | None = None

    def __reduce__(self) -> tuple[type[BatchReader], tuple[()]]:
        return BatchReader, ()

    def read(self, file: str, column: str, row: int) -> Any:
        """Value of a row.

        Raises:
            OSError: the file cannot be reached.
            DataError: it is damaged.
        """
        with self._lock:
            try:
                return self._value(file, column, row)
            except (OSError, pa.ArrowException, ValueError, ImportError) as error:
                self._cursor = None
                if isinstance(error, DataError) or getattr(error, "errno", None) is not None:
                    raise
                reason = " ".join(str(error).split())[:200]
                raise DataError(f"is in a damaged part of {file} ({reason})") from error

    def _value(self, file: str, column: str, row: int) -> Any:
        for batch in self._batches:
            if batch.holds(file, row):
                return batch.values[row - batch.start].as_py()
        if self._cursor is None or self._cursor.file.name != file:
            self._cursor = _File.open(file).cursor(column, row)
        elif not self._cursor.comes_to(row):
            self._cursor = self._cursor.file.cursor(column, row)
        for batch in self._cursor:
            self._keep(batch)
            if batch.holds(file, row):
                return batch.values[row - batch.start].as_py()
        raise DataError(f"{file} has fewer rows than when it was read; read it again")

    def _keep(self, batch: _Batch) -> None:
        self._batches.append(batch)
        while len(self._batches) > 1 and sum(b.values.nbytes for b in self._batches) > _KEPT_BYTES:
            self._batches.popleft()


@dataclass(frozen=True)
class _Batch:
    file: str
    start: int
    values: pa.Array

    def holds(self, file: str, row: int) -> bool:
        return self.file == file and 0 <= row - self.start < len(self.values)


@dataclass(frozen=True)
class _File:
    """An open file, and the first row of each of its row groups, and the end."""

    name: str
    parquet: pq.ParquetFile
    starts: Integers

    @classmethod
    def open(cls, name: str) -> _File:
        system, path = fsspec.url_to_fs(name)
        content = system.open(path, "rb")
        parquet = pq.ParquetFile(content, pre_buffer=False, buffer_size=_BUFFER)
        about = parquet.metadata
        counts = (about.row_group(number).num_rows for number in range(about.num_row_groups))
        return cls(name, parquet, np.cumsum([0, *counts]))

    def cursor(self, column: str, row: int) -> _Cursor:
        """At the start of the row group that holds a row."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        if number == len(self.starts) - 1:
            raise DataError(f"{self.name} has fewer rows than when it was read; read it again")
        group = self.parquet.metadata.row_group(number)
        sizes = [
            chunk.total_uncompressed_size
            for chunk in map(group.column, range(group.num_columns))
            if f"{chunk.path_in_schema}.".startswith(f"{column}.")
        ]
        rows = min(max(_BATCH_BYTES * group.num_rows // max(1, sum(sizes)), 1), _MOST_ROWS)
        values = self.parquet.iter_batches(rows, [number], columns=[column], use_threads=False)
        return _Cursor(self, int(self.starts[number]), int(self.starts[number + 1]), values)


@dataclass
class _Cursor:
    """Goes forward through one row group."""

    file: _File
    next_row: int
    stop: int
    values: Iterator[pa.RecordBatch]

    def comes_to(self, row: int) -> bool:
        return self.next_row <= row < self.stop

    def __iter__(self) -> Iterator[_Batch]:
        for found in self.values:
            batch = _Batch(self.file.name, self.next_row, found.column(0))
            self.next_row += len(found)
            yield batch
