"""Compare two run folders: what was changed, and whether the results differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.evaluate.resampling import RunValues
from geocsp.evaluate.results import Measure, Regime, Results, Run
from geocsp.evaluate.significance import compare, holm

ALPHA = 0.05
"""Corrected p below which a difference is called significant."""
ABSENT = "(absent)"
"""Stands for a value that one of the folders does not have."""
_COMPARED_FACTS = ("settings", "seed", "versions", "data", "rows", "baseline")
_Key = tuple[str, str, str, Regime]
_Runs = Mapping[tuple[str, int], Run]


@dataclass(frozen=True)
class Change:
    """A value that differs.

    Attributes:
        path: where it stands, as "rows.best.preset.location.name".
        before: in the first folder, :data:`ABSENT` if it has none.
        after: in the second.
    """

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Difference:
    """Top-1 of one cell in two folders.

    Attributes:
        task: name of the task.
        shot: amount of labels.
        row: short name of the row.
        regime: what pre-training has seen.
        measure: whose answers are judged.
        before: Top-1 in the first folder, over the runs compared.
        after: in the second.
        difference: after minus before.
        low: lower end of its 95 % interval, None without one.
        high: upper end.
        p: before correction, None if it could not be tested.
        p_corrected: after Holm's correction over all differences that were tested.
        significant: whether that is below :data:`ALPHA`.
        paired: whether the very same test rows and seeds stand on both sides.
        runs: runs compared in the first and in the second folder.
    """

    task: str
    shot: str
    row: str
    regime: Regime
    measure: Measure
    before: float
    after: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None
    significant: bool
    paired: bool
    runs: tuple[int, int]


@dataclass(frozen=True)
class FolderComparison:
    """Two run folders side by side.

    Attributes:
        changes: what differs in settings, versions, data and rows.
        differences: results of all cells that both have, where they can be compared.
        only_first: cells that the second lacks, as text.
        only_second: cells that the first lacks.
        notes: what has to be known to read the differences, and what cannot be compared.
    """

    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    notes: tuple[str, ...]


def compare_runs(
    first: Results, second: Results, measures: Sequence[Measure] = tuple(Measure)
) -> FolderComparison:
    """Compare the results of two evaluations.

    Where both folders hold the same data and a cell has runs of the same fold and seed on the same
    test rows, the difference is paired row by row, with an interval from a bootstrap of spatial
    blocks and seeds. Otherwise it is that of two means over runs, tested after Welch (Biometrika,
    1947), which is far less sharp. Tasks whose classes differ are not compared.

    Args:
        first: the evaluation before a change.
        second: the one after it.
        measures: whose answers to compare.

    Raises:
        DataError: a file of answers is missing or damaged.
    """
    cells, others = _cells(first), _cells(second)
    same_data = _fingerprint(first) == _fingerprint(second)
    notes = (
        []
        if same_data
        else [
            "The data differ: results are compared by their means over runs, and a difference may "
            "come from the data."
        ]
    )
    unlike = _unlike_tasks(first, second)
    notes += [
        f"Task {task} has other classes in each folder and is not compared." for task in unlike
    ]
    found = [
        _difference(first, second, key, measure, cells[key], others[key], same_data)
        for key in cells
        if key in others and key[0] not in unlike
        for measure in measures
        if _has(cells[key], measure) and _has(others[key], measure)
    ]
    unpaired = sum(not one.paired for one in found)
    if same_data and unpaired:
        notes.append(
            f"{unpaired} of {len(found)} differences are unpaired, because folds, seeds or test "
            "rows differ."
        )
    return FolderComparison(
        changes=tuple(
            changes(
                {k: first.facts.get(k) for k in _COMPARED_FACTS},
                {k: second.facts.get(k) for k in _COMPARED_FACTS},
            )
        ),
        differences=tuple(_corrected(found)),
        only_first=_only(cells, others),
        only_second=_only(others, cells),
        notes=tuple(notes),
    )


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Values that differ between two nested dictionaries.

    Lists of different lengths, or with anything but dictionaries in them, are one value.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            inner = f"{path}.{name}" if path else str(name)
            yield from changes(before.get(name, ABSENT), after.get(name, ABSENT), inner)
    elif _is_table(before) and _is_table(after) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from changes(one, other, f"{path}[{number}]")
    elif before != after:
        yield Change(path, before, after)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _cells(results: Results) -> dict[_Key, dict[tuple[str, int], Run]]:
    cells: dict[_Key, dict[tuple[str, int], Run]] = defaultdict(dict)
    for run in results.runs:
        cells[run.task, run.shot, run.row, run.regime][run.fold, run.seed] = run
    return dict(cells)


def _has(runs: _Runs, measure: Measure) -> bool:
    return all(measure in run.measures for run in runs.values())


def _fingerprint(results: Results) -> Any:
    return results.facts["data"]["fingerprint"]


def _unlike_tasks(first: Results, second: Results) -> list[str]:
    tasks, others = first.facts["data"]["tasks"], second.facts["data"]["tasks"]
    return [task for task in tasks if task in others and tasks[task] != others[task]]


def _only(cells: Mapping[_Key, Any], others: Mapping[_Key, Any]) -> tuple[str, ...]:
    """Rows that are missing altogether, and cells that are missing of others."""
    rows = {key[2] for key in others}
    missing = [key for key in cells if key not in others]
    whole = dict.fromkeys(key[2] for key in missing if key[2] not in rows)
    single = [
        f"{row} ({task}, {shot}, {regime})" for task, shot, row, regime in missing if row in rows
    ]
    return (*(f"row {row}" for row in whole), *single)


def _difference(
    first: Results,
    second: Results,
    key: _Key,
    measure: Measure,
    runs: _Runs,
    others: _Runs,
    same_data: bool,
) -> Difference:
    shared = _same_rows(first, second, runs, others) if same_data else []
    if shared:
        return _paired(first, second, key, measure, runs, others, shared)
    return _unpaired(first, second, key, measure, runs, others)


def _same_rows(
    first: Results, second: Results, runs: _Runs, others: _Runs
) -> list[tuple[str, int]]:
    """Folds and seeds that both have, tested on the same rows in the same order."""
    return [
        key
        for key in runs
        if key in others
        and np.array_equal(first.test_rows(runs[key]), second.test_rows(others[key]))
    ]


def _paired(
    first: Results,
    second: Results,
    key: _Key,
    measure: Measure,
    runs: _Runs,
    others: _Runs,
    shared: list[tuple[str, int]],
) -> Difference:
    before = {run: _hits(first, runs[run], measure) for run in shared}
    after = {run: _hits(second, others[run], measure) for run in shared}
    found = compare(
        [
            RunValues(after[run] - before[run], first.block[first.test_rows(runs[run])], *run)
            for run in shared
        ]
    )
    return Difference(
        *key,
        measure,
        before=_mean(before),
        after=_mean(after),
        difference=found.difference,
        low=found.low,
        high=found.high,
        p=found.p,
        p_corrected=None,
        significant=False,
        paired=True,
        runs=(len(shared), len(shared)),
    )


def _mean(hits: Mapping[tuple[str, int], NDArray[np.float64]]) -> float:
    """Mean over folds of means over seeds."""
    folds: dict[str, list[float]] = defaultdict(list)
    for (fold, _), values in hits.items():
        folds[fold].append(float(values.mean()))
    return float(np.mean([np.mean(values) for values in folds.values()]))


def _unpaired(
    first: Results, second: Results, key: _Key, measure: Measure, runs: _Runs, others: _Runs
) -> Difference:
    before = np.array([_hits(first, run, measure).mean() for run in runs.values()])
    after = np.array([_hits(second, run, measure).mean() for run in others.values()])
    low, high, p = _welch(after, before)
    return Difference(
        *key,
        measure,
        before=float(before.mean()),
        after=float(after.mean()),
        difference=float(after.mean() - before.mean()),
        low=low,
        high=high,
        p=p,
        p_corrected=None,
        significant=False,
        paired=False,
        runs=(len(before), len(after)),
    )


def _welch(
    after: NDArray[np.float64], before: NDArray[np.float64]
) -> tuple[float | None, float | None, float | None]:
    """Interval and p of a difference of means, None where single runs or no spread forbid it."""
    if min(len(after), len(before)) < 2 or not (np.ptp(after) or np.ptp(before)):
        return None, None, None
    from scipy import stats

    test = stats.ttest_ind(after, before, equal_var=False)
    interval = test.confidence_interval(0.95)
    return float(interval.low), float(interval.high), float(test.pvalue)


def _hits(results: Results, run: Run, measure: Measure) -> NDArray[np.float64]:
    return results.answers(run, measure).hits(1)


def _corrected(found: list[Difference]) -> Iterator[Difference]:
    tested = [one.p for one in found if one.p is not None]
    corrected = iter(holm(tested) if tested else ())
    for one in found:
        if one.p is None:
            yield one
        else:
            p = float(next(corrected))
            yield replace(one, p_corrected=p, significant=p < ALPHA)
