"""The columns of an output: those of the source, a geometry where one is needed, embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geocsp.data.options import ReadOptions
from geocsp.data.readers.parquet import GeoColumn
from geocsp.data.table import Floats
from geocsp.embed.formats import Format
from geocsp.embed.settings import EmbedSettings
from geocsp.embed.sources import Points
from geocsp.embed.vectors import column_names
from geocsp.errors import DataError, MissingExtraError

_MADE = "geometry"
_TYPES = {"float16": pa.float16(), "float32": pa.float32()}


@dataclass(frozen=True)
class Layout:
    """What the blocks of an output look like.

    Attributes:
        schema: all columns.
        kept: how many of them are columns of the source.
        geometry: the column of WKB, if there is one.
        made: whether that is made from the places.
        as_list: whether the embedding is one column.
    """

    schema: pa.Schema
    kept: int
    geometry: GeoColumn | None
    made: bool
    as_list: bool

    @classmethod
    def of(
        cls,
        points: Points,
        kind: Format,
        dim: int,
        settings: EmbedSettings,
        options: ReadOptions,
        source: str,
    ) -> Layout:
        """The layout of an output.

        Raises:
            DataError: the source has columns of such names already.
        """
        kept = pa.schema(list(points.schema), points.schema.metadata)
        geometry, made = _geometry(points, kind, options), False
        if geometry is None and kind.needs_geometry:
            if points.geometry is not None:  # not as WKB
                number = kept.get_field_index(points.geometry.name)
                kept = kept.remove(number)
            geometry, made = GeoColumn(_MADE, None), True
        number = _TYPES[settings.dtype]
        added = [pa.field(_MADE, pa.binary())] if made else []
        if settings.as_list:
            added.append(pa.field(settings.name, pa.list_(number, dim)))
        else:
            added += [pa.field(name, number) for name in column_names(dim, settings.name)]
        _check_free(added, kept.names, source)
        schema = pa.schema([*kept, *added], kept.metadata)
        return cls(schema, len(kept), geometry, made, settings.as_list)

    @property
    def undescribed(self) -> GeoColumn | None:
        """The geometries, if the metadata of the source does not say what they are."""
        return None if b"geo" in (self.schema.metadata or {}) else self.geometry

    def block(self, rows: pa.RecordBatch, lonlat: Floats, vectors: NDArray[Any]) -> pa.RecordBatch:
        """A block of the output.

        Args:
            rows: N rows of the source.
            lonlat: ``(N, 2)`` degrees, NaN where there is no place, where the embedding is null.
            vectors: ``(N, D)`` embeddings.
        """
        columns = [rows.column(name) for name in self.schema.names[: self.kept]]
        missing = np.asarray(np.isnan(lonlat).any(axis=1))
        if self.made:
            columns.append(_wkb(lonlat, missing))
        mask = missing if missing.any() else None
        if self.as_list:
            flat = pa.array(vectors.reshape(-1))
            nulls = None if mask is None else pa.array(mask)
            columns.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=nulls))
        else:
            columns += [pa.array(axis, mask=mask) for axis in np.ascontiguousarray(vectors.T)]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _geometry(points: Points, kind: Format, options: ReadOptions) -> GeoColumn | None:
    """The column of geometries of the source, if it is one of WKB."""
    own = points.geometry
    if own is None:
        return None
    stored = points.schema.field(own.name).type
    if isinstance(stored, pa.BaseExtensionType):
        stored = stored.storage_type
    if not (pa.types.is_binary(stored) or pa.types.is_large_binary(stored)):
        return (
            own if kind is Format.GEOPARQUET and b"geo" in (points.schema.metadata or {}) else None
        )
    return GeoColumn(own.name, options.crs or own.crs)


def _check_free(added: list[pa.Field], names: list[str], source: str) -> None:
    for field in added:
        if field.name not in names:
            continue
        advice = "rename it, or write .parquet" if field.name == _MADE else "give another --name"
        raise DataError(f"{source} has a column {field.name!r} already; {advice}")


def _wkb(lonlat: Floats, missing: NDArray[np.bool_]) -> pa.Array:
    try:
        import shapely
    except ImportError as error:
        raise MissingExtraError("shapely", "geo") from error
    shapes = shapely.points(np.where(missing[:, None], 0.0, lonlat))
    shapes[missing] = None
    return pa.array(shapely.to_wkb(shapes).tolist(), pa.binary())
