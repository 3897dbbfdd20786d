"""Evaluate on Blue Marble tiles, which need no download."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from geocsp.data.named.bluemarble import BlueMarble, bluemarble
from geocsp.data.named.labels import task_names
from geocsp.data.table import Categories
from geocsp.errors import DataError
from geocsp.evaluate.benchmark import Benchmark, Fold, Source
from geocsp.images import EfficientNetLite0, extract
from geocsp.images.augmented import augmented_features
from geocsp.train.augment import Augmentation

VALIDATION_FOLD = 0
"""Fold of blocks that settings were tuned on and that calibrations are fitted on; never tested."""
TEST_FOLDS = (1, 2, 3, 4)
"""All other folds."""


@dataclass(frozen=True)
class BlueMarbleSource(Source):
    """Blue Marble tiles in 5 degree blocks; no pixel is in two of the sets of a fold.

    Attributes:
        points: number of tiles.
        pixels: width that tiles are resized to for the image encoder.
        tasks: classification tasks, of "landcover" and "climate".
        test_folds: folds of 5 degree blocks to test on, of 1, 2, 3 and 4.
        views: randomly changed copies of every tile, for image-only pre-training; 0: none.
        cache: folder of the feature caches; by default the user's.
    """

    points: int = 20_000
    pixels: int = 64
    tasks: tuple[str, ...] = ("landcover", "climate")
    test_folds: tuple[int, ...] = TEST_FOLDS
    views: int = 0
    cache: Path | None = None

    def __post_init__(self) -> None:
        if set(self.test_folds) - set(TEST_FOLDS) or not self.test_folds:
            raise DataError(f"test folds must be some of {TEST_FOLDS}, got {self.test_folds}")
        if self.points < 2_000:
            raise DataError(
                f"need at least 2000 points for every class to occur, got {self.points}"
            )
        if set(self.tasks) - set(task_names()) or not self.tasks:
            raise DataError(f"tasks must be some of {task_names()}, got {self.tasks}")
        if self.views not in (0, *range(2, 33)) or self.pixels < 1:
            raise DataError(
                f"need no views or 2 to 32, and at least 1 pixel; got {self.views}, {self.pixels}"
            )
        for name in ("tasks", "test_folds"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise DataError(f"{name} must not name anything twice")

    def load(self) -> Benchmark:
        """The benchmark; the same one each time in a process."""
        return _load(self)

    def encoder(self) -> EfficientNetLite0:
        """The frozen image encoder."""
        return EfficientNetLite0(pixels=self.pixels)

    def data(self) -> BlueMarble:
        """The tiles."""
        return _data(self.points)


@cache
def _data(points: int) -> BlueMarble:
    return bluemarble(points)


@cache
def _load(source: BlueMarbleSource) -> Benchmark:
    data, encoder = source.data(), source.encoder()
    features = extract(encoder, data, cache=source.cache)
    tasks = {
        name: Categories(data.tasks[name].labels, data.tasks[name].class_names)
        for name in source.tasks
    }
    return Benchmark(
        "bluemarble",
        f"{data.fingerprint} {encoder.fingerprint()}",
        features,
        data.lonlat,
        tasks,
        {str(fold): _fold(data, fold) for fold in source.test_folds},
        _views(source, data, encoder),
    )


def _views(source: BlueMarbleSource, data: BlueMarble, encoder: EfficientNetLite0) -> Tensor | None:
    if source.views == 0:
        return None
    change = Augmentation(overhead=True)
    return augmented_features(encoder, data, change, source.views, seed=0, cache=source.cache)


def _fold(data: BlueMarble, test: int) -> Fold:
    split = data.split(test, VALIDATION_FOLD)
    dropped = split.dropped_train + split.dropped_validation
    return Fold(split.train, split.validation, split.test, dropped)
