"""Feature cache: one folder of shards per fingerprint, resumable, read through memory maps.

A shard is written whole or not at all, so a run killed at any moment loses only the shard it was
working on, and several processes may read, or even fill, one cache.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import platformdirs
import torch
from torch import Tensor

from geocsp.errors import DataError
from geocsp.files import write_atomically

SHARD_ROWS = 1024
"""Rows in every shard but the last."""


def cache_folder() -> Path:
    """Where caches live: ``$GEOCSP_CACHE`` if set, else the user's cache folder."""
    return Path(os.environ.get("GEOCSP_CACHE") or platformdirs.user_cache_dir("geocsp"))


@dataclass(frozen=True)
class FeatureCache:
    """Image features on disk, float16.

    Attributes:
        folder: folder of this cache, named by its fingerprint.
        rows: N, number of images.
        dim: size of a feature vector.
    """

    folder: Path
    rows: int
    dim: int

    @property
    def shards(self) -> int:
        """Number of shards when the cache is complete."""
        return -(-self.rows // SHARD_ROWS)

    def span(self, shard: int) -> range:
        """Rows of a shard."""
        return range(shard * SHARD_ROWS, min((shard + 1) * SHARD_ROWS, self.rows))

    def missing(self) -> list[int]:
        """Shards that are not there yet.

        Raises:
            DataError: a file in the folder has another shape than its name promises.
        """
        return [shard for shard in range(self.shards) if not self._is_whole(shard)]

    def write(self, shard: int, features: Tensor) -> None:
        """Store the features of one shard, ``(rows of the shard, dim)``.

        Raises:
            DataError: the shape is wrong, a value is not finite, or the disk is full.
        """
        if features.shape != (len(self.span(shard)), self.dim):
            raise DataError(f"shard {shard} is {tuple(features.shape)}, not as planned")
        half = features.detach().half()
        if not bool(half.isfinite().all()):
            row = int((~half.isfinite().all(dim=1)).nonzero()[0]) + self.span(shard).start
            raise DataError(f"the features of image {row} are not finite in float16")
        buffer = BytesIO()
        np.save(buffer, half.numpy())
        self._store(self._path(shard), buffer.getvalue())

    def describe(self, **facts: str | int | float) -> None:
        """Write ``about.json``: what the features were made from.

        Raises:
            DataError: the folder cannot be written to, or the disk is full.
        """
        about = {"rows": self.rows, "dim": self.dim, "dtype": "float16"} | facts
        self._store(self.folder / "about.json", json.dumps(about, indent=2).encode())

    def _store(self, path: Path, content: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        except OSError as error:
            raise DataError(f"cannot write features to {self.folder}: {error.strerror}") from error

    def read(self) -> Tensor:
        """All features, ``(N, dim)`` float32.

        Raises:
            DataError: the cache is not complete.
        """
        if missing := self.missing():
            raise DataError(f"{self.folder} lacks {len(missing)} of {self.shards} shards")
        features = torch.empty(self.rows, self.dim)
        for shard in range(self.shards):
            span = self.span(shard)
            half = np.load(self._path(shard), mmap_mode="c", allow_pickle=False)
            features[span.start : span.stop] = torch.from_numpy(half)
        return features

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.npy"

    def _is_whole(self, shard: int) -> bool:
        path = self._path(shard)
        if not path.is_file():
            return False
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise DataError(f"{path} is damaged ({error}); delete it and run again") from error
        if stored.shape != (len(self.span(shard)), self.dim) or stored.dtype != np.float16:
            raise DataError(f"{path} is not a shard of this cache; delete it and run again")
        return True
