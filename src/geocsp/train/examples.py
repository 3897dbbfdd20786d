"""What there is to train on: images, their places, and what else is known of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.data.cache import ABOUT_FILE
from geocsp.data.images import Images, Integers
from geocsp.data.named.csp_files import Network, read_features
from geocsp.data.named.listed import ListedImages
from geocsp.data.quarantine import Problem
from geocsp.data.splits import few_shot
from geocsp.data.table import Categories, GeoTable
from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.features import TABLE_FILE, Features
from geocsp.train.augment import Augmentation
from geocsp.train.pixels import PixelFeed

TRAIN = "train"
"""The split that is trained on, where there is one of this name."""
_SAMPLED = 256


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images that go through an encoder in every epoch.

    Attributes:
        images: where they are.
        encoder: the encoder, which becomes part of the model.
        augmentation: random changes, for training.
        workers: threads that decode; by default as many as PyTorch uses.
    """

    images: Images
    encoder: ImageEncoder
    augmentation: Augmentation | None = None
    workers: int | None = None

    def take(self, rows: Integers) -> Pixels:
        """Some rows."""
        return replace(self, images=self.images.take(rows))

    def feed(self, *, augmented: bool) -> PixelFeed:
        """The images for training, or as they are."""
        augmentation = self.augmentation if augmented else None
        return PixelFeed(self.images, self.encoder, augmentation, self.workers)


@dataclass(frozen=True, eq=False)
class Examples:
    """Images to train on, row by row.

    Attributes:
        images: image features ``(N, F)`` in memory or on disk, pixels, or None.
        lonlat: ``(N, 2)`` float32 degrees.
        time: ``(N, 2)`` date and hour, NaN where unknown.
        label: classes.
        group: photographers or sites.
        split: which part of the data each row is of.
        key: changes whenever an image, or how its features are made, changes.
        notes: what was guessed, repaired or left out, one sentence each.
        problems: rows of the source that could not be used.
    """

    images: Tensor | Features | Pixels | None
    lonlat: Tensor
    time: Tensor | None = None
    label: Categories | None = None
    group: Categories | None = None
    split: Categories | None = None
    key: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.lonlat)

    @classmethod
    def of(
        cls, table: GeoTable, images: Tensor | Features | Pixels | None = None, key: str = ""
    ) -> Examples:
        """All rows of a table, which must have places, and their images."""
        return cls(
            images,
            torch.from_numpy(table.lonlat).float(),
            None if table.time is None else torch.from_numpy(table.time).float(),
            table.label,
            table.group,
            table.split,
            key,
            table.notes,
            table.problems,
        )

    @classmethod
    def of_features(cls, features: Features) -> Examples:
        """The rows of computed features that are to be trained on."""
        rows, notes = rows_to_train_on(features.table)
        about = features.cache.about() or {}
        kept = features.take(rows)
        made_by = ("encoder_fingerprint", "data_fingerprint", "precision", "dtype")
        key = " ".join(str(about.get(name)) for name in made_by)
        examples = cls.of(kept.table, kept, key)
        return replace(examples, notes=(*examples.notes, *notes))

    @property
    def labels(self) -> Tensor | None:
        """``(N,)`` int64 classes, -1 where unknown; None without classes."""
        return None if self.label is None else torch.from_numpy(self.label.codes)

    @property
    def groups(self) -> Tensor | None:
        """``(N,)`` int64 photographers or sites, -1 where unknown; None without them."""
        return None if self.group is None else torch.from_numpy(self.group.codes)

    @property
    def feature_dim(self) -> int:
        """F, size of the image features; 1 where there are none."""
        if isinstance(self.images, Pixels):
            return self.images.encoder.dim
        return 1 if self.images is None else self.images.shape[1]

    @property
    def fingerprint(self) -> str:
        """Changes whenever an image, a place or anything else changes."""
        digest = hashlib.sha256(self.key.encode())
        codes = [c.codes for c in (self.label, self.group) if c is not None]
        times = [] if self.time is None else [self.time.numpy()]
        for column in (self.lonlat.numpy(), *times, *codes):
            digest.update(repr((column.shape, column.dtype.str)).encode())
            digest.update(np.ascontiguousarray(column).data)
        if self.label is not None:
            digest.update(repr(self.label.names).encode())
        return digest.hexdigest()

    def take(self, rows: Integers) -> Examples:
        """Some rows."""
        index = torch.from_numpy(rows)
        images = self.images
        return replace(
            self,
            images=images.take(rows)
            if isinstance(images, Features | Pixels)
            else _of(images, index),
            lonlat=self.lonlat[index],
            time=_of(self.time, index),
            label=None if self.label is None else self.label.take(rows),
            group=None if self.group is None else self.group.take(rows),
            split=None if self.split is None else self.split.take(rows),
        )

    def at_most(self, per_class: int | None, seed: int) -> Examples:
        """At most so many rows of each class, drawn by the seed; rows without a class are left out.

        Raises:
            DataError: there are no classes.
        """
        if per_class is None:
            return self
        if self.label is None:
            raise DataError("per_class needs labels, but the source has none")
        return self.take(few_shot(self.label.codes, per_class=per_class, seed=seed))


