"""Where the images of a step come from: memory or disk."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from geocsp.checks import check_finite_rows
from geocsp.data.batches import Batch as StoredBatch
from geocsp.data.batches import feature_batches, read_ahead
from geocsp.errors import DataError
from geocsp.images.features import Features


class Loaded(Protocol):
    """The images of one step."""

    def take(self, part: slice, seed: int) -> Tensor:
        """Some of them, as the model's image side takes them: ``(n, ...)``.

        Args:
            part: which ones.
            seed: fixes augmentation, if there is any; the same seed gives the same input again.
        """
        ...


class Feed(Protocol):
    """Images of a data set, row by row."""

    def __len__(self) -> int: ...

    def stream(self, batches: Iterable[Tensor]) -> Generator[Loaded]:
        """The images of each batch of rows, read ahead where that takes time."""
        ...


@dataclass(frozen=True)
class _Rows:
    features: Tensor
    rows: Tensor

    def take(self, part: slice, seed: int) -> Tensor:
        return self.features[self.rows[part]]


@dataclass(frozen=True)
class MemoryFeed:
    """Features in memory, of the CPU or a GPU.

    Attributes:
        features: ``(N, F)``.
    """

    features: Tensor

    def __post_init__(self) -> None:
        if self.features.ndim != 2:
            raise DataError(f"features must be (N, F), got {tuple(self.features.shape)}")
        check_finite_rows(self.features, "features")

    @property
    def width(self) -> int:
        """F."""
        return self.features.shape[1]

    def __len__(self) -> int:
        return len(self.features)

    def stream(self, batches: Iterable[Tensor]) -> Generator[Loaded]:
        """Batch by batch."""
        device = self.features.device
        return (_Rows(self.features, rows.to(device, non_blocking=True)) for rows in batches)


@dataclass(frozen=True)
class _Read:
    features: Tensor

    def take(self, part: slice, seed: int) -> Tensor:
        return self.features[part]


def _as_asked(rows: Tensor, batch: StoredBatch) -> _Read:
    """The images of a batch in the order of its rows, not in that on disk."""
    if torch.equal(rows, batch.rows):
        return _Read(batch.features)
    places = torch.empty_like(rows)
    places[rows.argsort()] = batch.rows.argsort()
    return _Read(batch.features[places])


@dataclass(frozen=True, eq=False)
class DiskFeed:
    """Features on disk, read one batch ahead of the one in use.

    Attributes:
        features: as :func:`geocsp.compute_features` leaves them.
    """

    features: Features

    @property
    def width(self) -> int:
        """F."""
        return self.features.shape[1]

    def __len__(self) -> int:
        return len(self.features)

    def stream(self, batches: Iterable[Tensor]) -> Generator[Loaded]:
        """Batch by batch; a batch is only good until the next one."""
        if torch.cuda.is_available():
            return read_ahead(self._pinned, batches)
        every, read = itertools.tee(batches)
        stored = feature_batches(self.features, read)
        return (_as_asked(rows, batch) for rows, batch in zip(every, stored, strict=False))

    def _pinned(self, rows: Tensor) -> Loaded:
        """In memory that a GPU copies from by itself, and that is not used again before."""
        place = torch.empty(len(rows), self.features.shape[1], pin_memory=True)
        stored = self.features.on_disk(rows)
        return _as_asked(rows, StoredBatch(stored, self.features.gather(stored, out=place)))


@dataclass(frozen=True)
class NoFeed:
    """No images: for objectives that look at places and labels alone.

    Attributes:
        rows: number of places.
    """

    rows: int

    def __len__(self) -> int:
        return self.rows

    def stream(self, batches: Iterable[Tensor]) -> Generator[Loaded]:
        """Batches without images."""
        return (_Read(torch.empty(len(rows), 0)) for rows in batches)


def feed_of(images: Tensor | Features | Feed | None, rows: int) -> Feed:
    """The feed of features in memory or on disk, or of no images."""
    if images is None:
        return NoFeed(rows)
    if isinstance(images, Tensor):
        return MemoryFeed(images)
    return DiskFeed(images) if isinstance(images, Features) else images
