"""How large a demo to run."""

from __future__ import annotations

from dataclasses import dataclass

from geocsp.data.named.labels import task_names
from geocsp.errors import DataError
from geocsp.evaluate import SHOTS, Shot

VALIDATION_FOLD = 0
"""Fold of blocks that settings were tuned on and that calibrations are fitted on; never tested."""
TEST_FOLDS = (1, 2, 3, 4)
"""All other folds."""


@dataclass(frozen=True)
class DemoSettings:
    """How large a demo to run.

    Attributes:
        points: number of Blue Marble tiles.
        pixels: width that tiles are resized to for the image encoder.
        tasks: classification tasks, of "landcover" and "climate".
        test_folds: folds of 5 degree blocks to test on, of 1, 2, 3 and 4.
        seeds: number of seeds: labelled subsets, initial weights and batches.
        seed: first seed.
        epochs: passes of pre-training over the tiles.
        shots: how many labels, one setting after the other.
        transductive: also report pre-training on all tiles, those of the test fold included.
    """

    points: int = 8_000
    pixels: int = 64
    tasks: tuple[str, ...] = ("landcover",)
    test_folds: tuple[int, ...] = (1, 2, 3)
    seeds: int = 1
    seed: int = 0
    epochs: int = 30
    shots: tuple[Shot, ...] = SHOTS
    transductive: bool = True

    def __post_init__(self) -> None:
        wrong = set(self.test_folds) - set(TEST_FOLDS)
        if wrong or not self.test_folds:
            raise DataError(f"test folds must be some of {TEST_FOLDS}, got {self.test_folds}")
        if self.points < 2_000:
            raise DataError(
                f"need at least 2000 points for every class to occur, got {self.points}"
            )
        unknown = set(self.tasks) - set(task_names())
        if unknown or not self.tasks:
            raise DataError(f"tasks must be some of {task_names()}, got {self.tasks}")
        for name in ("tasks", "test_folds", "shots"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise DataError(f"{name} must not name anything twice")
        if min(self.seeds, self.epochs, self.pixels, len(self.shots)) < 1 or self.seed < 0:
            raise DataError("seeds, epochs, pixels and shots must be at least one, the seed >= 0")

    @classmethod
    def quick(cls) -> DemoSettings:
        """A look in under a minute: one fold, one seed, few tiles."""
        return cls(
            points=4_000,
            test_folds=(1,),
            seeds=1,
            epochs=30,
            shots=(Shot(per_class=3), Shot(ratio=0.05), Shot(ratio=1.0)),
            transductive=False,
        )

    @classmethod
    def full(cls) -> DemoSettings:
        """Every fold, five seeds, both tasks: the published table."""
        return cls(points=20_000, tasks=("landcover", "climate"), test_folds=TEST_FOLDS, seeds=5)
