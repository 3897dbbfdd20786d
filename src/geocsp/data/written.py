"""Tables that :meth:`geocsp.data.table.GeoTable.write` wrote, exactly as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from geocsp.data.images import FileImages
from geocsp.data.table import Categories, Floats, GeoTable
from geocsp.errors import DataError


def read_written(path: Path) -> GeoTable:
    """Read a table that was written, with all its rows and the numbers of its classes.

    Unlike :func:`geocsp.read`, nothing is guessed and no row is left out.

    Raises:
        DataError: the file is not there, damaged, or no such table.
    """
    try:
        columns = pq.read_table(path)
        images = FileImages(columns["image"].cast(pa.string()), folder=str(path.parent))
        names = set(columns.column_names)
        return GeoTable(
            images,
            _pair(columns, "lon", "lat"),
            _pair(columns, "date", "hour") if "date" in names else None,
            label=_categories(columns, "label"),
            split=_categories(columns, "split"),
            group=_categories(columns, "group"),
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing") from error
    except (OSError, KeyError, AttributeError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged or no table of geocsp: {error}") from error


def _pair(columns: pa.Table, first: str, second: str) -> Floats:
    return np.stack([columns[name].to_numpy() for name in (first, second)], axis=1)


def _categories(columns: pa.Table, name: str) -> Categories | None:
    if name not in columns.column_names:
        return None
    column = columns[name].combine_chunks()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Categories(codes, tuple(column.dictionary.to_pylist()))
