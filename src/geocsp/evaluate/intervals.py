"""Means with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval.

    Attributes:
        mean: the mean.
        half_width: half the interval, None for a single value.
        count: number of values.
    """

    mean: float
    half_width: float | None
    count: int

    @property
    def low(self) -> float:
        """Lower end; the mean itself for a single value."""
        return self.mean - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        """Upper end; the mean itself for a single value."""
        return self.mean + (self.half_width or 0.0)


def interval(values: Sequence[float]) -> Interval:
    """Mean and Student-t 95 % interval of repeated runs.

    Pass the differences of paired runs for a paired interval. Runs are taken as independent;
    runs that share a test fold are not quite, so an interval over folds and seeds tells how far
    another draw of seeds and folds would move the mean, and not how other places would.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    mean, count = math.fsum(values) / len(values), len(values)
    if count == 1:
        return Interval(mean, None, 1)
    from scipy import stats  # takes as long to import as all else of the library

    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, float(stats.t.ppf(0.975, count - 1)) * error, count)
