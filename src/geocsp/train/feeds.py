"""Where the images of a step come from: memory or disk."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from geocsp.checks import check_finite_rows
from geocsp.data.batches import feature_batches
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

    def in_order(self, rows: Tensor) -> Tensor:
        """The rows of a batch in the order in which they are best read, ``(B,)``."""
        ...

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
        check_finite_rows(self.features, "features")

    def __len__(self) -> int:
        return len(self.features)

    def in_order(self, rows: Tensor) -> Tensor:
        """Any order is good."""
        return rows

    def stream(self, batches: Iterable[Tensor]) -> Generator[Loaded]:
        """Batch by batch."""
        device = self.features.device
        return (_Rows(self.features, rows.to(device, non_blocking=True)) for rows in batches)


@dataclass(frozen=True)
class _Read:
    features: Tensor

    def take(self, part: slice, seed: int) -> Tensor:
        return self.features[part]


@dataclass(frozen=True, eq=False)
class DiskFeed:
    """Features on disk, read one batch ahead of the one in use.

    Attributes:
        features: as :func:`geocsp.compute_features` leaves them.
    """

    features: Features

    def __len__(self) -> int:
        return len(self.features)

    def in_order(self, rows: Tensor) -> Tensor:
        """In the order they have on disk."""
        return self.features.on_disk(rows)

    def stream(self, batches: Iterable[Tensor]) -> Generator[Loaded]:
        """Batch by batch; a batch is only good until the next one."""
        if torch.cuda.is_available():
            return read_ahead(self._pinned, batches)
        return (_Read(batch.features) for batch in feature_batches(self.features, batches))

    def _pinned(self, rows: Tensor) -> Loaded:
        """In memory that a GPU copies from by itself, and that is not used again before."""
        place = torch.empty(len(rows), self.features.shape[1], pin_memory=True)
        return _Read(self.features.gather(rows, out=place))


@dataclass(frozen=True)
class NoFeed:
    """No images: for objectives that look at places and labels alone.

    Attributes:
        rows: number of places.
    """

    rows: int

    def __len__(self) -> int:
        return self.rows

    def in_order(self, rows: Tensor) -> Tensor:
        """Any order is good."""
        return rows

    def stream(self, batches: Iterable[Tensor]) -> Generator[Loaded]:
        """Batches without images."""
        return (_Read(torch.empty(len(rows), 0)) for rows in batches)


def read_ahead(read: Callable[[Tensor], Loaded], batches: Iterable[Tensor]) -> Generator[Loaded]:
    """The images of each batch of rows, read in a thread, one batch ahead of the one in use."""
    with ThreadPoolExecutor(1, "geocsp-ahead") as thread:
        ahead = None
        for rows in batches:
            following = thread.submit(read, rows)
            if ahead is not None:
                yield ahead.result()
            ahead = following
        if ahead is not None:
            yield ahead.result()


def feed_of(images: Tensor | Features | Feed | None, rows: int) -> Feed:
    """The feed of features in memory or on disk, or of no images."""
    if images is None:
        return NoFeed(rows)
    if isinstance(images, Tensor):
        return MemoryFeed(images)
    return DiskFeed(images) if isinstance(images, Features) else images
