"""Places from small files: a table with lon and lat columns, or an array."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from geocsp.coords import check_lonlat
from geocsp.data.columns.coordinates import Geometry, PlaceColumns, place_columns
from geocsp.data.options import Columns
from geocsp.data.readers.delimited import Delimited, Ragged
from geocsp.data.readers.parquet import geo_column, open_parquet
from geocsp.data.table import Floats
from geocsp.errors import DataError

_PARQUET = (".parquet", ".geoparquet", ".pq", ".parq")


def read_places(path: Path) -> Tensor:
    """Read ``(N, 2)`` float64 degrees, lon first, from a table or a ``.npy`` file.

    A table is Parquet, GeoParquet, or text such as CSV whose first line names the columns, which
    are found as :func:`geocsp.read` finds them.

    Raises:
        DataError: the file cannot be read, lacks a column, or a row is no place.
        MissingExtraError: geometries without the extra ``geo``.
    """
    try:
        rows = _array(path) if path.suffix == ".npy" else _table(path)
        return check_lonlat(torch.from_numpy(rows), f"{path}:")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot read places: {' '.join(str(error).split())}") from error


def _array(path: Path) -> Floats:
    array: Floats = np.load(path, allow_pickle=False).astype(np.float64)
    return array


def _table(path: Path) -> Floats:
    parts, start = [np.empty((0, 2))], 0
    blocks = _of_parquet(path) if path.suffix.lower() in _PARQUET else _of_text(path)
    for block, places in blocks:
        found = places.read({name: block.column(name) for name in places.names})
        for row in sorted(found.unreadable):
            cells = [block.column(name)[row].as_py() for name in places.names]
            raise DataError(f"{path}: row {start + row} has {cells}, not lon and lat")
        parts.append(found.lonlat)
        start += len(block)
    return np.concatenate(parts)


def _of_text(path: Path) -> Iterator[tuple[pa.RecordBatch, PlaceColumns]]:
    file = Delimited.open(str(path))
    places = place_columns(
        file.names, Columns().resolve(file.names, file.source), None, file.source
    )
    ragged: list[Ragged] = []
    for block in file.blocks(places.names, ragged):
        _refuse(ragged, file, places)
        yield block, places
    _refuse(ragged, file, places)


def _refuse(ragged: list[Ragged], file: Delimited, places: PlaceColumns) -> None:
    for row in ragged:
        cells = next(csv.reader([row.text], delimiter=file.delimiter), [])
        padded = dict(zip_longest(file.names, cells[: len(file.names)]))
        found = [padded[name] for name in places.names]
        raise DataError(
            f"{file.source}: row {row.row} has {found}, not lon and lat: its cells are "
            f"{row.cells}, those of the heading {len(file.names)}"
        )


def _of_parquet(path: Path) -> Iterator[tuple[pa.RecordBatch, PlaceColumns]]:
    with open_parquet(str(path)) as parquet:
        names, geometry = parquet.schema.names, geo_column(parquet.schema)
        places: PlaceColumns
        if geometry is not None:
            places = Geometry(geometry.name, geometry.crs)
        else:
            places = place_columns(names, Columns().resolve(names, str(path)), None, str(path))
        for block in parquet.blocks(places.names):
            yield block, places
