"""An index of FAISS: embeddings in lists around centres, one byte a number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geocsp.errors import MissingExtraError
from geocsp.geolocate.beside import index_folder
from geocsp.geolocate.store import PlaceStore

_FILE = "places.faiss"
_FOR_EACH_LIST = 40
"""Embeddings that each centre is fitted on."""
_SHARE = 32
"""One of so many lists is compared."""
_FEWEST = 16


@dataclass(frozen=True, eq=False)
class FaissIndex:
    """Lists of similar embeddings (IVF), of which a search reads those nearest to the query.

    The lists are those of k-means (Johnson et al., IEEE Big Data 2019, arXiv 1702.08734), 2
    sqrt(M) of them.

    Attributes:
        index: FAISS's own.
    """

    index: Any

    @classmethod
    def of(cls, store: PlaceStore) -> FaissIndex:
        """The index beside some embeddings, built if it is not there.

        Raises:
            MissingExtraError: faiss is not installed.
            DataError: the cache folder cannot be written to.
        """
        faiss = _faiss()
        folder = index_folder(store, f"faiss-{faiss.__version__}", lambda to: _build(store, to))
        flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
        index = faiss.read_index(str(folder / _FILE), flags)
        index.nprobe = min(index.nlist, max(_FEWEST, index.nlist // _SHARE))
        return cls(index)

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """Rows of the gallery, ``(N, count)`` int64, -1 for none."""
        _, rows = self.index.search(queries.numpy(), count)
        return torch.from_numpy(rows)


def _build(store: PlaceStore, folder: Path) -> None:
    faiss = _faiss()
    lists = max(1, min(round(2 * math.sqrt(store.rows)), store.rows // _FOR_EACH_LIST))
    centres = faiss.IndexFlatIP(store.dim)
    kind, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(centres, store.dim, lists, kind, metric)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(store.rows, generator=generator)[: _FOR_EACH_LIST * lists]
    index.train(store.take(drawn.sort().values).numpy())
    for part in store.parts:
        index.add(part.numpy())
    faiss.write_index(index, str(folder / _FILE))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss-cpu", "search") from error
    return faiss
