"""How large a demo to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geocsp.errors import DataError
from geocsp.evaluate.fewshot import SHOTS, Shot
from geocsp.evaluate.rows import IMAGE_ALIGNED, IMAGE_ONLY, OURS, PAPER_MC, SUPERVISED
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.sources.bluemarble import TEST_FOLDS, BlueMarbleSource

ROWS = (IMAGE_ONLY, IMAGE_ALIGNED, "sup-wrap", SUPERVISED, "mse", "csp-nce-bld", PAPER_MC, OURS)
"""Short names of the rows of the demo's table."""


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
        if min(self.epochs, self.pixels) < 1:
            raise DataError(
                f"epochs and pixels must be at least 1, got {self.epochs} and {self.pixels}"
            )
        self.source(None)
        self.evaluation()

    def source(self, cache: Path | None) -> BlueMarbleSource:
        """The data.

        Raises:
            DataError: too few points, or tasks or folds that there are not.
        """
        return BlueMarbleSource(self.points, self.pixels, self.tasks, self.test_folds, cache=cache)

    def evaluation(self) -> EvaluateSettings:
        """How much to evaluate.

        Raises:
            DataError: no shots, a shot twice, or seeds out of range.
        """
        return EvaluateSettings(
            rows=ROWS,
            shots=self.shots,
            seeds=self.seeds,
            seed=self.seed,
            transductive=self.transductive,
        )

    @classmethod
    def quick(cls) -> DemoSettings:
        """A look in about a minute: one fold, one seed, few tiles."""
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
