"""What is left of the errors if a classifier may keep silent where it is unsure?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Error among the k most confident of N rows, for k = 1 to N.

    Attributes:
        coverage: ``(N,)`` k / N.
        risk: ``(N,)`` share of wrong answers among them, in [0, 1].
        area: AURC, the mean risk.
        excess: E-AURC, how much the area is above that of the best order of the rows, in which
            all right answers come before all wrong ones.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    area: float
    excess: float

    def accuracy_at(self, coverage: float) -> float:
        """Share of right answers among the most confident rows, at least this share of all.

        Raises:
            DataError: a coverage that is not in (0, 1].
        """
        if not 0 < coverage <= 1:
            raise DataError(f"coverage must be in (0, 1], got {coverage:g}")
        rows = math.ceil(coverage * len(self.risk) * (1 - 1e-12))
        return float(1.0 - self.risk[rows - 1])


def risk_coverage(answers: Answers) -> RiskCoverage:
    """Risk by coverage, after Geifman, Uziel and El-Yaniv (ICLR 2019).

    Rows of equal confidence come in any order, and so do classes of equal probability: risks are
    means over all orders. A row without an answer is wrong with confidence 1 / Q. The best area is
    that of these rows, not the approximation for many rows in the paper.

    Raises:
        DataError: no rows.
    """
    if len(answers) == 0:
        raise DataError("no test rows: risk and coverage need at least one")
    errors = 1.0 - answers.hits(1)
    _, group = np.unique(-answers.confidence, return_inverse=True)
    mean = np.bincount(group, weights=errors) / np.bincount(group)
    risk = _running_mean(mean[np.sort(group)])
    area, best = float(risk.mean()), float(_running_mean(np.sort(errors)).mean())
    coverage = np.arange(1, len(errors) + 1) / len(errors)
    return RiskCoverage(coverage, risk, area, max(0.0, area - best))


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = values.cumsum() / np.arange(1, len(values) + 1)
    return mean
