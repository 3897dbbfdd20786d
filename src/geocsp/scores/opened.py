"""Which reader takes a file of scores, and tables of places for scores that come without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from geocsp.data.assemble import Sieve
from geocsp.data.images import Integers
from geocsp.data.quarantine import Problem
from geocsp.errors import DataError
from geocsp.scores.options import ScoreOptions
from geocsp.scores.raw import RawScores
from geocsp.scores.raw_arrays import ArrayScores
from geocsp.scores.raw_parquet import ParquetScores
from geocsp.scores.raw_text import TextScores
from geocsp.scores.roles import Roles

_TEXTS = (".csv", ".tsv", ".tab", ".txt")
_PARQUET = (".parquet", ".geoparquet", ".pq", ".parq")
_ARRAYS = (".npy", ".npz")


def open_scores(source: str, classes: Path | None) -> RawScores:
    """Open a file of scores.

    Args:
        source: Parquet (file, folder or URL), CSV or TSV (also as .gz), NPY or NPZ.
        classes: file with names for the columns of an array.

    Raises:
        DataError: it cannot be read, or is of no such kind.
    """
    plain = source.lower().partition("::")[0].partition("?")[0].removesuffix(".gz")
    if plain.endswith(_ARRAYS):
        return ArrayScores(source, classes)
    if classes is not None:
        raise DataError(f"{source} names its columns itself; a file of names is for NPY and NPZ")
    if plain.endswith(_TEXTS):
        return TextScores(source)
    if plain.endswith(_PARQUET) or Path(source).is_dir():
        return ParquetScores(source)
    if not Path(source).exists():
        raise DataError(f"{source} does not exist")
    raise DataError(f"{source}: scores are read from {', '.join((*_PARQUET, *_TEXTS, *_ARRAYS))}")


class PlaceTable:
    """Some columns of a table, whole in memory, for scores of the same rows without them.

    Args:
        path: Parquet or text.

    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.raw = open_scores(str(path), None)
        self._columns: dict[str, pa.Array] = {}
        self._rows = 0

    def load(self, names: Sequence[str]) -> None:
        """Read columns.

        Raises:
            DataError: a row is broken, so that nobody knows which scores it belongs to.
        """
        broken: list[Problem] = []
        parts = [block.beside for block in self.raw.blocks((), names, broken.extend)]
        if broken:
            raise DataError(f"{broken[0]}; mend it, so that rows and scores stay together")
        self._columns = {
            name: pa.concat_arrays([_plain(part[name]) for part in parts]) for name in names
        }
        self._rows = sum(len(part[names[0]]) for part in parts)

    def check(self, rows: int, scores: str) -> None:
        """Raise a DataError unless it has as many rows as the scores."""
        if self._rows != rows:
            raise DataError(
                f"{self.raw.source} has {self._rows:,} rows, {scores} has {rows:,}; they have to "
                "be the same rows in the same order"
            )

    def take(self, index: Integers, scores: str) -> Mapping[str, pa.Array]:
        """Some rows.

        Raises:
            DataError: there are not so many.
        """
        if len(index) and int(index.max()) >= self._rows:
            self.check(int(index.max()) + 1, scores)
        chosen = pa.array(np.asarray(index))
        return {name: column.take(chosen) for name, column in self._columns.items()}


def read_places(path: Path, options: ScoreOptions) -> Tensor:
    """The places in a table, ``(M, 2)`` float64 degrees; rows without a usable one are left out.

    Args:
        path: Parquet or text with columns of coordinates.
        options: which these are.

    Raises:
        DataError: it cannot be read, or holds no place.
    """
    table = open_scores(str(path), None)
    roles = Roles.of(table, (), options)
    sieve, found = Sieve(keep_unplaced=False), [np.empty((0, 2))]
    for block in table.blocks((), roles.places.names, lambda _: None):
        read = roles.places.read(block.beside)
        lonlat, kept = sieve.sift(read.lonlat, None, lambda row: (str(path), row), read.unreadable)
        found.append(lonlat[kept])
    places = np.concatenate(found)
    if not len(places):
        raise DataError(f"{path} holds no place")
    return torch.from_numpy(places)


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
