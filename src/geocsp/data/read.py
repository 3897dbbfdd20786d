"""One function for every source: what it is decides which reader takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geocsp.data.images import Bands, is_url
from geocsp.data.options import Columns, ReadOptions
from geocsp.data.table import GeoTable
from geocsp.errors import DataError
from geocsp.registry import available, create

_TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet", ".geoparquet", ".pq")
_VECTORS = (".geojson", ".geojsonl", ".json", ".gpkg", ".fgb", ".shp", ".kml")
_SHARDS = (".tar", ".tar.gz", ".tgz")


def read(
    source: Any,
    *,
    columns: Columns | None = None,
    crs: str | None = None,
    folder: str | None = None,
    bands: Bands | None = None,
    keep_unplaced: bool = False,
) -> GeoTable:
    """Read geo-tagged images from wherever they are into one table.

    Rows that cannot be used are left out and listed in ``table.problems``; images are opened when
    they are needed, not here.

    Args:
        source: a folder of photos, GeoTIFF chips, WebDataset shards or Parquet files; a table
            (CSV, TSV, Parquet, GeoParquet, GeoJSON, GeoPackage, shapefile, FlatGeobuf) with a
            column of image paths or URLs, or Parquet with the images in it; a ``.tar`` shard,
            ``shards-{000..127}.tar``, or a URL of any of them that fsspec can open; a published
            data set where its authors' archive was unpacked, as "inat2018:folder" (names:
            ``geocsp.available("layout")``); a Hugging Face ``datasets.Dataset``; a TorchGeo data
            set.
        columns: which column is what, where names do not tell.
        crs: coordinate reference system of a table's lon and lat columns, such as "EPSG:32632".
        folder: what relative image paths are relative to; by default the table's folder.
        bands: bands of rasters to take as channels, and their range.
        keep_unplaced: keep images without a usable place, with NaN coordinates.

    Raises:
        DataError: the source cannot be read, or nothing in it can be used.
        MissingExtraError: reading it needs an extra that is not installed.
    """
    options = ReadOptions(
        columns or Columns(), crs, folder, bands or Bands(), keep_unplaced=keep_unplaced
    )
    table = _read(source, options)
    if len(table) == 0:
        first = f"; the first: {table.problems[0]}" if table.problems else ""
        raise DataError(
            f"{source} holds no image with a place ({len(table.problems)} rows left out{first})"
        )
    return table


def _read(source: Any, options: ReadOptions) -> GeoTable:
    if not isinstance(source, (str, Path)):
        from geocsp.data.datasets import read_dataset

        return read_dataset(source, options)
    text = str(source)
    name, _, place = text.partition(":")
    if place and not place.startswith("//") and name in available("layout"):
        table: GeoTable = create("layout", name, root=Path(place), options=options)
        return table
    kind = text.lower().partition("::")[0]
    if kind.endswith(_SHARDS):
        from geocsp.data.shards import read_shards

        return read_shards(text, options)
    if kind.endswith(_TABLES):
        from geocsp.data.tables import read_table

        return read_table(text, options)
    if kind.endswith(_VECTORS):
        from geocsp.data.vectors import read_vectors

        return read_vectors(text, options)
    if is_url(text):
        raise DataError(f"{text}: give the URL of a table or of shards (.csv, .parquet, .tar, ...)")
    path = Path(text)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not path.is_dir():
        raise DataError(f"{path}: no table, shard or folder; a photo is read with its folder")
    return _read_folder(path, options)


def _read_folder(folder: Path, options: ReadOptions) -> GeoTable:
    """Shards or Parquet files if the folder holds such, else photos and chips."""
    names = sorted(path.name.lower() for path in folder.iterdir() if path.is_file())
    if any(name.endswith(_SHARDS) for name in names):
        from geocsp.data.shards import read_shards

        return read_shards(str(folder), options)
    if any(name.endswith((".parquet", ".pq")) for name in names):
        from geocsp.data.tables import read_table

        return read_table(str(folder), options)
    from geocsp.data.photos import read_photos

    return read_photos(folder, options)
