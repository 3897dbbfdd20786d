"""One function for every source: what it is decides which reader takes it."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

import fsspec

from geocsp.data.images import Bands, is_url
from geocsp.data.options import Columns, ReadOptions, listing
from geocsp.data.quarantine import Problem
from geocsp.data.table import GeoTable
from geocsp.errors import DataError
from geocsp.registry import available, create

_TEXTS = (".csv", ".tsv", ".tab", ".txt")
_PARQUET = (".parquet", ".geoparquet", ".pq", ".parq")
_TABLES = (*_TEXTS, *(f"{ending}.gz" for ending in _TEXTS), *_PARQUET)
_VECTORS = (".geojson", ".geojsonl", ".geojsons", ".json", ".gpkg", ".fgb", ".shp", ".kml")
_SHARDS = (".tar", ".tar.gz", ".tgz")
_PHOTOS = (".jpg", ".jpeg", ".png", ".heic", ".heif", ".webp", ".tif", ".tiff", ".jp2", ".avif")
_SHEETS = (".xlsx", ".xls", ".ods")
_ARCHIVES = (".zip", ".7z", ".rar", ".tar.bz2", ".tar.xz")
_LAYOUT = re.compile(r"(?P<name>[\w.-]{2,}):(?P<place>(?!//).*)", re.DOTALL)


class NothingUsableError(DataError):
    """No row of a source can be used.

    Attributes:
        problems: what is wrong with each.
    """

    def __init__(self, message: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(message)
        self.problems = problems


def read(
    source: Any,
    *,
    columns: Columns | None = None,
    crs: str | None = None,
    folder: str | None = None,
    bands: Bands | None = None,
    keep_unplaced: bool = False,
    layer: str | None = None,
) -> GeoTable:
    """Read geo-tagged images from wherever they are into one table.

    Rows that cannot be used are left out and listed in ``table.problems``; images are opened when
    they are needed, not here.

    Args:
        source: a folder of photos, GeoTIFF chips, WebDataset shards or Parquet files; a table
            (CSV, TSV, Parquet, GeoParquet, GeoJSON, GeoPackage, shapefile, FlatGeobuf, KML) with a
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
        layer: layer of a vector file that has several.

    Raises:
        DataError: the source cannot be read.
        NothingUsableError: it can, but no row of it can be used.
        MissingExtraError: reading it needs an extra that is not installed.
    """
    options = ReadOptions(
        columns or Columns(), crs, folder, bands or Bands(), keep_unplaced, layer=layer
    )
    if isinstance(source, (str, bytes, os.PathLike)):
        text = os.fsdecode(source)
        text = str(Path(text).expanduser()) if text.startswith("~") else text
        table = _read(text, options)
    else:
        from geocsp.data.readers.datasets import read_dataset

        text = f"the {type(source).__name__}"
        table = read_dataset(source, options)
    if len(table) == 0:
        raise NothingUsableError(_why_empty(text, table), table.problems)
    return table


def _read(text: str, options: ReadOptions) -> GeoTable:
    named = _LAYOUT.fullmatch(text)
    if named and named["name"] in available("layout"):
        return _read_layout(named["name"], named["place"], options)
    kind = text.partition("::")[0].lower()
    if is_url(kind):
        kind = kind.partition("?")[0]
    if kind.endswith(_SHARDS):
        from geocsp.data.readers.shards import read_shards

        return read_shards(text, options)
    if kind.endswith(_TABLES):
        from geocsp.data.readers.tables import read_table

        return read_table(text, options)
    if kind.endswith(_VECTORS):
        from geocsp.data.readers.vectors import read_vectors

        return read_vectors(text, options)
    return _read_folder(text, options)


def _read_layout(name: str, place: str, options: ReadOptions) -> GeoTable:
    folder = Path(place).expanduser()
    if not place or not folder.exists():
        raise DataError(f"{name}: {place or 'no folder was named; it'} does not exist")
    table: GeoTable = create("layout", name, root=folder, options=options)
    return table


def _read_folder(text: str, options: ReadOptions) -> GeoTable:
    """Shards or Parquet files if the folder holds such, else photos and chips."""
    names = _names_in_url(text) if is_url(text) else _names_in(text)
    if any(name.endswith(_SHARDS) for name in names):
        from geocsp.data.readers.shards import read_shards

        return read_shards(text, options)
    if any(name.endswith(_PARQUET) for name in names) or _is_partitioned(text, names):
        from geocsp.data.readers.tables import read_table

        return read_table(text, options)
    if is_url(text):
        raise DataError(
            f"{text} holds neither shards nor Parquet files; copy photos to this computer"
        )
    from geocsp.data.readers.photos import read_photos

    return read_photos(Path(text), options)


def _is_partitioned(text: str, names: list[str]) -> bool:
    """Whether Parquet files are in folders with names such as ``split=train``."""
    if is_url(text):
        return any(re.match(r"\w+=", name) for name in names)
    within = Path(text).glob("*=*/**/*")
    return any(found.name.lower().endswith(_PARQUET) for found in within)


def _names_in(text: str) -> list[str]:
    """Names of the files of a folder, in small letters.

    Raises:
        DataError: it is not a folder with anything in it; the message says what to do.
    """
    path = Path(text)
    try:
        names = [found.name.lower() for found in path.iterdir()]
    except NotADirectoryError:
        raise DataError(_why_not(path)) from None
    except FileNotFoundError:
        raise DataError(_why_missing(text)) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{text!r} cannot be read: {error}") from error
    if not text or not names:
        raise DataError(f"{path} is an empty folder" if text else "no source was named")
    return names


def _names_in_url(url: str) -> list[str]:
    try:
        system, path = fsspec.url_to_fs(url)
        names = [str(name).rstrip("/") for name in system.ls(path, detail=False)]
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{url} cannot be listed ({reason}); give the URL of a table or of shards (.csv, "
            ".parquet, .tar, ...)"
        ) from error
    return [name.rpartition("/")[2].lower() for name in names if name != path]


def _why_not(path: Path) -> str:
    name = path.name.lower()
    if name.endswith(_PHOTOS):
        return f"{path} is one photo; read its folder: {path.parent}"
    if name.endswith(_SHEETS):
        return f"{path} is a spreadsheet; save it as CSV"
    if name.endswith(_ARCHIVES):
        return f"{path} is an archive; unpack it first"
    return (
        f"{path} is of no kind that can be read: a folder of photos, a table (.csv, .tsv, "
        ".parquet), a vector file (.geojson, .gpkg, .shp, .fgb, .kml) or shards (.tar)"
    )


def _why_missing(text: str) -> str:
    named = _LAYOUT.fullmatch(text)
    if named is None:
        return f"{text} does not exist"
    known = available("layout")
    close = difflib.get_close_matches(named["name"].lower(), known, n=3)
    advice = f"did you mean {' or '.join(close)}?" if close else f"data sets: {listing(known)}"
    return f"{text} does not exist, and {named['name']!r} is no data set that is known; {advice}"


def _why_empty(text: str, table: GeoTable) -> str:
    count = len(table.problems)
    reasons = [f"{text} holds no image with a place"]
    if count:
        left_out = "1 row was" if count == 1 else f"{count} rows were"
        reasons.append(f"{left_out} left out, the first: {table.problems[0]}")
    reasons += [note for note in table.notes if "swapped" in note]
    if Path(text).is_dir():
        tables = sorted(f.name for f in Path(text).iterdir() if f.name.lower().endswith(_TABLES))
        reasons += (
            [f"it holds a table, which can be read: {Path(text) / tables[0]}"] if tables else []
        )
    return "; ".join(reasons)
