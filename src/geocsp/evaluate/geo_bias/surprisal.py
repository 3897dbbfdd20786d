"""How surprising it is that marked points lie as they do: spatial self-information.

Moran's I without its scale, the sum over neighbours i and j of (x_i - m) (x_j - m), is nearly
normal over all ways to deal the same marks out to the same points (Wang et al., "Probing the
information theoretical roots of spatial dependence measures", COSIT 2024). The self-information is
minus the logarithm of the probability of a sum at least as far from the mean.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from geocsp.data.table import Floats

_SMALLEST = 1e-256
"""Added to the probability, as published: no score is above 589.46."""
_SLACK = 1.0
"""Added to the standard deviation, as published, which is 0 for a point that is alone."""

LIMIT = -math.log(_SMALLEST)
"""The highest score there is, nats."""


def self_information(moran: float, marks: Floats, counts: Floats, neighbours: int) -> float:
    """Minus the log-probability of a sum as far from the mean as this one, nats, in [0, LIMIT].

    Args:
        moran: the sum over all points and their neighbours.
        marks: ``(Q,)`` values, that of background points first.
        counts: ``(Q,)`` how many points have each.
        neighbours: of every point.
    """
    from scipy.special import log_ndtr

    occurring = counts > 0
    mean, deviation = moments(marks[occurring], counts[occurring], neighbours)
    tails = math.log(2) + log_ndtr(-abs(moran - mean) / deviation)
    return max(0.0, -float(np.logaddexp(tails, math.log(_SMALLEST))))


def moments(marks: Floats, counts: Floats, neighbours: int) -> tuple[float, float]:
    """Mean and standard deviation of the sum if the marks are dealt out at random.

    As in the authors' package, which has 4 where there is ``neighbours`` here. The first mark is
    that of the background, of which there are the most points; pairs with it are left out of the
    variance, since their number follows from that of the others. The coefficient of two different
    marks there is not symmetric; that is kept.

    Args:
        marks: ``(Q,)`` different values.
        counts: ``(Q,)`` how many points have each, at least 1.
        neighbours: of every point.
    """
    total = counts.sum()
    expected = float((marks * counts).sum() / total)
    centred = marks - expected
    pairs = neighbours * np.outer(counts, counts) / total
    same = neighbours * counts * (counts - 1) / total - 1
    np.fill_diagonal(pairs, same)
    mean = float((np.outer(centred, centred) * pairs).sum())

    rare, rare_counts, base = marks[1:], counts[1:], marks[0]
    larger = np.maximum.outer(rare_counts, rare_counts)
    spread = neighbours * np.outer(rare_counts, rare_counts) / total
    spread = spread * (1 - neighbours * larger / total)
    np.fill_diagonal(spread, _same_spread(rare_counts, total, neighbours))
    shifted, offset = rare - expected, base - expected
    factors = np.outer(shifted, shifted) - 2 * offset * shifted[:, None] + offset**2
    np.fill_diagonal(factors, (rare - base) ** 2)
    return mean, math.sqrt(float((spread * factors**2).sum())) + _SLACK


def _same_spread(counts: Floats, total: float, neighbours: int) -> NDArray[np.float64]:
    """Variance of the number of neighbours with the same mark."""
    share = neighbours * (2 * counts - 1) / (3 * total)
    spread: NDArray[np.float64] = 2 * (counts - 1) * neighbours * counts / total * (1 - share)
    return spread
