"""Features of images changed at random: what contrast between images needs, made once.

Several views of every image go through the frozen encoder into the feature cache, and
:func:`geocsp.train.simclr.pretrain_images` trains on them without seeing an image.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.data.images import Integers
from geocsp.data.table import GeoTable
from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.extract import ExtractProgress, FallibleSource, ImageSource, extract
from geocsp.images.framing import Framing
from geocsp.images.table_source import TableImages
from geocsp.train.augment import Augmentation
from geocsp.train.randomness import Stream, derived_seed

_STREAM = Stream.IMAGE
_ONE_AT_A_TIME = Lock()
"""Augmentation draws from the random state that all threads share."""


def augmented_features(
    encoder: ImageEncoder,
    source: ImageSource | GeoTable,
    augmentation: Augmentation,
    views: int,
    *,
    seed: int,
    cache: Path | None = None,
    bfloat16: bool | None = None,
    on_progress: Callable[[int, ExtractProgress], None] | None = None,
) -> Tensor:
    """Features of several views of every image, each changed at random.

    Each view has a cache of its own, named by all that it depends on, so that more views of the
    same images cost no more than the new ones, and an interrupted run goes on where it was.

    Args:
        encoder: frozen image encoder.
        source: the images; of a table, those that can be used (see
            :func:`geocsp.train.pixels.usable_images`).
        augmentation: the random changes.
        views: V, how many views of each image.
        seed: another seed makes other views.
        cache: folder of all feature caches; by default under
            :func:`geocsp.data.cache.cache_folder`.
        bfloat16: compute in bfloat16; by default where the device multiplies it natively.
        on_progress: called after every batch with the number of the view and how far it is.

    Returns:
        ``(V, N, dim)`` float32.

    Raises:
        DataError: an image cannot be used, a damaged cache, a full disk, features that are not
            finite.
        ValueError: fewer than one view, or light is to be changed in rasters that are no bytes.
        MissingExtraError: kornia is not installed.
        OSError: the disk or the network failed.
    """
    if views < 1:
        raise ValueError(f"need at least one view, got {views}")
    if augmentation.changes_light and not encoder.framing.as_bytes:
        raise ValueError("set brightness and contrast to 0 for rasters that are no bytes")
    augmentation.network(encoder.pixels)  # find out before the first image what is missing
    images = _of_table(source, encoder.framing, augmentation)
    features = torch.empty(views, len(images), encoder.dim)
    for view in range(views):
        changed = _Changed(images, augmentation, encoder.pixels, derived_seed(seed, _STREAM, view))
        report = None if on_progress is None else _report(on_progress, view)
        features[view] = extract(
            encoder, changed, cache=cache, bfloat16=bfloat16, on_progress=report
        )
    return features


def crop_framing(framing: Framing, augmentation: Augmentation) -> Framing:
    """The square to decode, so large that the smallest crop still has the encoder's pixels."""
    if augmentation.smallest == 1:
        return framing
    side = math.ceil(framing.pixels / math.sqrt(augmentation.smallest))
    whole = framing.resize is None or framing.squeeze
    return replace(framing, pixels=side, resize=None if whole else side, squeeze=False)


@dataclass(frozen=True, eq=False)
class _Changed:
    """Images of a source, each changed at random.

    A batch is changed by what its first row and the seed say.
    """

    source: ImageSource | FallibleSource
    augmentation: Augmentation
    pixels: int
    seed: int

    @property
    def fingerprint(self) -> str:
        """Changes whenever an image or its change does."""
        key = f"{self.source.fingerprint} {self.augmentation} {self.pixels} {self.seed}"
        return hashlib.sha256(key.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.source)

    def images(self, rows: Integers) -> NDArray[Any]:
        """Images of some rows, ``(n, height, width, channels)``.

        Raises:
            DataError: an image cannot be used; the message says which and why.
        """
        images = torch.from_numpy(self._unchanged(rows))
        seed = derived_seed(self.seed, _STREAM, int(rows[0]))
        with _ONE_AT_A_TIME:
            changed = self.augmentation.apply(images, self.pixels, seed)
        return changed.contiguous().numpy()

    def _unchanged(self, rows: Integers) -> NDArray[Any]:
        if not isinstance(self.source, FallibleSource):
            return self.source.images(rows)
        loaded = self.source.load(rows)
        for row, reason in loaded.failed.items():
            raise DataError(f"image {row} {reason}; usable_images leaves out what cannot be used")
        return loaded.images


def _of_table(
    source: ImageSource | GeoTable, framing: Framing, augmentation: Augmentation
) -> ImageSource | FallibleSource:
    if not isinstance(source, GeoTable):
        return source
    square = crop_framing(framing, augmentation)
    return TableImages(source.images, f"{source.images_fingerprint} {square}", square)


def _report(
    told: Callable[[int, ExtractProgress], None], view: int
) -> Callable[[ExtractProgress], None]:
    return lambda progress: told(view, progress)
