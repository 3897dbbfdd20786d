"""Data sets that give samples by number, such as TorchGeo's NonGeoDataset or a list of dicts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from geocsp.data.columns.coordinates import LonLat
from geocsp.data.columns.fields import ROLES, Fields, columns_of, is_pair_name, text
from geocsp.data.options import Columns, ReadOptions, listing
from geocsp.data.quarantine import Problem
from geocsp.data.readers.columnar import Beside, Layout
from geocsp.data.readers.datasets import DatasetImages
from geocsp.data.table import Floats, GeoTable
from geocsp.errors import DataError

_ROWS = 1 << 16
_LONGEST = 8
"""Numbers in a field that may hold a place; longer ones are masks, boxes and the like."""


class OneAtATime:
    """A data set for several threads, as few are made for that."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[OneAtATime], tuple[Any]]:
        return OneAtATime, (self._dataset,)

    def __getitem__(self, key: Any) -> Any:
        with self._lock:
            return self._dataset[key]


def is_map_style(source: Any) -> bool:
    """Whether an object has a length and gives samples, and is no text, array, mapping or table."""
    unfit = isinstance(source, (str, bytes, Mapping, np.ndarray, torch.Tensor))
    unfit = unfit or hasattr(source, "columns")
    return not unfit and hasattr(source, "__len__") and hasattr(source, "__getitem__")


def read_map_style(dataset: Any, options: ReadOptions) -> GeoTable:
    """Read a data set whose samples are dicts with an image and its place.

    Every sample is opened once to see its place, which takes as long as the data set takes to
    decode its images; what the images are goes into the fingerprint then. Data sets with
    attributes for the places of all samples are not opened (``lon`` and ``lat``, ``(N,)`` degrees
    each, or ``lonlat``, ``coords``, ``latlon``, ``(N, 2)``), and their samples may be tuples with
    the image first; their fingerprint does not see a change of the images.

    Raises:
        DataError: there are no samples, or they have no image.
    """
    if len(dataset) == 0:
        raise DataError(f"the {type(dataset).__name__} is empty")
    given = _given_places(dataset)
    if given is not None:
        return _from_attributes(dataset, given, options)
    return _Scan(dataset, options).table()


def _given_places(dataset: Any) -> Floats | None:
    """Places of all samples among the attributes: ``(N, 2)``."""
    count = len(dataset)
    for names in (("lon", "lat"), ("longitude", "latitude"), ("lons", "lats")):
        axes = [_array(getattr(dataset, name, None)) for name in names]
        if all(axis.shape == (count,) for axis in axes):
            return np.stack(axes, axis=1)
    for name in ("lonlat", "coords", "coordinates", "latlon"):
        pairs = _array(getattr(dataset, name, None))
        if pairs.shape == (count, 2):
            return pairs[:, ::-1] if is_pair_name(name) else pairs
    return None


def _array(values: Any) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return np.empty(0)


def _from_attributes(dataset: Any, lonlat: Floats, options: ReadOptions) -> GeoTable:
    count = len(dataset)
    targets = _array(getattr(dataset, "targets", None))
    block = {"lon": pa.array(lonlat[:, 0]), "lat": pa.array(lonlat[:, 1])}
    if targets.shape == (count,):
        names = _class_names(dataset)
        texts = [str(_named(int(value), names)) if value >= 0 else None for value in targets]
        block["label"] = pa.array(texts, pa.string())
    beside = Beside(options)
    known = {"label": "label"} if "label" in block else {}
    beside.add(pa.record_batch(block), Layout(known, LonLat("lon", "lat", options.crs)))
    names_of_rows = pa.chunked_array([pa.array(np.arange(count)).cast(pa.string())])
    images = DatasetImages(
        names_of_rows,
        OneAtATime(dataset),
        np.arange(count),
        _image_field(_sample(dataset, 0), options),
        f"{_kind(dataset)} {count}",
        None,
        False,
        options.folder or "",
        options.bands,
    )
    return beside.table(images, lambda row: (_kind(dataset), int(images.number[row])), ())


