"""Would the difference be there with other places and other seeds?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geocsp.errors import DataError
from geocsp.evaluate.resampling import Floats, RunValues, Table

__all__ = [
    "Comparison",
    "Estimate",
    "RunValues",
    "benjamini_hochberg",
    "bootstrap_interval",
    "compare",
    "holm",
]


@dataclass(frozen=True)
class Estimate:
    """A mean over folds and its 95 % interval.

    Attributes:
        mean: over folds of means over seeds of means over test rows.
        low: lower end of the interval.
        high: upper end.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """One row of a table against another.

    Attributes:
        difference: mean over folds of means over seeds of mean differences.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided; at most 0.05 where 0 is not within the interval.
        folds_won: folds with a mean difference above 0.
        folds: all of them.
    """

    difference: float
    low: float
    high: float
    p: float
    folds_won: int
    folds: int


def compare(runs: Sequence[RunValues], draws: int = 10_000, seed: int = 0) -> Comparison:
    """Is a mean difference other than 0? Of two rows of a table, paired by fold and seed.

    Spatial blocks are drawn within each fold; seeds are drawn for all folds together, because runs
    of one seed may have more in common than others. Of n blocks or seeds n - 1 are drawn, which
    makes the variance unbiased (Rao and Wu, JASA 1988), and deviations are stretched at random to
    those of a Student distribution, which is what makes intervals over few seeds wide enough; its
    degrees of freedom are Satterthwaite's (Biometrics Bulletin 1946) for the variances between
    seeds and between blocks. The interval is symmetric: the difference plus and minus the deviation
    that 5 % of the draws reach. ``p`` is (1 + number of draws that deviate as much as the
    difference itself) / (1 + draws).

    Chance in how single blocks and single seeds go together counts more than once, so that
    intervals are too wide rather than too narrow. Folds are taken as they are. A block in several
    folds is drawn in each for itself.

    With one seed the interval says nothing of other seeds; with one block in a fold, nothing of
    other places there. With one seed and one block in every fold there is nothing to draw: the
    interval is the difference alone and p is 1.

    Args:
        runs: values are differences, the first row's minus the second's; no two runs are of one
            fold and seed. A fold may lack some of the seeds: in a draw with none of its seeds it
            is left out.
        draws: number of bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: no runs, two of one fold and seed, runs of a fold that are tested in different
            blocks, or fewer than 100 draws.
    """
    table = Table.of(runs)
    deviations = table.deviations(draws, seed)
    mean, half, p = table.mean, _half_width(deviations), 1.0
    if table.can_draw:
        p = (1 + int((deviations >= abs(mean)).sum())) / (1 + draws)
    won = sum(fold.mean > 0 for fold in table.folds)
    return Comparison(mean, mean - half, mean + half, p, won, len(table.folds))


def bootstrap_interval(runs: Sequence[RunValues], draws: int = 10_000, seed: int = 0) -> Estimate:
    """Mean of one row of a table over its runs, with an interval as of :func:`compare`.

    Args:
        runs: values are those of the row, such as whether its answers are right.
        draws: number of bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: as there.
    """
    table = Table.of(runs)
    half = _half_width(table.deviations(draws, seed))
    return Estimate(table.mean, table.mean - half, table.mean + half)


def holm(p: Sequence[float]) -> Floats:
    """p-values corrected so that all claims together are wrong as rarely as one (Holm, 1979).

    Args:
        p: K values of K tests, which may depend on each other.

    Returns:
        ``(K,)`` in the order given, at most 1.

    Raises:
        DataError: a value that is not in [0, 1].
    """
    values = _checked(p)
    order = np.argsort(values)
    raised = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(raised).clip(max=1.0)
    return corrected


def benjamini_hochberg(p: Sequence[float]) -> Floats:
    """p-values corrected for the share of false claims (Benjamini and Hochberg, JRSS B 1995).

    Args:
        p: K values of K tests that are independent or depend positively on each other.

    Returns:
        ``(K,)`` in the order given, at most 1.

    Raises:
        DataError: a value that is not in [0, 1].
    """
    values = _checked(p)
    order = np.argsort(values)[::-1]
    raised = values[order] * len(values) / np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum.accumulate(raised).clip(max=1.0)
    return corrected


def _checked(p: Sequence[float]) -> Floats:
    values = np.asarray(p, dtype=np.float64)
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        number = int(wrong.argmax())
        raise DataError(f"p-value {number} is {values[number]}, not in [0, 1]")
    return values


def _half_width(deviations: Floats) -> float:
    """The deviation that at most 5 % of the draws, counted as in p, reach."""
    rank = len(deviations) - (1 + len(deviations)) // 20
    return float(np.partition(deviations, rank)[rank])
