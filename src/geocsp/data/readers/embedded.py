"""Parquet files with the images in them, as Hugging Face's datasets and others write them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from geocsp.data.columns.fields import split_named
from geocsp.data.images import (
    Bands,
    Images,
    Integers,
    Raw,
    RowTexts,
    full_path,
    load_file,
    stamp_of,
)
from geocsp.data.options import Columns, ReadOptions, listing, simple
from geocsp.data.quarantine import Problem
from geocsp.data.readers.batchreader import BatchReader
from geocsp.data.readers.columnar import Beside, Layout
from geocsp.data.readers.parquet import Parquet, geo_column, open_parquet
from geocsp.data.readers.tables import broken_file, folder_of
from geocsp.data.table import GeoTable
from geocsp.errors import DataError

_BLOCK_ROWS = 1 << 17
_GEOMETRIES = ("geometry", "geom", "wkb")


@dataclass(frozen=True, eq=False)
class ParquetImages(Images):
    """Images in a column of Parquet files, of which a few neighbouring rows are kept in memory.

    Rows are quick to load in about the order of the files, also from several threads; going back
    in a row group reads it from its start again.

    Attributes:
        names: ``(N,)`` file and path of the image, or file and row.
        files: ``(F,)`` paths or URLs.
        column: column of the images: bytes, or a struct of bytes and path.
        file: ``(N,)`` int32 file of each image.
        row: ``(N,)`` int64 row in that file.
        folder: what paths of images without bytes are relative to; None: the folder of the file.
        bands: how rasters become channels.
    """

    names: pa.ChunkedArray
    files: tuple[str, ...]
    column: str
    file: NDArray[np.int32]
    row: Integers
    folder: str | None
    bands: Bands
    _reader: BatchReader = field(default_factory=BatchReader, repr=False)

    def load(self, row: int) -> Raw:
        """The bytes of an image, or where these are null, what its path leads to."""
        file = self.files[self.file[row]]
        value = self._reader.read(file, self.column, int(self.row[row]))
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is not None:
            return bytes(content)
        folder = folder_of(file) if self.folder is None else self.folder
        path = value.get("path") if isinstance(value, dict) else None
        if path:
            return load_file(full_path(folder, path))
        raise DataError(f"row {self.row[row]} of {file} holds no image")

    def stamps(self) -> Sequence[str]:
        """Size and time of change of the file, and the row in it."""
        used = np.unique(self.file).tolist()
        stamps = {number: stamp_of(self.files[number]) for number in used}
        return RowTexts(len(self), lambda row: f"{stamps[int(self.file[row])]} {self.row[row]}")

    def take(self, rows: Integers) -> ParquetImages:
        """The images of some rows."""
        names = self.names.take(pa.array(rows))
        return replace(self, names=names, file=self.file[rows], row=self.row[rows])


def read_embedded(
    files: Sequence[str], options: ReadOptions, source: str | None = None
) -> GeoTable:
    """Read Parquet files with a column of images: bytes, or a struct of bytes and path.

    The other columns are read now, block by block and as far as they are needed, the images when
    they are needed. Columns in structs count, as "location.lat". Class names that Hugging Face's
    datasets left in the file are used; files named as theirs, ``train-00000-of-00004.parquet``,
    tell the split where no column does. Without columns of places, EXIF data and georeferences in
    the images count.

    Args:
        files: paths or URLs that fsspec can open.
        options: how to read; ``folder`` is what paths of images without bytes are relative to.
        source: the folder they were found in; names of folders in it may tell columns.

    Raises:
        DataError: no file can be read, or none has a column of images.
        MissingExtraError: geometries or another crs than degrees without the extra ``geo``.
    """
    splits = [split_named(file) for file in files]
    found = _Found(options, [] if None in splits else [split or "" for split in splits])
    failures: list[DataError] = []
    problems: list[Problem] = []
    for number, file in enumerate(files):
        try:
            with open_parquet(file, source) as parquet:
                found.add(number, parquet)
        except DataError as error:
            failures.append(error)
            problems.append(broken_file(file, found.counts.get(number, 0), error))
    if failures and not found.counts:
        raise failures[0]
    return found.table(files, problems)


class _Found:
    """What the files hold, without the images."""

    def __init__(self, options: ReadOptions, splits: Sequence[str]) -> None:
        self._options = options
        self._splits = splits
        self.beside: Beside | None = None
        self.counts: dict[int, int] = {}
        self._column = ""
        self._names: list[pa.Array] = []
        self._notes: dict[str, None] = {}

    def add(self, number: int, parquet: Parquet) -> None:
        """Take in a file."""
        schema = parquet.schema
        column = image_column(schema, self._options, parquet.file)
        if self._column not in ("", column):
            raise DataError(f"has its images in {column!r}, not in {self._column!r} as the others")
        layout = Layout.of(schema, column, self._options, parquet.file)
        constant = dict(parquet.folders)
        if self._splits and "split" not in layout.roles:
            layout = replace(layout, roles={**layout.roles, "split": "split"})
            constant["split"] = self._splits[number]
            self._notes["splits are taken from the names of the files"] = None
        self._column = column
        self.beside = self.beside or Beside(self._options, class_names(schema))
        for block in _blocks(parquet.content, column, layout, constant):
            self.beside.add(block, layout)
            self._names.append(_names(parquet.file, self.counts.get(number, 0), block, column))
            self.counts[number] = self.counts.get(number, 0) + len(block)

    def table(self, files: Sequence[str], problems: Sequence[Problem]) -> GeoTable:
        """All rows of all files."""
        counts = [self.counts.get(number, 0) for number in range(len(files))]
        images = ParquetImages(
            pa.chunked_array(self._names, pa.string()),
            tuple(files),
            self._column,
            np.repeat(np.arange(len(files), dtype=np.int32), counts),
            np.concatenate([np.arange(count) for count in counts]),
            self._options.folder,
            self._options.bands,
        )
        beside = self.beside or Beside(self._options)
        return beside.table(
            images,
            lambda row: (files[images.file[row]], int(images.row[row])),
            problems,
            list(self._notes),
        )


def image_column(schema: pa.Schema, options: ReadOptions, where: str) -> str:
    """The column that holds images.

    Raises:
        DataError: there is none, or it is not clear which.
    """
    named = options.columns.image
    holders: list[str] = [column.name for column in schema if _holds_images(column)]
    geometry = geo_column(schema)
    if geometry is not None:
        holders = [name for name in holders if name != geometry.name]
    guess = named or Columns().resolve(schema.names, where).get("image")
    if guess is not None and guess in holders:
        return guess
    if named is None and len(holders) == 1:
        return holders[0]
    what = f"{named!r} holds no images" if named else f"{len(holders)} columns hold bytes"
    raise DataError(
        f"{where}: {what}; its columns are {listing(schema.names)}; name the one with the encoded "
        "images with columns=Columns(image=...)"
    )


def _holds_images(column: pa.Field) -> bool:
    kind = column.type
    if pa.types.is_struct(kind):
        number = kind.get_field_index("bytes")
        return number >= 0 and _is_bytes(kind.field(number).type)
    return _is_bytes(kind) and simple(column.name) not in _GEOMETRIES


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    )


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of numbered classes by column, as Hugging Face's datasets leave them in a schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}  # no such metadata, or damaged


def _blocks(
    parquet: pq.ParquetFile, image: str, layout: Layout, constant: Mapping[str, str | None]
) -> Iterator[pa.RecordBatch]:
    """Blocks of the columns of a layout, the constant ones with them, and the paths of images."""
    columns = [name for name in layout.columns if name not in constant]
    kind = parquet.schema_arrow.field(image).type
    if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
        columns.append(f"{image}.path")
    for block in parquet.iter_batches(_BLOCK_ROWS, columns=columns):
        for name, value in constant.items():
            block = block.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(block)))
        yield block


def _names(file: str, start: int, block: pa.RecordBatch, image: str) -> pa.Array:
    """File and path of every image; file and row where it has no path."""
    names = pa.array(np.arange(start, start + len(block))).cast(pa.string())
    if image in block.schema.names:
        paths = pc.struct_field(block.column(image), "path").cast(pa.string())
        names = pc.coalesce(pc.if_else(pc.equal(paths, ""), None, paths), names)
    return pc.binary_join_element_wise(file, names, "/")
