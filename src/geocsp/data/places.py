"""Places from small files: a table with lon and lat columns, or an array."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geocsp.coords import check_lonlat
from geocsp.errors import DataError

_NAMES = {
    "lon": ("lon", "longitude", "lng", "long", "decimallongitude"),
    "lat": ("lat", "latitude", "decimallatitude"),
}


def read_places(path: Path) -> Tensor:
    """Read ``(N, 2)`` float64 degrees, lon first, from a ``.csv`` or ``.npy`` file.

    A table has a line of column names, among them one of lon, longitude and one of lat, latitude.

    Raises:
        DataError: the file cannot be read, lacks a column, or a row is no place.
    """
    try:
        rows = _array(path) if path.suffix == ".npy" else _table(path)
        return check_lonlat(torch.from_numpy(rows), f"{path}:")
    except (OSError, EOFError, ValueError, csv.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read places: {' '.join(str(error).split())}") from error


def _array(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    array: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    array = np.load(path, allow_pickle=False).astype(np.float64)
    return array


def _table(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = [_column(path, reader.fieldnames or [], axis) for axis in _NAMES]
        rows = []
        for number, row in enumerate(reader):
            cells = [row[column] for column in columns]
            try:
                rows.append([float(cell) for cell in cells])
            except (TypeError, ValueError) as error:
                raise DataError(f"{path}: row {number} has {cells}, not lon and lat") from error
    return np.asarray(rows, dtype=np.float64).reshape(-1, 2)


def _column(path: Path, names: Sequence[str], axis: str) -> str:
    for name in names:
        if name.strip().lower().replace("_", "") in _NAMES[axis]:
            return name
    raise DataError(f"{path} has no column {axis}; its columns are {', '.join(names) or 'none'}")
