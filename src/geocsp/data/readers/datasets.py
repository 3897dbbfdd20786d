"""Data sets that are objects already: Hugging Face's, TorchGeo's, PyTorch's."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader

from geocsp.data.images import (
    Bands,
    FileImages,
    Images,
    Integers,
    Raw,
    RowTexts,
    full_path,
    load_file,
    stamp_of,
)
from geocsp.data.options import ReadOptions
from geocsp.data.readers.columnar import Beside, Layout
from geocsp.data.readers.embedded import class_names, image_column
from geocsp.data.table import GeoTable
from geocsp.errors import DataError

_BLOCK_ROWS = 1 << 16
_ACCEPTED = (
    "a path or URL, a Hugging Face Dataset or DatasetDict, a TorchGeo data set or a DataLoader "
    "with a sampler of one, or a list or map-style PyTorch data set of dicts with an image and its "
    "lon and lat; write a table that is in memory as Parquet"
)


@dataclass(frozen=True, eq=False)
class DatasetImages(Images):
    """Images that a data set hands out.

    Attributes:
        names: ``(N,)`` what the data set calls its rows: a path, a part of space, or a number.
        dataset: gives samples by number.
        number: ``(N,)`` int64 number of each sample.
        column: field of a sample that holds the image.
        state: changes whenever the data set does, as far as that can be known.
        digests: by number of a sample, what its image is; None: not known.
        linked: samples name files outside of the data set, whose changes count as well.
        folder: what relative paths in samples are relative to.
        bands: how rasters become channels.
    """

    names: pa.ChunkedArray
    dataset: Any
    number: Integers
    column: str
    state: str
    digests: NDArray[np.uint64] | None
    linked: bool
    folder: str
    bands: Bands

    def load(self, row: int) -> Raw:
        """The image of a sample: bytes, a path, a picture, or numbers, channels last."""
        value = self._value(int(self.number[row]))
        content = value.get("bytes") if isinstance(value, Mapping) else value
        path = _path_of(value if content is None else content, self.folder)
        return as_raw(content) if path is None else load_file(path)

    def stamps(self) -> Sequence[str]:
        """State of the data set and number of the sample, and of linked files size and time."""
        return RowTexts(len(self), lambda row: self._stamp(int(self.number[row])))

    def _stamp(self, number: int) -> str:
        path = _path_of(self._value(number), self.folder) if self.linked else None
        digest = "" if self.digests is None else f"{int(self.digests[number]):x}"
        return f"{self.state} {number} {digest or '-'} {stamp_of(path) if path else '-'}"

    def _value(self, number: int) -> Any:
        try:
            sample = self.dataset[number]
            return sample[self.column] if isinstance(sample, Mapping) else sample[0]
        except Exception as error:  # data sets run code of their own
            if isinstance(error, DataError) or getattr(error, "errno", None) is not None:
                raise
            raise DataError(f"sample {number} cannot be had: {error!r}"[:300]) from error

    def take(self, rows: Integers) -> DatasetImages:
        """The images of some rows."""
        return replace(self, names=self.names.take(pa.array(rows)), number=self.number[rows])


def _path_of(value: Any, folder: str) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("path")
    return full_path(folder, str(value)) if isinstance(value, (str, Path)) else None


def as_raw(value: Any) -> Raw:
    """An image as it is decoded further; tensors are (channels, height, width), arrays are not.

    Raises:
        DataError: it is no image.
    """
    if isinstance(value, torch.Tensor):
        numbers: NDArray[Any] = value.detach().cpu().numpy()
        return numbers.transpose(1, 2, 0) if numbers.ndim == 3 else numbers
    if isinstance(value, (bytes, Image.Image, np.ndarray)):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    what = "nothing" if value is None else f"a {type(value).__name__}"
    raise DataError(f"has {what} where its image should be")


def read_dataset(source: object, options: ReadOptions) -> GeoTable:
    """Read a data set that is an object already; images are taken from it when they are needed.

    Accepted are Hugging Face's ``Dataset`` and ``DatasetDict`` (whose keys become the splits); a
    TorchGeo ``GeoDataset`` (a row for every file in its index), or a ``DataLoader`` of one with a
    sampler (a row for every chip); and whatever has a length and gives, for a number, a dict with
    an image and its place, as TorchGeo's ``NonGeoDataset`` does. ``options.columns`` names fields.

    Raises:
        DataError: an object of another kind, or one without places.
        MissingExtraError: places in another crs than degrees without the extra ``geo``.
    """
    hub: Any = sys.modules.get("datasets")
    if hub is not None and isinstance(source, (hub.IterableDataset, hub.IterableDatasetDict)):
        raise DataError(
            "an IterableDataset has no rows to go back to; save it as Parquet and read that, or "
            "take rows of it: datasets.Dataset.from_list(list(dataset.take(1000)))"
        )
    if hub is not None and isinstance(source, hub.Dataset):
        return _read_hub({"": source}, options, hub)
    if hub is not None and isinstance(source, hub.DatasetDict):
        return _read_hub(source, options, hub)
    from geocsp.data.readers import geodatasets, mapstyle

    if isinstance(source, DataLoader):
        return geodatasets.read_loader(source, options)
    if geodatasets.is_geo(source):
        return geodatasets.read_geo(source, options)
    if mapstyle.is_map_style(source):
        return mapstyle.read_map_style(source, options)
    raise DataError(f"a {type(source).__name__} cannot be read; give {_ACCEPTED}")


def _read_hub(parts: Mapping[str, Any], options: ReadOptions, hub: Any) -> GeoTable:
    where = "the data set"
    plain = {split: part.with_format(None) for split, part in parts.items()}
    schemas = [part.features.arrow_schema for part in plain.values()]
    if not schemas:
        raise DataError("the DatasetDict is empty")
    column = _image_column(schemas[0], options, where)
    beside = Beside(options, _classes(schemas))
    for split, part in plain.items():
        layout = Layout.of(part.features.arrow_schema, column, options, where)
        split_is_known = "split" in layout.roles or not split
        if not split_is_known:
            layout = replace(layout, roles={**layout.roles, "split": "split"})
        for block in _blocks(part, layout):
            if not split_is_known:
                same = pa.repeat(pa.scalar(split, pa.string()), len(block))
                block = block.append_column("split", same)
            beside.add(block, layout)
    images = _hub_images(plain, column, options, hub)
    names = images.names
    return beside.table(images, lambda row: (names[row].as_py(), None), ())


def _image_column(schema: pa.Schema, options: ReadOptions, where: str) -> str:
    """The column of images, or else of paths of images."""
    try:
        return image_column(schema, options, where)
    except DataError:
        guess = options.columns.resolve(schema.names, where).get("image")
        if guess is None or not pa.types.is_string(schema.field(guess).type):
            raise
        return guess


def _classes(schemas: Sequence[pa.Schema]) -> dict[str, list[str]]:
    """Names of numbered classes, which must be the same in all splits."""
    classes = class_names(schemas[0])
    if any(class_names(schema) != classes for schema in schemas):
        raise DataError("the splits number their classes differently; read them one by one")
    return classes


def _blocks(part: Any, layout: Layout) -> Iterator[pa.RecordBatch]:
    outer = [name for name in part.column_names if _is_needed(name, layout.columns)]
    if not outer:
        yield pa.record_batch({"number": np.arange(len(part))})
        return
    for table in part.select_columns(outer).with_format("arrow").iter(_BLOCK_ROWS):
        yield from table.combine_chunks().to_batches()


def _is_needed(name: str, columns: Sequence[str]) -> bool:
    return any(column == name or column.startswith(f"{name}.") for column in columns)


def _hub_images(
    parts: Mapping[str, Any], column: str, options: ReadOptions, hub: Any
) -> FileImages | DatasetImages:
    kind = next(iter(parts.values())).features[column]
    folder, bands = options.folder or "", options.bands
    if getattr(kind, "dtype", None) in ("string", "large_string"):
        return FileImages(_strings(parts, column, None), folder, bands)
    linked = isinstance(kind, hub.Image) and any(_has_links(p, column) for p in parts.values())
    names = _strings(parts, column, "path") if linked else _numbered(parts)
    only = [part.select_columns([column]) for part in parts.values()]
    if isinstance(kind, hub.Image):
        only = [part.cast_column(column, hub.Image(decode=False)) for part in only]
    state = " ".join(part._fingerprint for part in parts.values())
    dataset: Any = ConcatDataset(only)
    return DatasetImages(
        names, dataset, np.arange(len(dataset)), column, state, None, linked, folder, bands
    )


def _has_links(part: Any, column: str) -> bool:
    return any(chunk.field("bytes").null_count for chunk in part.data.column(column).chunks)


def _strings(parts: Mapping[str, Any], column: str, member: str | None) -> pa.ChunkedArray:
    found = []
    for part in parts.values():
        for table in part.select_columns([column]).with_format("arrow").iter(_BLOCK_ROWS):
            for chunk in table.column(column).chunks:
                found.append((chunk.field(member) if member else chunk).cast(pa.string()))
    return pa.chunked_array(found, pa.string())


def _numbered(parts: Mapping[str, Any]) -> pa.ChunkedArray:
    """Names for images without any: their split and row."""
    found = []
    for split, part in parts.items():
        rows = pa.array(np.arange(len(part))).cast(pa.string())
        found.append(pc.binary_join_element_wise(split, rows, "/") if split else rows)
    return pa.chunked_array(found, pa.string())
