"""Evaluate on anything that :func:`geocsp.read` reads, and on CSP's published files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from geocsp.data.named.csp_files import (
    Network,
    has_few_shot_rows,
    has_predictions,
    read_features,
    read_few_shot_rows,
    read_predictions,
)
from geocsp.data.named.listed import ListedImages
from geocsp.data.read import read
from geocsp.data.splitters.base import Integers
from geocsp.data.table import GeoTable
from geocsp.errors import DataError
from geocsp.evaluate.benchmark import Benchmark, Fold, Published, Source
from geocsp.evaluate.fewshot import Shot
from geocsp.evaluate.sources.divisions import PUBLISHED, Division, tested_split
from geocsp.images.features import open_features

TASK = "label"
"""Name of the one task of a table."""


@dataclass(frozen=True)
class FeaturesSource(Source):
    """Image features that ``geocsp features`` wrote, with the labels in their table.

    Attributes:
        folder: the features.
        division: how rows are divided.
    """

    folder: Path
    division: Division = field(default_factory=Division)

    def load(self) -> Benchmark:
        """The benchmark; the same one each time in a process.

        Raises:
            DataError: there are no features or no labels, or a part of a fold is empty.
        """
        return _features(self)


@cache
def _features(source: FeaturesSource) -> Benchmark:
    features = open_features(source.folder)
    table = features.table
    about = features.cache.about() or {}
    made_by = " ".join(str(about.get(name)) for name in ("encoder_fingerprint", "precision"))
    folds = source.division.divide(table)
    name = "/".join(source.folder.resolve().parts[-2:])
    images, blocks = features.read(), source.division.blocks
    return _benchmark(name, table, images, made_by, folds, block_degrees=blocks)


@dataclass(frozen=True)
class PublishedSource(Source):
    """A data set with what CSP published beside it: image features, predictions and subsets.

    The published predictions P(y | I) are of the validation split alone, which is tested; a random
    part of it only calibrates.

    Attributes:
        dataset: name of the layout, such as "inat2018".
        root: its folder.
        shots: amounts of labels, whose published files are looked for.
        calibrate: share of the published validation split that only calibrates.
        seed: which ones.
    """

    dataset: str
    root: Path
    shots: tuple[Shot, ...]
    calibrate: float = 0.1
    seed: int = 0

    def load(self) -> Benchmark:
        """The benchmark; the same one each time in a process.

        Raises:
            DataError: a file is missing, damaged, or of another list of images.
        """
        return _published(self)


def has_published(source: str, table: GeoTable) -> bool:
    """Whether CSP's features lie beside a data set."""
    root = Path(source.partition(":")[2]).expanduser()
    return isinstance(table.images, ListedImages) and (root / Network.PRETRAINED.value).is_dir()


@cache
def _published(source: PublishedSource) -> Benchmark:
    table = read(f"{source.dataset}:{source.root}", keep_unplaced=True)
    test = tested_split(table)
    if table.split is None or test is None:
        raise DataError(f"{source.root} has no training and validation split")
    features = np.empty((len(table), 0), dtype=np.float32)
    for split in dict.fromkeys(("train", test)):
        rows = _of(table, split)
        found = read_features(source.root, source.dataset, split, table, Network.PRETRAINED)
        if features.shape[1] == 0:
            features = np.zeros((len(table), found.shape[1]), dtype=np.float32)
        features[rows] = found
    tested = _of(table, test)
    chosen = np.random.default_rng(source.seed).random(len(tested)) < source.calibrate
    placed = np.asarray(np.isfinite(table.lonlat).all(axis=1))
    train = _of(table, "train")
    fold = Fold(train[placed[train]], tested[chosen], tested[~chosen])
    beside = {shot.label: _published_with(source, table, test, shot) for shot in source.shots}
    published = {shot: there for shot, there in beside.items() if there is not None}
    folds, images = {PUBLISHED: fold}, torch.from_numpy(features)
    return _benchmark(source.dataset, table, images, _digest(features, published), folds, published)


def _published_with(
    source: PublishedSource, table: GeoTable, test: str, shot: Shot
) -> Published | None:
    """What is there for an amount of labels; file names have three decimals of the share."""
    if shot.ratio is None or not math.isclose(shot.ratio, round(shot.ratio, 3)):
        return None
    ratio = None if shot.ratio == 1.0 else shot.ratio
    root = source.root
    subset: Integers | None = None
    probabilities: sparse.csr_array | None = None
    if ratio is not None and has_few_shot_rows(root, ratio):
        subset = read_few_shot_rows(root, table, ratio)
    if has_predictions(root, source.dataset, test, ratio):
        found = read_predictions(root, source.dataset, test, table, ratio)
        probabilities = _spread(sparse.coo_array(found), _of(table, test), len(table))
    return None if probabilities is None and subset is None else Published(probabilities, subset)


def _digest(features: NDArray[np.float32], published: Mapping[str, Published]) -> str:
    """Changes whenever published features, predictions or subsets do."""
    digest = hashlib.sha256(np.ascontiguousarray(features).data)
    for shot, there in published.items():
        digest.update(shot.encode())
        if there.subset is not None:
            digest.update(np.ascontiguousarray(there.subset).data)
        if there.probabilities is not None:
            digest.update(np.ascontiguousarray(there.probabilities.data).data)
            digest.update(np.ascontiguousarray(there.probabilities.indices).data)
    return digest.hexdigest()


def _spread(found: sparse.coo_array, rows: Integers, count: int) -> sparse.csr_array:
    """Row i of a matrix as row ``rows[i]`` of one with so many rows."""
    entries = (found.data.astype(np.float32), (rows[found.coords[0]], found.coords[1]))
    return sparse.csr_array(entries, shape=(count, found.shape[1]))


def _of(table: GeoTable, split: str) -> Integers:
    assert table.split is not None
    return np.flatnonzero(table.split.codes == table.split.names.index(split))


def _benchmark(
    name: str,
    table: GeoTable,
    features: torch.Tensor,
    made_by: str,
    folds: Mapping[str, Fold],
    published: Mapping[str, Published] | None = None,
    block_degrees: float = 5.0,
) -> Benchmark:
    if table.label is None or len(table.label.names) < 2:
        raise DataError(f"{name} needs labels of at least two classes, in sub-folders or a column")
    return Benchmark(
        name,
        f"{table.fingerprint} {made_by}",
        features,
        table.lonlat,
        {TASK: table.label},
        folds,
        block_degrees=block_degrees,
        published=published or {},
    )
