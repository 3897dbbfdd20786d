"""Embeddings of places on disk: made once for each model and set of places, then mapped.

float32, so that a search gives the same answers as one over fresh embeddings. With float16,
scores may be off by 5e-4: enough for half of ten neighbouring answers to change their rank
(benchmarks/geolocate.py).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from geocsp.data.cache import ABOUT_FILE, cache_folder
from geocsp.errors import DataError
from geocsp.evaluate.geolocation import place_embeddings
from geocsp.files import write_atomically
from geocsp.location import LocationEncoder
from geocsp.model import GeoModel
from geocsp.models import fingerprint_of

_NUMBERS = 2**24
"""Numbers in a file: 64 MiB."""
_PART = 2**14
"""Places that are embedded together; a file holds a multiple of them."""
_LOCK_FILE = "lock"
INDEX_PREFIX = "index-"
"""How names of what is made from the embeddings begin."""
_CHECKED = 64
"""Places whose embeddings are compared with fresh ones."""
_TOLERANCE = 1e-3
"""Embeddings of one place on different processors differ by less."""

OnPlaces = Callable[[int, int], None]
"""Told how many places are embedded, and how many there are."""


@dataclass(frozen=True)
class PlaceStore:
    """A folder with the unit length embeddings of places, in files that are whole or not there.

    Attributes:
        folder: named by fingerprints of the location encoder and the places.
        rows: M, number of places.
        dim: D, size of an embedding.
    """

    folder: Path
    rows: int
    dim: int

    @classmethod
    def of(cls, model: GeoModel, lonlat: Tensor) -> PlaceStore:
        """The place in the cache for a model and ``(M, 2)`` float64 degrees."""
        key = f"{location_fingerprint(model.location)} {places_fingerprint(lonlat)}"
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        return cls(cache_folder() / "places" / name, len(lonlat), model.location.dim)

    def fill(self, model: GeoModel, lonlat: Tensor, on_places: OnPlaces | None = None) -> None:
        """Make what is missing; of several processes at once, one works and the others wait.

        A file that is damaged is made again, as are all if they are not what the model says of
        some places now; a warning tells so.

        Args:
            model: that the store is for.
            lonlat: ``(M, 2)`` float64 degrees that the store is for.
            on_places: called after every file, first with what is there.

        Raises:
            DataError: embeddings that are not finite, or the folder cannot be written to.
        """
        if self._is_whole(model, lonlat):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / _LOCK_FILE):
                if not self._is_whole(model, lonlat):  # another process may have been first
                    self._fill(model, lonlat, on_places or (lambda done, total: None))
        except OSError as error:
            raise DataError(
                f"cannot write embeddings to {self.folder}: {error.strerror or error}; "
                "GEOCSP_CACHE names another folder for caches"
            ) from error

    def _fill(self, model: GeoModel, lonlat: Tensor, on_places: OnPlaces) -> None:
        missing = [shard for shard in range(self.shards) if self._open(shard) is None]
        if not self._is_right(model, lonlat):
            missing = list(range(self.shards))
        for stale in self.folder.glob(f"{INDEX_PREFIX}*/"):
            shutil.rmtree(stale)
        done = self.rows - sum(len(self._span(shard)) for shard in missing)
        on_places(done, self.rows)
        self._describe()
        for shard in missing:
            path, span = self._path(shard), self._span(shard)
            if path.exists():
                warnings.warn(f"{path} is damaged or of another model; made again", stacklevel=4)
            parts = _embedded(model, lonlat[span.start : span.stop])
            buffer = BytesIO()
            np.save(buffer, torch.cat(parts).numpy())
            write_atomically(path, buffer.getbuffer())
            done += len(span)
            on_places(done, self.rows)

    @cached_property
    def parts(self) -> tuple[Tensor, ...]:
        """Memory maps of all embeddings, ``(m, D)`` float32 each, in the order of the places.

        Raises:
            DataError: files are missing or damaged.
        """
        found = [self._open(shard) for shard in range(self.shards)]
        whole = [part for part in found if part is not None]
        if len(whole) < self.shards:
            raise DataError(f"{self.folder} lacks {self.shards - len(whole)} files; run again")
        return tuple(whole)

    def take(self, rows: Tensor) -> Tensor:
        """Embeddings of some places: ``(n,)`` int64 to ``(n, D)``."""
        shard = rows // self.shard_rows
        taken = torch.empty(len(rows), self.dim)
        for number in shard.unique().tolist():
            here = shard == number
            taken[here] = self.parts[number][rows[here] - number * self.shard_rows]
        return taken

    @property
    def shard_rows(self) -> int:
        """Places in every file but the last."""
        return max(1, _NUMBERS // self.dim // _PART) * _PART

    @property
    def shards(self) -> int:
        """Number of files."""
        return -(-self.rows // self.shard_rows)

    def _span(self, shard: int) -> range:
        return range(shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.rows))

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.npy"

    def _open(self, shard: int) -> Tensor | None:
        """Memory map of a file, copy on write; None if it is not there or damaged."""
        try:
            stored = np.load(self._path(shard), mmap_mode="c", allow_pickle=False)
        except (ValueError, EOFError, OSError):
            return None
        expected = (len(self._span(shard)), self.dim)
        fits = stored.shape == expected and stored.dtype == np.float32
        return torch.from_numpy(stored) if fits else None

    def _is_whole(self, model: GeoModel, lonlat: Tensor) -> bool:
        there = all(self._open(shard) is not None for shard in range(self.shards))
        return there and self._is_right(model, lonlat)

    def _is_right(self, model: GeoModel, lonlat: Tensor) -> bool:
        """Whether what is there of some places is what the model says of them now."""
        rows = torch.linspace(0, self.rows - 1, _CHECKED + self.shards).long()
        fresh = torch.cat(_embedded(model, lonlat[rows]))
        for shard, stored in enumerate(map(self._open, range(self.shards))):
            span = self._span(shard)
            here = (rows >= span.start) & (rows < span.stop)
            if stored is None:
                continue
            apart = (stored[rows[here] - span.start] - fresh[here]).abs()
            if not bool((apart <= _TOLERANCE).all()):  # also for NaN
                return False
        return True

    def _describe(self) -> None:
        about = {
            "rows": self.rows,
            "dim": self.dim,
            "dtype": "float32",
            "shard_rows": self.shard_rows,
            "versions": {name: version(name) for name in ("geocsp", "torch", "numpy")},
        }
        write_atomically(self.folder / ABOUT_FILE, json.dumps(about, indent=2).encode())


def location_fingerprint(location: LocationEncoder) -> str:
    """Changes with the class, the settings or a weight of a location encoder."""
    recipe = getattr(location, "recipe", None)
    named = f"{type(location).__qualname__} {json.dumps(recipe, default=str)}"
    return hashlib.sha256(f"{named} {fingerprint_of(location)}".encode()).hexdigest()


def places_fingerprint(lonlat: Tensor) -> str:
    """SHA-256 of ``(M, 2)`` degrees as float64."""
    return hashlib.sha256(lonlat.double().contiguous().numpy().data).hexdigest()


def _embedded(model: GeoModel, lonlat: Tensor) -> list[Tensor]:
    device = next(model.parameters()).device
    return [part.float().cpu() for part in place_embeddings(model, lonlat.to(device))]
