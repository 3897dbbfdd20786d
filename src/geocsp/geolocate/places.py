"""The places of a gallery from where they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geocsp.data.places import read_places
from geocsp.data.read import read
from geocsp.errors import DataError
from geocsp.images.features import TABLE_FILE, open_features

_TABLES = (".csv", ".tsv", ".tab", ".txt", ".npy", ".parquet", ".geoparquet", ".pq", ".parq")


def read_gallery(source: str) -> Tensor:
    """Places of a gallery, each once, in the order they come: ``(M, 2)`` float64 degrees.

    Args:
        source: a table or ``.npy`` file with lon and lat in every row, a folder of image features,
            or anything that :func:`geocsp.read` takes, of which rows without a place are left out.

    Raises:
        DataError: there are no places, or they cannot be read.
        MissingExtraError: reading them needs an extra that is not installed.
    """
    path = Path(source).expanduser()
    if path.is_dir() and (path / TABLE_FILE).is_file():
        lonlat = torch.from_numpy(open_features(path).table.lonlat)
    elif path.is_file() and path.name.lower().endswith(_TABLES):
        lonlat = read_places(path)
    else:
        lonlat = torch.from_numpy(read(source).lonlat)
    known = lonlat[~lonlat.isnan().any(dim=1)].double()
    if not len(known):
        raise DataError(f"{source} holds no places")
    return once(known)


def once(lonlat: Tensor) -> Tensor:
    """Every place of ``(M, 2)`` float64 degrees once, where it comes first."""
    pairs = lonlat.contiguous().numpy().view(np.complex128)[:, 0]  # sorts faster than rows
    _, first = np.unique(pairs, return_index=True)
    return lonlat[torch.from_numpy(np.sort(first))]