def _of(column: Tensor | None, index: Tensor) -> Tensor | None:
    return None if column is None else column[index]


def is_features(source: str) -> bool:
    """Whether a source is a folder that ``geocsp features`` wrote."""
    folder = Path(source).expanduser()
    return (folder / ABOUT_FILE).is_file() and (folder / TABLE_FILE).is_file()


def rows_to_train_on(table: GeoTable) -> tuple[Integers, tuple[str, ...]]:
    """Rows with a place, of the split "train" if there is one, and a note on those left out.

    Raises:
        DataError: there are none.
    """
    placed = np.isfinite(table.lonlat).all(axis=1)
    kept = placed.copy()
    if table.split is not None and TRAIN in table.split.names:
        kept &= table.split.codes == table.split.names.index(TRAIN)
    if not kept.any():
        raise DataError(f"none of {len(table):,} rows has a place and is of split {TRAIN!r}")
    counts = {
        "without a place": int((~placed).sum()),
        "of other splits": int((placed & ~kept).sum()),
    }
    notes = tuple(f"rows {why}, which are not trained on: {n:,}" for why, n in counts.items() if n)
    return np.flatnonzero(kept), notes


def published_examples(source: str, table: GeoTable) -> Examples | None:
    """Training rows with the image features that CSP published beside a data set.

    Args:
        source: the data set and its folder, such as "inat2018:folder".
        table: what was read from it.

    Returns:
        None where there are no such features.

    Raises:
        DataError: the features are damaged, or of another list of images.
    """
    dataset, _, place = source.partition(":")
    root = Path(place).expanduser()
    network = Network.PRETRAINED
    if not isinstance(table.images, ListedImages) or not (root / network.value).is_dir():
        return None
    found = read_features(root, dataset, TRAIN, table, network)
    part = table.part(TRAIN)
    rows, notes = rows_to_train_on(part)
    others = len(table) - len(part)
    notes += (f"rows of other splits, which are not trained on: {others:,}",) if others else ()
    images = torch.from_numpy(np.array(found, dtype=np.float32))
    examples = Examples.of(part, images, key=_sample(found))
    kept = examples if len(rows) == len(part) else examples.take(rows)
    return replace(kept, notes=(*kept.notes, *notes))


def _sample(features: NDArray[Any]) -> str:
    """A digest of some rows: all of them would take as long as an epoch."""
    digest = hashlib.sha256(repr((features.shape, features.dtype.str)).encode())
    digest.update(np.ascontiguousarray(features[:: max(1, len(features) // _SAMPLED)]).data)
    return digest.hexdigest()