class _Scan:
    """Opens every sample once, keeps what is beside the images, and forgets the images."""

    def __init__(self, dataset: Any, options: ReadOptions) -> None:
        self._dataset, self._options = dataset, options
        self._fields = Fields(options.columns)
        self._classes = _class_names(dataset)
        self._problems: list[Problem] = []
        self._numbers: list[int] = []
        self._names: list[str] = []
        self._digests = np.zeros(len(dataset), dtype=np.uint64)
        self._linked = False
        self._fields_seen: list[str] = []
        self._image = ""

    def table(self) -> GeoTable:
        """All usable samples as one table."""
        beside = Beside(self._options)
        for block in self._blocks():
            known = {role: role for role in ROLES if block.column(role).null_count < len(block)}
            lacking = "" if "lon" in known or "lat" in known else self._lacking()
            places = None if lacking else LonLat("lon", "lat", self._options.crs)
            beside.add(block, Layout(known, places, lacking))
        if not self._numbers:
            first = self._problems[0]
            raise DataError(f"no sample can be used; the first, {first.row}: {first.reason}")
        where = _kind(self._dataset)
        self._fields.check(where)
        images = DatasetImages(
            pa.chunked_array([pa.array(self._names, pa.string())]),
            OneAtATime(self._dataset),
            np.array(self._numbers, dtype=np.int64),
            self._image,
            f"{where} {len(self._dataset)}",
            self._digests,
            self._linked,
            self._options.folder or "",
            self._options.bands,
        )
        return beside.table(
            images,
            lambda row: (where, self._numbers[row]),
            self._problems,
            self._fields.notes,
        )

    def _blocks(self) -> Iterator[pa.RecordBatch]:
        values: list[list[Any]] = [[] for _ in ROLES]
        for number in range(len(self._dataset)):
            try:
                found = self._look_at(number)
            except DataError as error:
                self._problems.append(Problem(_kind(self._dataset), number, str(error)))
                continue
            for column, value in zip(values, found, strict=True):
                column.append(value)
            if len(values[0]) == _ROWS:
                yield pa.record_batch(columns_of(values))
                values = [[] for _ in ROLES]
        yield pa.record_batch(columns_of(values))

    def _look_at(self, number: int) -> list[Any]:
        sample = _sample(self._dataset, number)
        if not isinstance(sample, Mapping):
            kind = type(sample).__name__
            raise DataError(f"is a {kind}, not a dict with an image and its lon and lat")
        self._image = self._image or _image_field(sample, self._options)
        if sample.get(self._image) is None:
            raise DataError(f"has no {self._image!r}")
        image = sample[self._image]
        self._linked = self._linked or isinstance(image, (str, Path))
        self._digests[number] = _digest(image)
        self._fields_seen = self._fields_seen or [str(name) for name in sample]
        fields = dict(_field(name, sample[name]) for name in sample if name != self._image)
        found = self._fields.of(fields)
        label = ROLES.index("label")
        found[label] = _named(found[label], self._classes)
        self._numbers.append(number)
        self._names.append(text(str(image)) if isinstance(image, (str, Path)) else str(number))
        return found

    def _lacking(self) -> str:
        return f"samples have no lon and lat; their fields are {listing(self._fields_seen)}"


def _sample(dataset: Any, number: int) -> Any:
    try:
        return dataset[number]
    except Exception as error:  # data sets run code of their own
        raise DataError(f"cannot be had: {error!r}"[:300]) from error


def _image_field(sample: Any, options: ReadOptions) -> str:
    if not isinstance(sample, Mapping):
        return ""
    names = [name for name in sample if isinstance(name, str)]
    image = replace(Columns(), image=options.columns.image).resolve(names, "the sample")
    if "image" not in image:
        raise DataError(f"has no image; its fields are {listing(names)}")
    return image["image"]


def _field(name: Any, value: Any) -> tuple[str, Any]:
    """A field with a value of Python; a point of shapely becomes a pair."""
    if getattr(value, "geom_type", None) == "Point":
        return "lonlat", [float(value.x), float(value.y)]
    return text(str(name)), _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {text(str(name)): _plain(inner) for name, inner in value.items()}
    if isinstance(value, torch.Tensor):
        return value.tolist() if value.numel() <= _LONGEST else None
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind != "M":
        return value.tolist() if value.size <= _LONGEST else None
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value] if len(value) <= _LONGEST else None
    if isinstance(value, (date, np.datetime64)):
        return value.isoformat() if isinstance(value, date) else str(value)
    return value if isinstance(value, (str, int, float)) else None


def _class_names(dataset: Any) -> Sequence[str]:
    names = getattr(dataset, "classes", None)
    fits = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return names if names and fits else ()


def _named(value: Any, names: Sequence[str]) -> Any:
    """The class of a number, if the classes have names."""
    is_number = isinstance(value, (int, float)) and 0 <= value < len(names)
    return names[int(value)] if is_number else value


def _kind(dataset: Any) -> str:
    return f"{type(dataset).__module__}.{type(dataset).__qualname__}"


def _digest(image: Any) -> int:
    """A number that changes with the image; that of a path is left to the file."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
    digest = hashlib.blake2b(digest_size=8)
    if isinstance(image, (bytes, bytearray)):
        digest.update(image)
    elif isinstance(image, Image.Image):
        digest.update(f"{image.mode} {image.size}".encode() + image.tobytes())
    elif isinstance(image, np.ndarray):
        digest.update(f"{image.dtype} {image.shape}".encode())
        digest.update(np.ascontiguousarray(image).data)
    return int.from_bytes(digest.digest(), "big")
