"""Batches of cached features for training, read while the last one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from geocsp.data.cache import FeatureCache


@dataclass(frozen=True)
class Batch:
    """Some rows of a data set.

    Attributes:
        rows: ``(B,)`` int64, rising.
        features: ``(B, dim)`` float32; its memory is used again for a later batch, so whoever keeps
            a batch beyond the next one has to copy it.
    """

    rows: Tensor
    features: Tensor


def feature_batches(cache: FeatureCache, batches: Iterable[Tensor]) -> Iterator[Batch]:
    """Read the features of batches of rows, one batch ahead of the one in use.

    A batch comes in the order of its rows on disk: which rows make a batch is what matters to a
    loss, not their order.

    Args:
        cache: complete cache.
        batches: ``(B,)`` int64 row numbers of each batch, such as ``torch.randperm(n).split(B)``.

    Raises:
        IndexError: there is no such row.
        DataError: the cache is not complete.
    """
    buffers = [torch.empty(0, cache.dim) for _ in range(3)]

    def read(number: int, rows: Tensor) -> Batch:
        place = number % len(buffers)
        if len(buffers[place]) < len(rows):
            buffers[place] = torch.empty(len(rows), cache.dim)
        ordered = rows.sort().values
        return Batch(ordered, cache.gather(ordered, out=buffers[place][: len(rows)]))

    with ThreadPoolExecutor(1, "geocsp-batches") as pool:
        ahead = None
        for number, rows in enumerate(batches):
            following = pool.submit(read, number, rows)
            if ahead:
                yield ahead.result()
            ahead = following
        if ahead:
            yield ahead.result()
