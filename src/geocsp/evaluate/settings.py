"""How much to evaluate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from geocsp.errors import DataError
from geocsp.evaluate.fewshot import SHOTS, Shot
from geocsp.evaluate.rows import IMAGE_ALIGNED, IMAGE_ONLY, OURS, PAPER_MC, SUPERVISED

ROWS = (
    IMAGE_ONLY,
    IMAGE_ALIGNED,
    "frequency",
    "grid-histogram",
    "kde",
    "knn",
    "sup-wrap",
    SUPERVISED,
    "mse",
    "csp-nce-bld",
    "csp-mc-b",
    "csp-mc-bl",
    "csp-mc-bd",
    PAPER_MC,
    OURS,
)
"""Rows of a table where none are named: all of the paper's, priors without weights, and ours."""


@dataclass(frozen=True)
class EvaluateSettings:
    """How much to evaluate.

    Attributes:
        rows: short names of the rows of the table, see :func:`geocsp.evaluate.rows.rows_named`.
        shots: how many labels, one setting after the other.
        seeds: number of seeds: labelled subsets, initial weights and batches.
        seed: first seed.
        transductive: also report pre-training on all images, those of the test rows included.
        image_penalty: L2 penalty of every linear head on raw image features.
        baseline: short name of the row that relative gains refer to.
        references: short names of the rows that every other row is compared with.
        draws: bootstrap draws of an interval.
        subsets: run folder of an evaluation whose labelled rows are used again; None: published
            ones where there are some, or else drawn by the seed.
    """

    rows: tuple[str, ...] = ROWS
    shots: tuple[Shot, ...] = SHOTS
    seeds: int = 5
    seed: int = 0
    transductive: bool = False
    image_penalty: float = 100.0
    baseline: str = SUPERVISED
    references: tuple[str, ...] = (IMAGE_ONLY, SUPERVISED, PAPER_MC, OURS)
    draws: int = 10_000
    subsets: Path | None = None

    def __post_init__(self) -> None:
        if len({shot.label for shot in self.shots}) < len(self.shots) or not self.shots:
            raise DataError("shots must name at least one amount of labels, and none twice")
        if self.seeds < 1 or self.seed < 0 or self.draws < 100:
            raise DataError(
                f"need seeds >= 1, a first seed >= 0 and draws >= 100, got {self.seeds}, "
                f"{self.seed} and {self.draws}"
            )
        if len(set(self.rows)) < len(self.rows) or not self.rows:
            raise DataError("rows must name at least one row, and none twice")
        if len(set(self.references)) < len(self.references):
            raise DataError("references must name no row twice")
        if not 0 < self.image_penalty < math.inf:
            raise DataError(
                f"image_penalty must be positive and finite, got {self.image_penalty:g}"
            )

    @property
    def every_seed(self) -> range:
        """All seeds."""
        return range(self.seed, self.seed + self.seeds)
