"""Scores in Parquet: a file, or a folder of files with the same columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geocsp.data.readers.parquet import Parquet, open_parquet, parquet_files
from geocsp.errors import DataError
from geocsp.scores.blocks import Report, rows_per_block
from geocsp.scores.raw import RawBlock, RawScores, matrix


class ParquetScores(RawScores):
    """Scores in a column for every class.

    Row groups are read one after the other: memory grows with the largest of them, so tables of
    thousands of classes are best written with some thousand rows in each.

    Args:
        source: file, folder or URL.

    Raises:
        DataError: there is no Parquet file, one is damaged, or the first one's columns are
            missing in another.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.files = parquet_files(source)
        self.rows = 0
        for file in self.files:
            with open_parquet(file, source) as parquet:
                names = tuple(parquet.schema.names)
                decimals = [f.name for f in parquet.schema if pa.types.is_floating(f.type)]
                self.rows += parquet.content.metadata.num_rows
            if file == self.files[0]:
                self.names, self.decimals = names, frozenset(decimals)
            elif missing := sorted(set(self.names) - set(names)):
                raise DataError(
                    f"{file} lacks the column {missing[0]!r}, which {self.files[0]} has"
                )

    def blocks(
        self, classes: Sequence[str], beside: Sequence[str], report: Report
    ) -> Iterator[RawBlock]:
        """All rows."""
        before, size = 0, rows_per_block(len(classes))
        wanted = list(dict.fromkeys([*classes, *beside]))
        for file in self.files:
            start = 0
            with open_parquet(file, self.source) as parquet:
                for block in _batches(parquet, wanted, size):
                    columns = [_numbers(block.column(name), name, file) for name in classes]
                    rows = np.arange(start, start + len(block))
                    scores = matrix(columns, len(block))
                    known = {name: _beside(parquet, block, name) for name in beside}
                    yield RawBlock(file, rows, before, scores, known)
                    start += len(block)
            before += start


def _batches(parquet: Parquet, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Blocks of rows, never from several row groups at once, which Arrow would read ahead."""
    within = [name for name in names if name not in parquet.folders]
    for group in range(parquet.content.num_row_groups):
        yield from parquet.content.iter_batches(rows, row_groups=[group], columns=within)


def _beside(parquet: Parquet, block: pa.RecordBatch, name: str) -> pa.Array:
    if name in parquet.folders:
        return pa.repeat(pa.scalar(parquet.folders[name], pa.string()), len(block))
    return block.column(name)


def _numbers(column: pa.Array, name: str, file: str) -> NDArray[np.floating]:
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"{file}: column {name!r} of scores holds {kind}, not numbers")
    if pa.types.is_float16(kind):
        column = pc.cast(column, pa.float32())
    elif not pa.types.is_floating(kind):
        column = pc.cast(column, pa.float64(), safe=False)
    values: NDArray[np.floating] = column.to_numpy(zero_copy_only=False)  # null becomes NaN
    return values
