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
    corrected by Holm's method over all rows and amounts of labels of a family: those of one task,
    measure and regime that are compared with the same row, or with their own image alone.

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
    together: dict[tuple[str, str], list[_Key]] = defaultdict(list)
    for key in cells:
        together[key[:2]].append(key)
    for keys in together.values():
        hits = {key: _Hits(results, [results.runs[n] for n in cells[key]]) for key in keys}
        for key in keys:
            yield from _of_cell(key, hits, settings)


def _of_cell(key: _Key, hits: Mapping[_Key, _Hits], settings: EvaluateSettings) -> Iterator[Cell]:
    """A cell against the rows to refer to, and against its own image alone.

    The same measure on both sides, but for a row of images alone, which all measures are held to.
    """
    row, own = key[2], hits[key]
    for reference in settings.references:
        other = _other(hits, key, reference)
        if other is None or reference == row:
            continue
        for measure in own.measures:
            against = Measure.IMAGE if other.measures == (Measure.IMAGE,) else measure
            if against in other.measures:
                yield _pair(key, measure, reference, against, own, other, settings)
    for measure in own.measures:
        if measure in (Measure.PRODUCT, Measure.FUSED, Measure.GUARDED):
            yield _pair(key, measure, row, Measure.IMAGE, own, own, settings)


def _other(hits: Mapping[_Key, _Hits], key: _Key, row: str) -> _Hits | None:
    """A row to compare with: pre-trained the same way, or without pre-training."""
    task, shot, _, regime = key
    same = (hits.get((task, shot, row, kind)) for kind in (regime, Regime.NONE, Regime.INDUCTIVE))
    return next((found for found in same if found is not None), None)


class _Hits:
    """Which test rows of the runs of a cell are right, read once for each measure."""

    def __init__(self, results: Results, runs: Sequence[Run]) -> None:
        self._results, self.measures = results, runs[0].measures
        self.runs = {(run.fold, run.seed): run for run in runs}
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
