"""Training from pixels: images are decoded and changed at random while the last ones are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from geocsp.data.batches import read_ahead
from geocsp.data.images import Images
from geocsp.data.table import GeoTable
from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.framing import Framing
from geocsp.images.pictures import quiet
from geocsp.images.table_source import TableImages
from geocsp.train.augment import Augmentation
from geocsp.train.feeds import Loaded

_TOLD = 64
"""Images between two reports."""


@dataclass(frozen=True, eq=False)
class _Pixels:
    squares: Tensor
    encoder: ImageEncoder
    augmentation: Augmentation | None

    def take(self, part: slice, seed: int) -> Tensor:
        squares = self.squares[part].to(self.encoder.mean.device, non_blocking=True)
        if self.augmentation is not None:
            squares = self.augmentation.apply(squares, self.encoder.pixels, seed)
        return self.encoder.transform(squares)


@dataclass(frozen=True, eq=False)
class PixelFeed:
    """The images of a table, for models that have an image encoder.

    Images are decoded in threads, one batch ahead of the one in use, into squares as the encoder
    wants them; for crops, squares so large that the smallest crop still has the encoder's pixels.
    Augmentation and normalisation run where the encoder is.

    An image that cannot be used ends the training; :func:`usable_images` finds such images before.

    Attributes:
        images: where the images are, such as ``table.images``.
        encoder: the image encoder of the model to train.
        augmentation: random changes; None shows images as for features, as validation should.
        workers: threads; by default as many as PyTorch uses.

    Raises:
        ValueError: light is to be changed in rasters that are no bytes.
        MissingExtraError: there is augmentation, but kornia is not installed.
    """

    images: Images
    encoder: ImageEncoder
    augmentation: Augmentation | None = None
    workers: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Find out before training what is missing."""
        if self.augmentation is None:
            return
        if self.augmentation.changes_light and not self.encoder.framing.as_bytes:
            raise ValueError("set brightness and contrast to 0 for rasters that are no bytes")
        self.augmentation.network(self.encoder.pixels)

    def __len__(self) -> int:
        return len(self.images)

    def stream(self, batches: Iterable[Tensor]) -> Generator[Loaded]:
        """Batch by batch.

        Raises:
            DataError: an image cannot be used; the message says which and why.
            OSError: the disk or the network failed.
        """
        framing = self._framing()
        source = TableImages(self.images, "", framing)
        pool = ThreadPoolExecutor(self.workers or torch.get_num_threads(), "geocsp-pixels")

        def read(rows: Tensor) -> Loaded:
            shape = (len(rows), framing.pixels, framing.pixels, framing.channels)
            kind = torch.uint8 if framing.as_bytes else torch.float32
            squares = torch.empty(shape, dtype=kind, pin_memory=torch.cuda.is_available())

            def put(place: int) -> None:
                loaded = source.load(rows[place : place + 1].numpy())
                for row, reason in loaded.failed.items():
                    raise DataError(_told(self.images, row, reason))
                squares[place] = torch.from_numpy(loaded.images[0])

            for _ in pool.map(put, range(len(rows))):
                pass
            return _Pixels(squares, self.encoder, self.augmentation)

        try:
            yield from read_ahead(read, batches)
        finally:
            pool.shutdown(cancel_futures=True)

    def _framing(self) -> Framing:
        """The square to decode."""
        framing = self.encoder.framing
        if self.augmentation is None or self.augmentation.smallest == 1:
            return framing
        side = math.ceil(framing.pixels / math.sqrt(self.augmentation.smallest))
        whole = framing.resize is None or framing.squeeze
        return replace(framing, pixels=side, resize=None if whole else side, squeeze=False)


def usable_images(
    table: GeoTable,
    framing: Framing,
    *,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> GeoTable:
    """Decode every image once, and leave out those that cannot be used.

    Args:
        table: images and their places.
        framing: as the encoder wants them.
        workers: threads; by default as many as PyTorch uses.
        on_progress: called with the number of images done, and of all.

    Returns:
        The rows that can be used; ``problems`` tells of the others.

    Raises:
        DataError: no image can be used.
        OSError: the disk or the network failed.
    """
    source = TableImages(table.images, "", framing)
    failures: dict[int, str] = {}

    def look(row: int) -> dict[int, str]:
        return source.load(np.array([row])).failed

    with quiet(), ThreadPoolExecutor(workers or torch.get_num_threads()) as pool:
        for done, failed in enumerate(pool.map(look, range(len(table))), start=1):
            failures |= failed
            if on_progress and (done % _TOLD == 0 or done == len(table)):
                on_progress(done, len(table))
    usable, rows = table.without(failures)
    if len(rows) == 0:
        first = f": {usable.problems[len(table.problems)]}" if failures else ""
        raise DataError(f"none of {len(table)} images could be used{first}")
    return usable


def _told(images: Images, row: int, reason: str) -> str:
    return (
        f"image {images.names[row].as_py()} {reason}; usable_images leaves out what cannot be used"
    )
