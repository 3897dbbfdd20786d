"""Parquet files: which there are, what is in them, and their rows block by block."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from geocsp.data.images import is_url
from geocsp.errors import DataError, MissingExtraError

_ENDINGS = (".parquet", ".geoparquet", ".pq", ".parq")


def parquet_files(source: str) -> list[str]:
    """The file, or the Parquet files in a folder and below, sorted.

    Files and folders whose names start with "." or "_" are not data.

    Raises:
        DataError: there is none.
    """
    try:
        system, path = fsspec.url_to_fs(source)
        if not system.exists(path):
            raise DataError(f"{source} does not exist")
        if not system.isdir(path):
            return [source]
        found = sorted(name for name in system.find(path) if _is_data(name, path))
    except (OSError, ImportError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{source} cannot be read: {error}") from error
    if not found:
        raise DataError(f"{source} holds no Parquet file")
    return [system.unstrip_protocol(name) if is_url(source) else name for name in found]


def _is_data(name: str, folder: str) -> bool:
    parts = posixpath.relpath(name, folder).split("/")
    return name.lower().endswith(_ENDINGS) and not any(part[0] in "._" for part in parts)


@dataclass(frozen=True)
class GeoColumn:
    """A column of geometries.

    Attributes:
        name: the column.
        crs: text of its coordinate reference system; None: degrees of WGS84.
    """

    name: str
    crs: str | None


@dataclass(frozen=True)
class Parquet:
    """An open Parquet file.

    Attributes:
        file: path or URL.
        content: the file as pyarrow sees it.
        folders: columns that the folders above are named for, as in ``split=train/``, and their
            value in this file.
    """

    file: str
    content: pq.ParquetFile
    folders: dict[str, str | None]

    @property
    def schema(self) -> pa.Schema:
        """All columns."""
        schema = self.content.schema_arrow
        for name in self.folders:
            schema = schema.append(pa.field(name, pa.string()))
        return schema

    def blocks(self, columns: Sequence[str], rows: int = 1 << 17) -> Iterator[pa.RecordBatch]:
        """Blocks of rows of some columns; other columns are not read.

        Raises:
            DataError: the file lacks one of the columns, or has two of that name.
        """
        names = self.schema.names
        for name in columns:
            if names.count(name) != 1:
                found = f"{names.count(name)} columns" if name in names else "no column"
                raise DataError(f"{self.file} has {found} {name!r}")
        within = [name for name in columns if name not in self.folders]
        for block in self.content.iter_batches(rows, columns=within):
            for name in columns:
                if name in self.folders:
                    same = pa.repeat(pa.scalar(self.folders[name], pa.string()), len(block))
                    block = block.append_column(name, same)
            yield block


@contextmanager
def open_parquet(file: str, source: str | None = None) -> Iterator[Parquet]:
    """Open a Parquet file.

    Args:
        file: path or URL.
        source: the folder that it was found in; names of folders in it may tell columns.

    Raises:
        DataError: it is no Parquet file, or damaged, also where that shows later.
    """
    try:
        with fsspec.open(file, "rb") as content, pq.ParquetFile(content) as parquet:
            below = _below(file, source) if source else ""
            yield Parquet(file, parquet, _folders(below, parquet.schema_arrow.names))
    except FileNotFoundError as error:
        raise DataError(f"{file} does not exist") from error
    except (OSError, pa.ArrowException, ImportError, ValueError) as error:
        if isinstance(error, (DataError, MissingExtraError)):
            raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{file} is damaged or no Parquet file ({reason})") from error


def _below(file: str, source: str) -> str:
    """Path of a file from the folder that it was found in."""
    root, path = (fsspec.url_to_fs(name)[1] for name in (source, file))
    return "" if root == path else posixpath.relpath(path, root)


def _folders(file: str, names: Sequence[str]) -> dict[str, str | None]:
    """Columns that the names of folders tell, in Hive's way."""
    pairs = [part.partition("=") for part in re.split(r"[/\\]", file)[:-1] if "=" in part]
    return {
        name: None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)
        for name, _, value in pairs
        if name and name not in names
    }


def geo_column(schema: pa.Schema) -> GeoColumn | None:
    """The column of geometries of a GeoParquet file (OGC GeoParquet 1.1), if there is one.

    A column that Parquet itself or GeoArrow marks as geometries counts too. Geometries without a
    stated coordinate reference system are degrees.
    """
    try:
        about = json.loads((schema.metadata or {})[b"geo"])
        name = about["primary_column"]
        stated = about["columns"][name]
        known = "crs" in stated and stated["crs"] is not None
        if name in schema.names:
            return GeoColumn(name, json.dumps(stated["crs"]) if known else None)
    except (KeyError, TypeError, ValueError):
        pass  # no such metadata, or damaged: what the columns themselves say
    for field in schema:
        marks = field.metadata or {}
        kind = getattr(field.type, "extension_name", marks.get(b"ARROW:extension:name", b""))
        if str(kind if isinstance(kind, str) else kind.decode()).startswith("geoarrow."):
            return GeoColumn(field.name, _crs_of(marks))
    return None


def _crs_of(marks: dict[bytes, bytes]) -> str | None:
    try:
        crs = json.loads(marks[b"ARROW:extension:metadata"])["crs"]
    except (KeyError, TypeError, ValueError):
        return None
    return crs if isinstance(crs, str) or crs is None else json.dumps(crs)
