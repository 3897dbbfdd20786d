"""Files with places in them, opened to be read block by block with all their columns."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from geocsp.data.images import is_url
from geocsp.data.options import ReadOptions
from geocsp.embed.sources.gis import ENDINGS, gis_points
from geocsp.embed.sources.parquet import parquet_points
from geocsp.embed.sources.points import Block, Points
from geocsp.embed.sources.text import text_points
from geocsp.errors import DataError

__all__ = ["Block", "Points", "open_points"]

_TEXTS = (".csv", ".tsv", ".tab", ".txt")
_PARQUET = (".parquet", ".geoparquet", ".pq", ".parq")


def open_points(
    source: str, options: ReadOptions, *, typed: bool = True
) -> AbstractContextManager[Points]:
    """Open a table of places; the ending of its name says what it is.

    Args:
        source: ``.csv``, ``.tsv``, ``.tab`` or ``.txt``, also as ``.gz``; Parquet or GeoParquet, a
            file or a folder of parts; or a vector file. A path or a URL that fsspec can open.
        options: which columns are the places, their crs, and the layer.
        typed: give columns of numbers in files of text as numbers; else as the text that they are.

    Raises:
        DataError: it is none of these, cannot be read, or has no places.
        MissingExtraError: reading it needs an extra that is not installed.
    """
    kind = source.partition("::")[0].partition("?")[0].lower()
    if kind.removesuffix(".gz").endswith(_TEXTS):
        return text_points(source, options, typed=typed)
    if kind.endswith(ENDINGS):
        return gis_points(source, options)
    if kind.endswith(_PARQUET) or is_url(source) or Path(source).is_dir():
        return parquet_points(source, options)
    if not Path(source).exists():
        raise DataError(f"{source} does not exist")
    raise DataError(
        f"{source} is of no kind that can be read: a table (.csv, .tsv, .parquet) or a vector file "
        f"({', '.join(ENDINGS)})"
    )
