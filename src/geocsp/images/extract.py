"""Run a frozen image encoder over a data set once, into the feature cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.data.cache import SHARD_ROWS, FeatureCache, cache_folder
from geocsp.images.base import ImageEncoder

_BATCH = 256


class ImageSource(Protocol):
    """A data set that hands out RGB images by row."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever an image changes."""
        ...

    def __len__(self) -> int: ...

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of some rows, ``(n, height, width, 3)`` uint8."""
        ...


def extract(
    encoder: ImageEncoder,
    source: ImageSource,
    *,
    cache: Path | None = None,
    bfloat16: bool | None = None,
    on_images: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Features of every image of ``source``, from the cache as far as they are there.

    The cache folder is named by a fingerprint of encoder, transform, precision and data, so a
    change of any of them never reads stale features. An interrupted run goes on where it was.

    Args:
        encoder: frozen image encoder.
        source: the images.
        cache: folder of all feature caches; by default under :func:`cache_folder`.
        bfloat16: compute in bfloat16; by default where the CPU has instructions for it.
        on_images: called with (done, all) rows after every batch, first with what is cached.

    Returns:
        ``(N, dim)`` float32, exactly as a cached read would give them.

    Raises:
        DataError: a damaged cache, a full disk, features that are not finite.
    """
    fast = has_bfloat16() if bfloat16 is None else bfloat16
    precision = "bfloat16" if fast else "float32"
    encoder_fingerprint = encoder.fingerprint()
    key = f"{encoder_fingerprint} {source.fingerprint} {precision}"
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    store = FeatureCache((cache or cache_folder() / "features") / name, len(source), encoder.dim)
    missing = store.missing()
    done = len(source) - sum(len(store.span(shard)) for shard in missing)
    report = on_images or (lambda done, total: None)
    report(done, len(source))
    if missing:
        store.describe(
            encoder=type(encoder).__name__,
            pixels=encoder.pixels,
            precision=precision,
            encoder_fingerprint=encoder_fingerprint,
            data_fingerprint=source.fingerprint,
        )
    for shard in missing:
        parts = []
        for rows in np.split(np.array(store.span(shard)), range(_BATCH, SHARD_ROWS, _BATCH)):
            if len(rows):
                parts.append(features_of(encoder, source.images(rows), bfloat16=fast))
                done += len(rows)
                report(done, len(source))
        store.write(shard, torch.cat(parts))
    return store.read()


@torch.inference_mode()
def features_of(encoder: ImageEncoder, images: NDArray[np.uint8], *, bfloat16: bool) -> Tensor:
    """Features of a batch of RGB images: ``(n, height, width, 3)`` uint8 to ``(n, dim)``."""
    image = encoder.transform(torch.from_numpy(images))
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        features: Tensor = encoder(image)
    return features.float()


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    probe: Any = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())
