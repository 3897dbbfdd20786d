"""Batches of cached features for training, read while the last one is used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Batch:
    """Some rows of a data set.

    Attributes:
        rows: ``(B,)`` int64, which rows these are, in the order they have on disk.
        features: ``(B, dim)`` float32; its memory is used again for a later batch, so whoever keeps
            a batch beyond the next one has to copy it.
    """

    rows: Tensor
    features: Tensor


class StoredFeatures(Protocol):
    """Features on disk, such as :class:`geocsp.Features`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, dim), as of a tensor."""
        ...

    def on_disk(self, rows: Tensor) -> Tensor:
        """Rows in the order they have on disk."""
        ...

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """Features of rows in that order, ``(n, dim)`` float32, into ``out`` if given."""
        ...


def feature_batches(features: StoredFeatures, batches: Iterable[Tensor]) -> Iterator[Batch]:
    """Read the features of batches of rows, one batch ahead of the one in use.

    A batch comes in the order of its rows on disk, which ``batch.rows`` tells: which rows make a
    batch is what matters to a loss, not their order.

    Args:
        features: :class:`geocsp.Features`, whose rows are those of its table, or a complete cache.
        batches: ``(B,)`` int64 row numbers of each batch, such as ``torch.randperm(n).split(B)``.

    Raises:
        IndexError: there is no such row.
        DataError: the cache is not complete.
    """
    dim = features.shape[1]
    buffers = [torch.empty(0, dim) for _ in range(3)]

    def read(numbered: tuple[int, Tensor]) -> Batch:
        number, rows = numbered
        place = number % len(buffers)
        if len(buffers[place]) < len(rows):
            buffers[place] = torch.empty(len(rows), dim)
        ordered = features.on_disk(rows)
        return Batch(ordered, features.gather(ordered, out=buffers[place][: len(rows)]))

    yield from read_ahead(read, enumerate(batches), thread="geocsp-batches")


def read_ahead(
    read: Callable[[_Item], _Result], items: Iterable[_Item], *, thread: str = "geocsp-ahead"
) -> Generator[_Result]:
    """What is read for each item, in a thread of this name, one ahead of the one in use."""
    with ThreadPoolExecutor(1, thread) as pool:
        ahead = None
        for item in items:
            following = pool.submit(read, item)
            if ahead is not None:
                yield ahead.result()
            ahead = following
        if ahead is not None:
            yield ahead.result()
