"""Tables of predictions, written block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv
from torch import Tensor

from geocsp.errors import DataError
from geocsp.files import replacing
from geocsp.scores.blocks import ScoreBlock
from geocsp.scores.options import PredictOptions

ENDINGS = (".parquet", ".csv")
"""Kinds of files of predictions."""
_OWN = ("id", "lon", "lat", "placed", "label")


class Predictions:
    """Makes rows of a table of predictions.

    Columns: id, lon, lat, placed (whether the row has a place), label where there are labels; the
    likeliest classes by the image alone, image_class_1, image_probability_1 and so on; with the
    place, class_1, probability_1 and so on; and if asked for, the probability of every class with
    the place in a column of its name.

    Args:
        classes: Q names.
        options: what to write.

    Raises:
        DataError: a column for every class is asked for, and a class has the name of another
            column.
    """

    def __init__(self, classes: Sequence[str], options: PredictOptions) -> None:
        self._classes, self._all = tuple(classes), options.every_class
        self._names = pa.array(self._classes, pa.string())
        self._top = min(options.top, len(self._classes))
        ranks = range(1, self._top + 1)
        self._ranked = [f"{p}{what}_{k}" for p in ("image_", "") for k in ranks for what in _TWO]
        taken = {*_OWN, *self._ranked} & set(self._classes)
        if self._all and taken:
            raise DataError(
                f"class {sorted(taken)[0]!r} has the name of another column of the predictions; "
                "leave out the column for every class"
            )

    def table(self, block: ScoreBlock, fused: Tensor) -> pa.Table:
        """Rows of one block.

        Args:
            block: n rows.
            fused: ``(n, Q)`` probabilities with the place.
        """
        columns: dict[str, pa.Array] = {
            "id": block.ids,
            "lon": _known(block.lonlat[:, 0]),
            "lat": _known(block.lonlat[:, 1]),
            "placed": pa.array(block.placed.numpy()),
        }
        if block.labels is not None:
            columns["label"] = self._named(block.labels)
        for prefix, said in (("image_", block.image), ("", fused)):
            probability, number = said.topk(self._top, dim=1)
            for rank in range(self._top):
                columns[f"{prefix}class_{rank + 1}"] = self._named(number[:, rank])
                values = probability[:, rank].float().numpy()
                columns[f"{prefix}probability_{rank + 1}"] = pa.array(values)
        if self._all:
            values = fused.float().T.contiguous().numpy()
            columns |= dict(zip(self._classes, map(pa.array, values), strict=True))
        return pa.table(columns)

    def _named(self, numbers: Tensor) -> pa.Array:
        """Names of classes, null for -1."""
        codes = numbers.numpy().astype(np.int32)
        indices = pa.array(np.maximum(codes, 0), mask=codes < 0)
        return pa.DictionaryArray.from_arrays(indices, self._names)


_TWO = ("class", "probability")


def _known(degrees: Tensor) -> pa.Array:
    values = degrees.numpy()
    return pa.array(values, mask=np.isnan(values))


class Writer(Protocol):
    """Takes tables with the same columns, one after the other."""

    def write_table(self, table: pa.Table) -> None:
        """Add rows."""


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A file of predictions that has its name when it is whole.

    Args:
        path: ends in ``.parquet`` or ``.csv``.

    Raises:
        DataError: another ending, or the folder cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise DataError(f"{path}: predictions are written to files that end in .parquet or .csv")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            writer = _Growing(temporary, path.suffix == ".csv")
            try:
                yield writer
            finally:
                writer.close()
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


class _Growing:
    """Opens the file at the first rows, which tell its columns."""

    def __init__(self, path: Path, text: bool) -> None:
        self._path, self._text = path, text
        self._writer: pq.ParquetWriter | arrow_csv.CSVWriter | None = None

    def write_table(self, table: pa.Table) -> None:
        """Add rows."""
        if self._text:
            table = pa.table({name: _spelt(table.column(name)) for name in table.column_names})
        if self._writer is None:
            make = arrow_csv.CSVWriter if self._text else pq.ParquetWriter
            self._writer = make(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()


def _spelt(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column
