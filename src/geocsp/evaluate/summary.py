"""From single runs to the table: means with intervals, and paired comparisons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.evaluate.intervals import interval
from geocsp.evaluate.results import Measure, Regime, Results, Run
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.significance import RunValues, compare, holm

Cell = dict[str, Any]
Metrics = Mapping[str, Mapping[str, float]]
_Key = tuple[str, str, str, Regime]
ALPHA = 0.05
"""Corrected p below which a difference is called significant."""


def summarise(
    results: Results, metrics: Sequence[Metrics], settings: EvaluateSettings
) -> tuple[list[Cell], list[Cell]]:
    """Cells of the table, and comparisons of Top-1, as results.json holds them.

    Intervals of cells are Student's over folds and seeds. Comparisons are paired: the same test
    rows and seeds on both sides, intervals from a bootstrap of spatial blocks and seeds, p
    corrected by Holm's method within each task, measure and regime.

    Args:
        results: runs with their answers on disk.
        metrics: of each run, by measure and name.
        settings: which rows the others are compared with.
    """
    cells: dict[_Key, list[int]] = defaultdict(list)
    for number, run in enumerate(results.runs):
        cells[run.task, run.shot, run.row, run.regime].append(number)
    table = [
        _cell(key, [results.runs[n] for n in numbers], [metrics[n] for n in numbers])
        for key, numbers in cells.items()
    ]
    comparisons = list(_comparisons(results, cells, settings))
    _correct(comparisons)
    return table, comparisons


def _cell(key: _Key, runs: Sequence[Run], metrics: Sequence[Metrics]) -> Cell:
    cell: Cell = dict(zip(("task", "shot", "row", "regime"), key, strict=True))
    for name in ("labels", "parameters", "seconds", "pretrain_seconds"):
        cell[name] = float(np.mean([getattr(run, name) for run in runs]))
    for measure in runs[0].measures:
        cell[measure] = {
            name: _interval([values[measure][name] for values in metrics])
            for name in metrics[0][measure]
        }
    return cell


def _interval(values: list[float]) -> dict[str, float]:
    found = interval(values)
    return {"mean": found.mean, "low": found.low, "high": found.high, "runs": found.count}


def _comparisons(
    results: Results, cells: Mapping[_Key, Sequence[int]], settings: EvaluateSettings
) -> Iterator[Cell]:
    for key, numbers in cells.items():
        task, shot, row, regime = key
        runs = {(r.fold, r.seed): r for r in (results.runs[n] for n in numbers)}
        measures = next(iter(runs.values())).measures
        hits = _Hits(results, runs)
        for reference in settings.references:
            other = _other(cells, task, shot, reference, regime)
            if other is None or reference == row:
                continue
            others = _Hits(results, {(r.fold, r.seed): r for r in (results.runs[n] for n in other)})
            for measure in measures:
                if measure in others.measures:
                    yield _pair(key, measure, reference, measure, hits, others, settings)
        for measure in measures:
            if measure in (Measure.PRODUCT, Measure.FUSED, Measure.GUARDED):
                yield _pair(key, measure, row, Measure.IMAGE, hits, hits, settings)


def _other(
    cells: Mapping[_Key, Sequence[int]], task: str, shot: str, row: str, regime: Regime
) -> Sequence[int] | None:
    """Runs of a row to compare with: pre-trained the same way, or without pre-training."""
    same = (cells.get((task, shot, row, kind)) for kind in (regime, Regime.NONE, Regime.INDUCTIVE))
    return next((numbers for numbers in same if numbers is not None), None)


class _Hits:
    """Which test rows of some runs are right, read once for each measure."""

    def __init__(self, results: Results, runs: Mapping[tuple[str, int], Run]) -> None:
        self._results, self.runs = results, runs
        self.measures = next(iter(runs.values())).measures
        self._found: dict[Measure, dict[tuple[str, int], NDArray[np.float64]]] = {}

    def of(self, measure: Measure) -> Mapping[tuple[str, int], NDArray[np.float64]]:
        """Top-1 of every test row by fold and seed."""
        if measure not in self._found:
            self._found[measure] = {
                key: self._results.answers(run, measure).hits(1) for key, run in self.runs.items()
            }
        return self._found[measure]

    def blocks(self, key: tuple[str, int]) -> NDArray[np.int64]:
        """Spatial block of every test row."""
        return self._results.block[self._results.test_rows(self.runs[key])]


def _pair(
    key: _Key,
    measure: Measure,
    second: str,
    against: Measure,
    first: _Hits,
    others: _Hits,
    settings: EvaluateSettings,
) -> Cell:
    task, shot, row, regime = key
    one, two = first.of(measure), others.of(against)
    found = compare(
        [
            RunValues(one[run] - two[run], first.blocks(run), fold=run[0], seed=run[1])
            for run in one
            if run in two
        ],
        draws=settings.draws,
    )
    return {
        "task": task,
        "shot": shot,
        "regime": regime,
        "measure": measure,
        "first": row,
        "second": second,
        "against": against,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "folds_won": found.folds_won,
        "folds": found.folds,
    }


def _correct(comparisons: list[Cell]) -> None:
    """Add corrected p and whether a difference is significant, in place."""
    families: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in comparisons:
        family = (cell["task"], cell["measure"], cell["regime"], cell["against"], cell["second"])
        families[family if cell["first"] != cell["second"] else family[:4]].append(cell)
    for members in families.values():
        corrected = holm([cell["p"] for cell in members])
        for cell, p in zip(members, corrected, strict=True):
            cell["p_corrected"] = float(p)
            cell["significant"] = bool(p < ALPHA)
