"""Are answers given with 80 % confidence right in 80 % of cases?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers


class Bins(StrEnum):
    """How confidences are put into bins.

    ``WIDTH``: all of the same width, as in Guo et al. (ICML 2017); ``MASS``: as many rows in each
    as in the next, as in Nixon et al. (CVPR workshops 2019).
    """

    WIDTH = "width"
    MASS = "mass"


@dataclass(frozen=True, eq=False)
class Reliability:
    """Accuracy against confidence in K bins.

    Attributes:
        edges: ``(K + 1,)`` confidences between which the bins lie; a lower edge belongs to the
            bin, an upper one only to the last.
        count: ``(K,)`` int64 rows.
        confidence: ``(K,)`` mean, NaN for an empty bin.
        accuracy: ``(K,)`` Top-1 in [0, 1], NaN for an empty bin.
    """

    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def gaps(self) -> NDArray[np.float64]:
        """Distance of accuracy from confidence, ``(K,)``, 0 for an empty bin."""
        return np.nan_to_num(np.abs(self.accuracy - self.confidence))

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap over all rows (Naeini et al., AAAI 2015)."""
        return float(self.gaps @ self.count / self.count.sum())

    @property
    def max_error(self) -> float:
        """Maximum calibration error: largest gap of a bin."""
        return float(self.gaps.max())


def reliability(answers: Answers, bins: int = 15, kind: Bins = Bins.WIDTH) -> Reliability:
    """Put the rows into bins of confidence.

    Of several classes with the highest probability each is as likely to be the answer, so answers
    that are all equal are perfectly calibrated. A row without an answer is wrong with confidence
    1 / Q. Rows of equal confidence are in one bin, so ``Bins.MASS`` may give fewer bins than asked
    for.

    Args:
        answers: of N rows.
        bins: number of bins.
        kind: of bins.

    Raises:
        DataError: no rows, or no bins.
    """
    if len(answers) == 0 or bins < 1:
        raise DataError(f"need rows and bins, got {len(answers)} rows and {bins} bins")
    confidence = answers.confidence.astype(np.float64)
    steps = np.linspace(0.0, 1.0, bins + 1)
    edges = steps if kind is Bins.WIDTH else _quantiles(confidence, steps)
    member = np.digitize(confidence, edges[1:-1])
    count, total, right = (
        np.bincount(member, weights=weights, minlength=len(edges) - 1)
        for weights in (None, confidence, answers.hits(1))
    )
    with np.errstate(invalid="ignore"):
        return Reliability(edges, count, total / count, right / count)


def _quantiles(values: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Different quantiles, at least two edges."""
    edges = np.unique(np.quantile(values, steps))
    return edges if len(edges) > 1 else np.repeat(edges, 2)
