"""An index of LanceDB: a table of embeddings on disk, in lists around centres."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from geocsp.errors import MissingExtraError
from geocsp.geolocate.beside import index_folder
from geocsp.geolocate.store import PlaceStore

_TABLE = "places"
_SHARE = 32
"""One of so many lists is compared."""
_FEWEST = 16
_SMALL = 2**13
"""Fewer places are compared one by one, for which a table needs no index."""


@dataclass(frozen=True, eq=False)
class LanceIndex:
    """Lists of similar embeddings (IVF), one byte a number, in a table of LanceDB.

    Attributes:
        table: LanceDB's own.
        probes: lists that a search reads.
    """

    table: Any
    probes: int

    @classmethod
    def of(cls, store: PlaceStore) -> LanceIndex:
        """The index beside some embeddings, built if it is not there.

        Raises:
            MissingExtraError: lancedb is not installed.
            DataError: the cache folder cannot be written to.
        """
        lancedb = _lancedb()
        name = f"lancedb-{lancedb.__version__}"
        folder = index_folder(store, name, lambda to: _build(store, to))
        table = lancedb.connect(folder).open_table(_TABLE)
        return cls(table, max(_FEWEST, _lists(store) // _SHARE))

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """Rows of the gallery, ``(N, count)`` int64, -1 for none."""
        rows = torch.full((len(queries), count), -1)
        for number, query in enumerate(queries.numpy()):
            search = self.table.search(query).distance_type("dot").nprobes(self.probes)
            found = search.limit(count).select(["row", "_distance"]).to_arrow()["row"].to_numpy()
            rows[number, : len(found)] = torch.tensor(found)
        return rows


def _lists(store: PlaceStore) -> int:
    return max(1, round(2 * math.sqrt(store.rows)))


def _build(store: PlaceStore, folder: Path) -> None:
    schema = pa.schema([("row", pa.int64()), ("vector", pa.list_(pa.float32(), store.dim))])
    table = _lancedb().connect(folder).create_table(_TABLE, _batches(store, schema), schema=schema)
    if store.rows >= _SMALL:
        from lancedb.index import IvfSq

        config = IvfSq(distance_type="dot", num_partitions=_lists(store))
        table.create_index("vector", config=config)


def _batches(store: PlaceStore, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    start = 0
    for part in store.parts:
        rows = pa.array(range(start, start + len(part)), pa.int64())
        numbers = pa.array(part.numpy().reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(numbers, store.dim)
        yield pa.RecordBatch.from_arrays([rows, vectors], schema=schema)
        start += len(part)


def _lancedb() -> Any:
    try:
        import lancedb
    except ImportError as error:
        raise MissingExtraError("lancedb", "search") from error
    return lancedb
