"""Drawing spatial blocks and seeds again.

Test images near each other share their errors, and so do all test images of one trained model. So
whole spatial blocks and whole seeds are drawn, with replacement and independently (the pigeonhole
bootstrap of Owen, Annals of Applied Statistics 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError

Floats = NDArray[np.float64]

_WEIGHTS = 2**17
"""Weights of blocks drawn together: 1 MiB in float64, which stays in the cache."""
_FEWEST_DRAWS = 100


@dataclass(frozen=True, eq=False)
class RunValues:
    """What each of the T test rows of one run is worth.

    Attributes:
        values: ``(T,)`` whether the answer is right, or that minus the same of another row of the
            table.
        block: ``(T,)`` spatial block.
        fold: name of the test fold.
        seed: of the run.

    Raises:
        DataError: sizes that do not fit, no test rows, or a value that is not finite.
    """

    values: Floats
    block: NDArray[np.integer]
    fold: str
    seed: int

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.block.shape != self.values.shape or not len(self.values):
            raise DataError(
                f"{self.name}: values and blocks must be (T,), T at least 1, got "
                f"{self.values.shape} and {self.block.shape}"
            )
        finite = np.isfinite(self.values)
        if not finite.all():
            row = int((~finite).argmax())
            raise DataError(f"{self.name}: value {row} is {self.values[row]}, not finite")

    @property
    def name(self) -> str:
        """For messages."""
        return f"fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Fold:
    """Sums of a fold with B blocks; S seeds of all folds.

    Attributes:
        sums: ``(B, S)`` of the values.
        counts: ``(B, S)`` of the rows, 0 for seeds that the fold lacks.
    """

    sums: Floats
    counts: Floats

    @classmethod
    def empty(cls, blocks: int, seeds: int) -> Self:
        """Of no runs."""
        return cls(*np.zeros((2, blocks, seeds)))

    @property
    def size(self) -> int:
        """B."""
        return len(self.sums)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Seeds that the fold has, ``(S,)``."""
        return np.asarray((self.counts > 0).any(axis=0))

    @property
    def mean(self) -> float:
        """Mean over seeds of means over rows."""
        blocks, seeds = (np.ones((1, count)) for count in self.sums.shape)
        return float(self.means(blocks, seeds)[0])

    def means(self, blocks: Floats, seeds: Floats) -> Floats:
        """Mean over the drawn seeds of means over the rows of drawn blocks, ``(n,)``.

        NaN in a draw with none of its seeds.

        Args:
            blocks: ``(n, B)`` how often each is drawn.
            seeds: ``(n, S)`` how often each is drawn.
        """
        of_seeds = (blocks @ self.sums) / (blocks @ self.counts).clip(min=1)
        weights = seeds * self.present
        with np.errstate(invalid="ignore"):
            means: Floats = (weights * of_seeds).sum(1) / weights.sum(1)
        return means

    def influence(self) -> tuple[Floats, Floats]:
        """How much the mean leans on each block ``(B,)`` and each seed ``(S,)``; both sum to 0."""
        rows = self.counts.sum(0).clip(min=1)
        means, share = self.sums.sum(0) / rows, self.present / self.present.sum()
        of_blocks = (self.sums - means * self.counts) @ (share / rows)
        return of_blocks, share * (means - self.mean)


@dataclass(frozen=True, eq=False)
class Table:
    """Sums of all folds and the number S of seeds."""

    folds: Sequence[Fold]
    seeds: int

    @classmethod
    def of(cls, runs: Sequence[RunValues]) -> Self:
        """Sum up runs.

        Raises:
            DataError: no runs, two of one fold and seed, or runs of a fold in different blocks.
        """
        if not runs:
            raise DataError("no runs: an interval needs at least one")
        columns = {seed: column for column, seed in enumerate(sorted({run.seed for run in runs}))}
        blocks: dict[str, NDArray[np.integer]] = {}
        folds: dict[str, Fold] = {}
        for run in runs:
            found, member = np.unique(run.block, return_inverse=True)
            known = blocks.setdefault(run.fold, found)
            fold = folds.setdefault(run.fold, Fold.empty(len(found), len(columns)))
            column = columns[run.seed]
            if fold.present[column]:
                raise DataError(f"{run.name}: there are two such runs; give each once")
            if not np.array_equal(known, found):
                raise DataError(
                    f"{run.name}: tested in other blocks than the first run of this fold; test all "
                    "runs of a fold on the same rows"
                )
            fold.sums[:, column] = np.bincount(member, run.values)
            fold.counts[:, column] = np.bincount(member)
        return cls(list(folds.values()), len(columns))

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(np.mean([fold.mean for fold in self.folds]))

    @property
    def can_draw(self) -> bool:
        """Whether draws differ."""
        return self.seeds > 1 or any(fold.size > 1 for fold in self.folds)

    def deviations(self, draws: int, seed: int) -> Floats:
        """How far the means of all draws are from the mean itself, ``(draws,)``."""
        if draws < _FEWEST_DRAWS:
            raise DataError(f"draws must be at least {_FEWEST_DRAWS}, got {draws}")
        rng = np.random.default_rng(seed)
        size = max(1, _WEIGHTS // max(fold.size for fold in self.folds))
        drawn = np.empty(draws)
        for start in range(0, draws, size):
            count = min(size, draws - start)
            of_seeds = _drawn(rng, count, self.seeds)
            means = [fold.means(_drawn(rng, count, fold.size), of_seeds) for fold in self.folds]
            drawn[start : start + count] = np.nanmean(means, axis=0)
        freedom = self.freedom()
        stretch = 1.0 if np.isinf(freedom) else np.sqrt(freedom / rng.chisquare(freedom, draws))
        deviations: Floats = np.abs(drawn - self.mean) * stretch
        return deviations

    def freedom(self) -> float:
        """Degrees of freedom of the variance of the mean; infinite without variance."""
        of_blocks, of_seeds = zip(*(fold.influence() for fold in self.folds), strict=True)
        influences = [lean / len(self.folds) for lean in (*of_blocks, np.sum(of_seeds, axis=0))]
        parts = [
            (len(lean) / (len(lean) - 1) * float(lean @ lean), len(lean) - 1)
            for lean in influences
            if len(lean) > 1
        ]
        total = sum(variance for variance, _ in parts)
        spread = sum(variance**2 / freedom for variance, freedom in parts)
        return total**2 / spread if spread > 0 else np.inf


def _drawn(rng: np.random.Generator, draws: int, things: int) -> Floats:
    """How often each thing is drawn if all but one are, ``(draws, things)``; a single one once."""
    if things == 1:
        return np.ones((draws, 1))
    chosen = rng.integers(things, size=(draws, things - 1), dtype=np.int32)
    chosen += np.arange(draws, dtype=np.int32)[:, None] * things
    times = np.bincount(chosen.ravel(), minlength=draws * things)
    return times.reshape(draws, things).astype(np.float64)
