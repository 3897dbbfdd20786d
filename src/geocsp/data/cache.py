"""Feature cache: one folder of shards per fingerprint, resumable, read through memory maps.

A shard is written whole or not at all, so a run killed at any moment loses only the shard it was
working on, and several processes may read, or even fill, one cache.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.errors import DataError
from geocsp.files import write_atomically, write_new

SHARD_ROWS = 1024
"""Rows in a shard of a cache of moderate size."""
MAX_SHARDS = 512
"""Larger caches have larger shards, so that all of them can be open at once."""
ABOUT_FILE = "about.json"


def cache_folder() -> Path:
    """Where caches live: ``$GEOCSP_CACHE`` if set, else the user's cache folder."""
    return Path(os.environ.get("GEOCSP_CACHE") or platformdirs.user_cache_dir("geocsp"))


class Storage(StrEnum):
    """The 16-bit numbers on disk."""

    FLOAT16 = "float16"
    """Three decimal digits, up to 65,504."""
    BFLOAT16 = "bfloat16"
    """Two decimal digits, as far as float32 reaches."""

    @property
    def dtype(self) -> torch.dtype:
        """The type in PyTorch."""
        return torch.float16 if self is Storage.FLOAT16 else torch.bfloat16

    @property
    def on_disk(self) -> np.dtype[Any]:
        """The type in the .npy files; NumPy has no bfloat16, so its bits go as integers."""
        return np.dtype(np.float16 if self is Storage.FLOAT16 else np.uint16)


