"""The answers of all runs of a cell together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocsp.evaluate.answers import Answers, join
from geocsp.evaluate.report.view import Side, View
from geocsp.evaluate.results import Measure, Regime, Run


@dataclass(frozen=True)
class Shown:
    """What the figures of a task are about.

    Attributes:
        task: name of the task.
        regime: what pre-training has seen.
        shot: amount of labels.
        row: short name of the row.
        measure: the one that stands for the row.
    """

    task: str
    regime: Regime
    shot: str
    row: str
    measure: Measure

    @property
    def side(self) -> Side:
        """Row and measure."""
        return Side(self.row, self.measure)


@dataclass(frozen=True, eq=False)
class Pooled:
    """Answers to T test rows, of all folds and seeds one after the other.

    Attributes:
        answers: what was said.
        rows: ``(T,)`` numbers of the rows in the data set, each as often as it was tested.
    """

    answers: Answers
    rows: NDArray[np.int64]


def runs_of(view: View, shown: Shown, side: Side) -> list[Run]:
    """Runs of a side that have answers of its measure."""
    runs = view.runs(shown.task, shown.shot, side.row, shown.regime)
    return [run for run in runs if side.measure in run.measures]


def pooled(view: View, shown: Shown, side: Side) -> Pooled | None:
    """The answers of a side, None if it has no runs."""
    results, runs = view.results, runs_of(view, shown, side)
    if not runs:
        return None
    return Pooled(
        join([results.answers(run, side.measure) for run in runs]),
        np.concatenate([results.test_rows(run) for run in runs]),
    )


def mean_hits(
    view: View, shown: Shown, side: Side
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Share of runs in which each row of the data set was right, and in how many it was tested.

    Returns:
        ``(N,)`` in [0, 1], NaN where a row was never tested, and ``(N,)`` counts.
    """
    results = view.results
    hits, tested = np.zeros(len(results.block)), np.zeros(len(results.block), dtype=np.int64)
    for run in runs_of(view, shown, side):
        rows = results.test_rows(run)
        np.add.at(hits, rows, results.answers(run, side.measure).hits(1))
        np.add.at(tested, rows, 1)
    return np.divide(hits, tested, out=np.full(len(hits), np.nan), where=tested > 0), tested
