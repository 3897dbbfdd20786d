"""TorchGeo's geospatial data sets, which are cut by space and time instead of numbered."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch.utils.data import BatchSampler, DataLoader

from geocsp.data.columns.coordinates import LonLat
from geocsp.data.images import stamp_of
from geocsp.data.options import ReadOptions
from geocsp.data.readers.columnar import Beside, Layout
from geocsp.data.readers.datasets import DatasetImages, read_dataset
from geocsp.data.readers.mapstyle import OneAtATime
from geocsp.data.table import Floats, GeoTable
from geocsp.errors import DataError
from geocsp.images.pictures import MAX_PIXELS

_YEAR, _HOUR = np.timedelta64(366, "D"), np.timedelta64(1, "h")
_CHIPS = "DataLoader(dataset, sampler=GridGeoSampler(dataset, size=256))"


@dataclass(frozen=True, eq=False)
class Chips:
    """Parts of a GeoDataset, as a data set of samples by number.

    Attributes:
        dataset: the GeoDataset.
        bounds: ``(N, 4)`` west, east, south, north in its coordinate reference system.
        start: ``(N,)`` first moment of each, a pandas timestamp.
        stop: ``(N,)`` last moment of each.
    """

    dataset: Any
    bounds: Floats
    start: NDArray[np.object_]
    stop: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, number: int) -> Any:
        """A sample of the data set.

        Raises:
            DataError: the part is too large to be an image.
        """
        west, east, south, north = self.bounds[number].tolist()
        width, height = self.dataset.res
        pixels = (east - west) / width * ((north - south) / height)
        if pixels > MAX_PIXELS:
            raise DataError(f"has {pixels:,.0f} pixels; read chips of it: {_CHIPS}")
        time = slice(self.start[number], self.stop[number])
        return self.dataset[slice(west, east, width), slice(south, north, height), time]


def is_geo(source: Any) -> bool:
    """Whether an object is like TorchGeo's GeoDataset: with an index in space, and resolution."""
    return all(hasattr(source, name) for name in ("index", "bounds", "res", "crs"))


def read_loader(loader: DataLoader[Any], options: ReadOptions) -> GeoTable:
    """Read the data set of a loader; of a GeoDataset, a row for every chip of its sampler.

    Raises:
        DataError: as for :func:`geocsp.data.readers.datasets.read_dataset`.
    """
    if not is_geo(loader.dataset):
        return read_dataset(loader.dataset, options)
    queries: Iterable[Any] = loader.sampler
    if type(loader.batch_sampler) is not BatchSampler and loader.batch_sampler is not None:
        queries = itertools.chain.from_iterable(loader.batch_sampler)
    chips = _chips(loader.dataset, queries)
    return read_geo(loader.dataset, options) if chips is None else _read(chips, options)


def read_geo(dataset: Any, options: ReadOptions) -> GeoTable:
    """Read a GeoDataset with a row for every entry of its index, which is a file or a scene.

    Raises:
        DataError: its index is not that of TorchGeo 0.8 or newer, or it holds no images.
    """
    index = dataset.index
    if not hasattr(index, "geometry"):
        raise DataError(
            "the index of this data set is no GeoDataFrame; that takes TorchGeo 0.8 or newer"
        )
    west, south, east, north = index.geometry.bounds.to_numpy(dtype=np.float64).T
    chips = Chips(
        dataset,
        np.stack([west, east, south, north], axis=1),
        np.array(list(index.index.left), dtype=object),
        np.array(list(index.index.right), dtype=object),
    )
    return _read(chips, options, _files(index))


def _files(index: Any) -> list[str]:
    column = next((name for name in ("filepath", "filepath_1") if name in index.columns), None)
    return [] if column is None else [str(path) for path in index[column]]


def _chips(dataset: Any, queries: Iterable[Any]) -> Chips | None:
    """The parts that a sampler asks for; None if it asks for numbers of samples."""
    bounds, start, stop = [], [], []
    for query in queries:
        if not (isinstance(query, tuple) and len(query) in (2, 3)):
            return None
        x, y = query[:2]
        time = query[2] if len(query) == 3 else dataset.bounds[2]
        bounds.append((x.start, x.stop, y.start, y.stop))
        start.append(time.start)
        stop.append(time.stop)
    if not bounds:
        raise DataError("the sampler asks for no chip")
    return Chips(
        dataset,
        np.array(bounds, dtype=np.float64),
        np.array(start, dtype=object),
        np.array(stop, dtype=object),
    )


def _named(chips: Chips) -> list[str]:
    """What chips without a file are called: their part of space, and when they start."""
    return [
        f"{west:.10g}:{east:.10g},{south:.10g}:{north:.10g},{start}"
        for (west, east, south, north), start in zip(
            chips.bounds.tolist(), chips.start, strict=True
        )
    ]


def _read(chips: Chips, options: ReadOptions, files: Sequence[str] = ()) -> GeoTable:
    dataset, names = chips.dataset, files or _named(chips)
    if not getattr(dataset, "is_image", True):
        raise DataError(f"the {type(dataset).__name__} gives masks, not images")
    beside = Beside(options)
    moments = map(_moment, chips.start, chips.stop)
    block = pa.record_batch(
        {
            "lon": chips.bounds[:, :2].mean(axis=1),
            "lat": chips.bounds[:, 2:].mean(axis=1),
            "time": pa.array(list(moments), pa.string()),
        }
    )
    crs = dataset.crs.to_wkt() if dataset.crs is not None else options.crs
    beside.add(block, Layout({"time": "time"}, LonLat("lon", "lat", crs)))
    images = DatasetImages(
        pa.chunked_array([pa.array(names, pa.string())]),
        OneAtATime(chips),
        np.arange(len(chips)),
        "image",
        _state(dataset),
        None,
        False,
        "",
        options.bands,
    )
    return beside.table(images, lambda row: (names[images.number[row]], None), ())


def _moment(start: Any, stop: Any) -> str | None:
    """When an image was taken, where that is known to a year: a moment, or a day without hour."""
    length = stop.to_datetime64() - start.to_datetime64()
    if not np.timedelta64(0) <= length <= _YEAR:  # below 0: longer than can be told
        return None
    middle = start + (stop - start) / 2
    return str((middle if length <= _HOUR else middle.date()).isoformat())


def _state(dataset: Any) -> str:
    """Changes with the files of a data set, if it knows them, and its resolution."""
    files = sorted(set(_files(dataset.index)))
    digest = hashlib.sha256(f"{type(dataset).__qualname__} {dataset.res} {dataset.crs}".encode())
    for file in files:
        digest.update(f"{file}\0{stamp_of(file)}\n".encode())
    return digest.hexdigest()[:16]