@dataclass(frozen=True)
class FeatureCache:
    """Image features on disk.

    Attributes:
        folder: folder of this cache.
        rows: N, number of images.
        dim: size of a feature vector.
        storage: numbers on disk.
        shard_rows: rows in every shard but the last.
    """

    folder: Path
    rows: int
    dim: int
    storage: Storage = Storage.FLOAT16
    shard_rows: int = 0

    def __post_init__(self) -> None:
        """Choose the size of the shards where it is left open."""
        if self.shard_rows < 1:
            multiple = max(1, -(-self.rows // (SHARD_ROWS * MAX_SHARDS)))
            object.__setattr__(self, "shard_rows", SHARD_ROWS * multiple)

    @classmethod
    def open(cls, folder: Path) -> FeatureCache:
        """The cache in a folder, sized as its ``about.json`` says.

        Raises:
            DataError: the folder holds no cache.
        """
        about = _read_about(folder)
        if about is None:
            raise DataError(f"{folder} holds no features: there is no {ABOUT_FILE}")
        try:
            rows, dim, shard_rows = (int(about[name]) for name in ("rows", "dim", "shard_rows"))
            return cls(folder, rows, dim, Storage(about["dtype"]), shard_rows)
        except (ValueError, KeyError, TypeError) as error:
            path = folder / ABOUT_FILE
            raise DataError(f"{path} is damaged: {error!r}; extract the features again") from error

    def about(self, **expected: Any) -> dict[str, Any] | None:
        """What ``about.json`` says, None if it is not there.

        Args:
            **expected: what it has to say beside the sizes of this cache.

        Raises:
            DataError: it is damaged, or says that the folder holds other features.
        """
        about = _read_about(self.folder)
        wanted = self._sizes() | expected
        differs = [k for k, v in wanted.items() if about is not None and about.get(k) != v]
        if differs:
            raise DataError(
                f"{self.folder} holds other features ({', '.join(differs)} differ); use another "
                "folder or delete it"
            )
        return about

    def _sizes(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "dim": self.dim,
            "dtype": str(self.storage),
            "shard_rows": self.shard_rows,
        }

    @property
    def shape(self) -> tuple[int, int]:
        """(N, dim), as of a tensor."""
        return self.rows, self.dim

    @property
    def shards(self) -> int:
        """Number of shards when the cache is complete."""
        return -(-self.rows // self.shard_rows)

    def __len__(self) -> int:
        return self.rows

    def span(self, shard: int) -> range:
        """Rows of a shard."""
        return range(shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.rows))

    def missing(self) -> list[int]:
        """Shards that are not there yet.

        Raises:
            DataError: a file in the folder has another shape than its name promises.
        """
        return [shard for shard in range(self.shards) if self._open(shard) is None]

    def write(self, shard: int, features: Tensor, failed: dict[int, str] | None = None) -> None:
        """Store the features of one shard.

        Args:
            shard: number of the shard.
            features: ``(rows of the shard, dim)``.
            failed: rows of the whole cache whose image could not be used, and why; their features
                are stored as NaN.

        Raises:
            DataError: the shape is wrong, a value is not finite, or the disk is full.
        """
        span = self.span(shard)
        if features.shape != (len(span), self.dim):
            raise DataError(f"shard {shard} is {tuple(features.shape)}, not as planned")
        reasons = failed or {}
        short = features.detach().cpu().to(self.storage.dtype, copy=bool(reasons))
        short[[row - span.start for row in reasons]] = torch.nan
        finite = short.isfinite().all(dim=1)
        bad = [
            row for row in ((~finite).nonzero()[:, 0] + span.start).tolist() if row not in reasons
        ]
        if bad:
            hint = "; store them as bfloat16" if self.storage is Storage.FLOAT16 else ""
            raise DataError(
                f"the features of image {bad[0]} are not finite in {self.storage}{hint}"
            )
        if reasons:  # first, so that a shard is never there without its failures
            text = json.dumps(
                {str(row): reason for row, reason in sorted(reasons.items())}, indent=1
            )
            self._store(self._failures_path(shard), text.encode())
        elif self._failures_path(shard).is_file():
            self._failures_path(shard).unlink()  # of an earlier try
        buffer = BytesIO()
        np.save(buffer, short.view(torch.uint16).numpy().view(self.storage.on_disk))
        self._store(self._path(shard), buffer.getbuffer())

    def forget(self, shard: int) -> None:
        """Remove a shard, so that it is missing.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._path(shard).unlink(missing_ok=True)  # first: no shard is without its failures
        self._failures_path(shard).unlink(missing_ok=True)

    def describe(self, **facts: Any) -> None:
        """Write ``about.json``, unless it is there: sizes, and what the features were made from.

        Raises:
            DataError: the folder cannot be written to, or the disk is full.
        """
        content = json.dumps(self._sizes() | facts, indent=2, default=str).encode()
        with self._writing():
            write_new(self.folder / ABOUT_FILE, content)

    def clear(self) -> None:
        """Remove all of the cache.

        Raises:
            OSError: the folder cannot be written to.
        """
        (self.folder / ABOUT_FILE).unlink(missing_ok=True)
        for shard in range(self.shards):
            self.forget(shard)

    def _store(self, path: Path, content: bytes | memoryview) -> None:
        with self._writing():
            write_atomically(path, content)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise DataError(f"cannot write features to {self.folder}: {error.strerror}") from error

    def failures(self) -> dict[int, str]:
        """Rows of the shards written so far whose image could not be used, and why.

        Raises:
            DataError: a list of failures is damaged.
        """
        found: dict[int, str] = {}
        for path in sorted(self.folder.glob("*.failed.json")):
            try:
                listed = json.loads(path.read_text(encoding="utf-8"))
                found |= {int(row): str(reason) for row, reason in listed.items()}
            except (OSError, ValueError, AttributeError) as error:
                shard = path.name.partition(".")[0]
                raise DataError(
                    f"{path} is damaged ({error}); delete it and {shard}.npy and run again"
                ) from error
        return found

    def read(self) -> Tensor:
        """All features, ``(N, dim)`` float32.

        Raises:
            DataError: the cache is not complete.
        """
        features = torch.empty(self.rows, self.dim)
        for shard, stored in enumerate(self._maps):
            span = self.span(shard)
            features[span.start : span.stop] = self._numbers(stored)
        return features

    def __getitem__(self, rows: Tensor | NDArray[np.int64]) -> Tensor:
        """Features of some rows in any order, ``(n, dim)`` float32.

        Raises:
            IndexError: there is no such row.
            DataError: the cache is not complete.
        """
        if torch.as_tensor(rows).dtype == torch.bool:
            raise IndexError("rows are numbers, not a mask; torch.nonzero makes numbers of it")
        wanted = torch.as_tensor(rows, dtype=torch.int64)
        order = wanted.argsort()
        features = self.gather(wanted[order])
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        return features[back]

    def on_disk(self, rows: Tensor) -> Tensor:
        """Rows in the order they have on disk, ``(n,)``."""
        return rows.sort().values

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """Features of rows in rising order, ``(n, dim)`` float32.

        Args:
            rows: ``(n,)`` int64, rising; the same row may come again.
            out: ``(n, dim)`` float32 to fill. Fresh memory costs as much as reading.

        Raises:
            IndexError: there is no such row.
            DataError: the cache is not complete.
        """
        wanted = rows.numpy()
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < self.rows:
            raise IndexError(f"rows must be in [0, {self.rows}), got {wanted[0]} to {wanted[-1]}")
        bounds = np.searchsorted(wanted, np.arange(self.shards + 1) * self.shard_rows)
        stored = np.empty((len(wanted), self.dim), dtype=self.storage.on_disk)
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            first, last = bounds[shard], bounds[shard + 1]
            local = wanted[first:last] - shard * self.shard_rows
            # "clip" skips a buffer; the rows are known to be within the shard.
            self._maps[shard].take(local, axis=0, out=stored[first:last], mode="clip")
        out = torch.empty(len(wanted), self.dim) if out is None else out
        return out.copy_(self._numbers(stored))

    def _numbers(self, stored: NDArray[Any]) -> Tensor:
        """What the bits of a shard mean."""
        return torch.from_numpy(stored.view(np.int16)).view(self.storage.dtype)

    @cached_property
    def _maps(self) -> list[NDArray[Any]]:
        """Memory maps of all shards, copy on write."""
        maps = [self._open(shard) for shard in range(self.shards)]
        complete = [stored for stored in maps if stored is not None]
        if len(complete) < self.shards:
            lacking = self.shards - len(complete)
            raise DataError(f"{self.folder} lacks {lacking} of {self.shards} shards")
        return complete

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the memory maps, which would travel as copies."""
        return {name: value for name, value in vars(self).items() if name != "_maps"}

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.npy"

    def _failures_path(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.failed.json"

    def _open(self, shard: int) -> NDArray[Any] | None:
        """Memory map of a shard, None if it is not there."""
        path = self._path(shard)
        if not path.is_file():
            return None
        try:
            stored: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise DataError(f"{path} is damaged ({error}); delete it and run again") from error
        expected = (len(self.span(shard)), self.dim)
        if stored.shape != expected or stored.dtype != self.storage.on_disk:
            raise DataError(f"{path} is not a shard of this cache; delete it and run again")
        return stored


def _read_about(folder: Path) -> dict[str, Any] | None:
    path = folder / ABOUT_FILE
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); delete {folder} and run again") from error
    if not isinstance(about, dict):
        raise DataError(f"{path} is damaged; delete {folder} and run again")
    return about
