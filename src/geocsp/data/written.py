"""Tables that :meth:`geocsp.data.table.GeoTable.write` wrote, exactly as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from geocsp.data.images import Bands, FileImages, Raw
from geocsp.data.table import ABOUT_KEY, Categories, Floats, GeoTable
from geocsp.errors import DataError


class ImagesElsewhere(FileImages):
    """Images within shards or tables, of which a written table keeps the names alone."""

    def load(self, row: int) -> Raw:
        """Nothing can be loaded.

        Raises:
            DataError: always.
        """
        raise DataError("is within another file; read the source itself to open it")


def read_written(path: Path) -> GeoTable:
    """Read a table that was written, with all its rows and the numbers of its classes.

    Unlike :func:`geocsp.read`, nothing is guessed and no row is left out.

    Raises:
        DataError: the file is not there, damaged, or no such table.
    """
    try:
        columns = pq.read_table(path)
        about = json.loads((columns.schema.metadata or {})[ABOUT_KEY])
        kind = FileImages if about["files"] else ImagesElsewhere
        bands = TypeAdapter(Bands).validate_python(about["bands"])
        images = kind(columns["image"].cast(pa.string()), str(path.parent), bands)
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
    except (OSError, KeyError, AttributeError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged or no table of geocsp: {error}") from error


def _pair(columns: pa.Table, first: str, second: str) -> Floats:
    return np.stack([columns[name].to_numpy() for name in (first, second)], axis=1)


def _categories(columns: pa.Table, name: str) -> Categories | None:
    if name not in columns.column_names:
        return None
    column = columns[name].combine_chunks()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Categories(codes, tuple(column.dictionary.to_pylist()))
