"""How well each class is recognised, by every row of the table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from geocsp.evaluate.breakdown import wilson
from geocsp.evaluate.report.pooled import Pooled, Shown, runs_of
from geocsp.evaluate.report.view import Estimate, Side, View

_LEVEL = 0.975


@dataclass(frozen=True)
class Confusion:
    """What images of a class are taken for.

    Attributes:
        number: of the class said.
        share: of the answers.
    """

    number: int
    share: float


def support(found: Pooled) -> NDArray[np.int64]:
    """Test images of each class, ``(Q,)``, each counted once."""
    _, first = np.unique(found.rows, return_index=True)
    return np.bincount(found.answers.labels[first], minlength=found.answers.classes)


def most_frequent(counts: NDArray[np.int64], most: int) -> list[int]:
    """Numbers of the classes with most test images, at most so many, none without any."""
    order = np.argsort(-counts, kind="stable")[:most]
    return [int(number) for number in order if counts[number]]


def accuracies(
    view: View, shown: Shown, side: Side, classes: list[int]
) -> dict[int, Estimate] | None:
    """Top-1 of a row and measure on the test images of some classes, None if it was not tested.

    Means are over test images and seeds; intervals take spatial blocks as the units that were
    sampled, see :func:`share_of`. Files of answers are read one after the other.
    """
    results = view.results
    chosen = np.full(len(results.facts["data"]["tasks"][shown.task]), -1)
    chosen[classes] = np.arange(len(classes))
    keys, hits = [], []
    for run in runs_of(view, shown, side):
        said = results.answers(run, side.measure)
        mine = chosen[said.labels]
        block = results.block[results.test_rows(run)]
        keys.append(np.stack([mine, block], axis=1)[mine >= 0])
        hits.append(said.hits(1)[mine >= 0])
    if not keys:
        return None
    pairs, member = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    member = member.reshape(-1)
    sums = np.bincount(member, weights=np.concatenate(hits), minlength=len(pairs))
    counts = np.bincount(member, minlength=len(pairs))
    found = {}
    for index, number in enumerate(classes):
        mine = pairs[:, 0] == index
        if mine.any():
            found[number] = share_of(sums[mine], counts[mine])
    return found


def share_of(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> Estimate:
    """Share of hits with a 95 % interval, from clusters that were sampled whole.

    Wilson's interval (Journal of the American Statistical Association, 1927) for as many
    independent rows as say as much as these clusters do: the variance is that of a ratio of
    cluster totals, the number is corrected for few clusters (Korn and Graubard, Survey
    Methodology, 1998). Where all rows are right, or none is, each cluster counts as one row. One
    cluster alone says nothing of others: the interval is all of [0, 1].

    Args:
        sums: ``(B,)`` hits in each cluster.
        counts: ``(B,)`` rows in each, at least 1.
    """
    total, clusters = float(counts.sum()), len(counts)
    share = float(sums.sum()) / total
    if clusters == 1:
        return Estimate(share, 0.0, 1.0)
    spread = ((sums - share * counts) ** 2).sum() * clusters / (clusters - 1) / total**2
    rows = min(total, share * (1 - share) / spread) if spread > 0 else float(clusters)
    rows *= (stats.norm.ppf(_LEVEL) / stats.t.ppf(_LEVEL, clusters - 1)) ** 2
    return Estimate(share, *wilson(share, max(1, math.floor(rows))))


def confusions(found: Pooled, number: int, most: int) -> list[Confusion]:
    """What the test images of a class are taken for, most often first; -1 stands for no answer."""
    said = found.answers.predicted[found.answers.labels == number]
    classes, counts = np.unique(said, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [Confusion(int(classes[n]), float(counts[n] / len(said))) for n in order]
