"""Features of a table of images: those that could be read, beside their places and labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geocsp.data.cache import FeatureCache, Storage
from geocsp.data.images import Integers
from geocsp.data.quarantine import QUARANTINE_FILE, write_quarantine
from geocsp.data.read import NothingUsableError
from geocsp.data.table import GeoTable
from geocsp.data.written import read_written
from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.extract import ExtractionPlan, ExtractProgress
from geocsp.images.pictures import quiet
from geocsp.images.table_source import TableImages

TABLE_FILE = "table.parquet"
_ROWS = 16_384


class Engine(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    """In this process."""
    RAY = "ray"
    """On the workers of a Ray cluster (extra "ray"), which have to see the same files."""


@dataclass(frozen=True, eq=False)
class Features:
    """Image features and the table they belong to, row by row.

    Attributes:
        table: the images that could be read; those that could not are in ``table.problems``.
        cache: the features on disk.
        rows: ``(N,)`` where in the cache each row of the table is.
    """

    table: GeoTable
    cache: FeatureCache
    rows: Integers

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, dim), as of a tensor."""
        return len(self.rows), self.cache.dim

    def __getitem__(self, rows: Tensor | Integers) -> Tensor:
        """Features of some rows of the table, ``(n, dim)`` float32, read from the disk."""
        return self.cache[self.rows[np.asarray(rows)]]

    def on_disk(self, rows: Tensor) -> Tensor:
        """Rows of the table in the order they have on disk, ``(n,)``."""
        return rows[torch.from_numpy(self.rows[rows.numpy()]).argsort()]

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """Features of rows in that order, ``(n, dim)`` float32, into ``out`` if given."""
        return self.cache.gather(torch.from_numpy(self.rows[rows.numpy()]), out)

    def read(self) -> Tensor:
        """All features, ``(N, dim)`` float32."""
        if len(self.rows) == len(self.cache) and bool((np.diff(self.rows) == 1).all()):
            return self.cache.read()
        return self[torch.arange(len(self.rows))]

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each feature, ``(dim,)`` float64, in bounded memory."""
        parts = [p for p in torch.arange(len(self)).split(_ROWS) if len(p)]
        mean = sum((self[p].double().sum(0) for p in parts), torch.zeros(1)) / len(self)
        squares = sum(((self[p].double() - mean).square().sum(0) for p in parts), torch.zeros(1))
        return mean, (squares / len(self)).sqrt()

    def take(self, rows: Integers) -> Features:
        """Some rows."""
        return Features(self.table.take(rows), self.cache, self.rows[rows])

    @classmethod
    def of(cls, table: GeoTable, cache: FeatureCache) -> Features:
        """Leave out the rows whose image could not be used.

        Args:
            table: all rows of the cache.
            cache: a complete cache.

        Raises:
            DataError: table and cache are not of one size, or no image could be used.
        """
        if len(table) != len(cache):
            raise DataError(f"{len(table)} rows of the table, but features of {len(cache)} images")
        failures = cache.failures()
        kept, rows = table.without(failures)
        if len(rows) == 0:
            bad = kept.problems[len(table.problems) :]
            first = f": {bad[0].file} {bad[0].reason}" if bad else ""
            message = f"none of {len(table)} images could be used{first}"
            raise NothingUsableError(message, kept.problems)
        return cls(kept, cache, rows)


def compute_features(
    encoder: ImageEncoder,
    table: GeoTable,
    folder: Path | None = None,
    *,
    bfloat16: bool | None = None,
    storage: Storage = Storage.FLOAT16,
    engine: Engine = Engine.LOCAL,
    workers: int | None = None,
    on_progress: Callable[[ExtractProgress], None] | None = None,
) -> Features:
    """Features of all images of a table; what is there already is not computed again.

    Writes shards of features, ``table.parquet`` with all rows, and ``quarantine.csv`` with the
    images that could not be used.

    Args:
        encoder: frozen image encoder.
        table: the images.
        folder: where to keep the features; by default in the user's cache folder, named by a
            fingerprint of encoder, transform, precision and images.
        bfloat16: compute in bfloat16; by default where the device multiplies it natively.
        storage: numbers on disk.
        engine: where the work is done; the features are the same bit for bit.
        workers: threads, or processes of the Ray cluster; by default one for each CPU core.
        on_progress: called after every batch, or every shard of Ray's workers.

    Raises:
        DataError: the folder holds other or damaged features, a full disk, features that are not
            finite, or no image that can be used.
        MissingExtraError: the engine is not installed.
        OSError: the disk or the network failed.
    """
    source = TableImages(table.images, table.images_fingerprint, encoder.framing)
    plan = ExtractionPlan.make(encoder, source, folder=folder, bfloat16=bfloat16, storage=storage)
    with quiet():
        if engine is Engine.RAY:
            from geocsp.images.ray_engine import run_on_ray

            run_on_ray(plan, encoder, source, workers=workers, on_progress=on_progress)
        else:
            plan.run(encoder, source, workers=workers, on_progress=on_progress)
    report = plan.store.folder / QUARANTINE_FILE
    try:
        features = Features.of(table, plan.store)
    except NothingUsableError as error:
        write_quarantine(report, error.problems)
        plan.store.clear()  # so that the folder can take what other settings make of the images
        raise
    table.write(plan.store.folder / TABLE_FILE)
    write_quarantine(report, features.table.problems)
    return features


def open_features(folder: str | Path) -> Features:
    """The features that :func:`compute_features` left in a folder.

    Raises:
        DataError: they are not there, not complete, or damaged.
    """
    folder = Path(folder).expanduser()
    cache = FeatureCache.open(folder)
    return Features.of(read_written(folder / TABLE_FILE), cache)
