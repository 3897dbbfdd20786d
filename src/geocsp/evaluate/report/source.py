"""What a figure was made from, in one line below it."""

from __future__ import annotations

from collections.abc import Sequence

from geocsp.evaluate.report.view import REGIME_TITLES, View
from geocsp.evaluate.results import Regime, Run

_MOST = 6
"""So many names stand in a line."""
_FINGERPRINT = 12


def settings_line(
    view: View,
    task: str,
    regime: Regime,
    *,
    shots: Sequence[str],
    rows: Sequence[str] = (),
) -> str:
    """Task, rows, amounts of labels, folds, seeds, data and version.

    Args:
        view: the evaluation.
        task: name of the task.
        regime: what pre-training has seen.
        shots: amounts of labels.
        rows: short names of the rows, all if left out.
    """
    runs = [
        run
        for run in view.results.runs
        if run.task == task
        and run.shot in shots
        and run.regime in (regime, Regime.NONE)
        and run.row in (rows or view.rows)
    ]
    data = view.results.facts["data"]
    return "; ".join(
        (
            f"task {task}",
            f"{_noun('row', rows)} {_listed([view.rows[row] for row in rows])}"
            if rows
            else "all rows",
            REGIME_TITLES[regime],
            f"labels {_listed(shots)}",
            f"{_noun('fold', _folds(runs))} {_listed(_folds(runs))}",
            f"{_noun('seed', _seeds(runs))} {_listed(_seeds(runs))}",
            f"data {data['name']} {str(data['fingerprint'])[:_FINGERPRINT]}",
            f"geocsp {view.results.facts['versions'].get('geocsp', 'of unknown version')}",
        )
    )


def _folds(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.fold for run in runs))


def _seeds(runs: Sequence[Run]) -> list[str]:
    return [str(seed) for seed in sorted({run.seed for run in runs})]


def _noun(noun: str, names: Sequence[str]) -> str:
    return noun if len(names) == 1 else f"{noun}s"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _MOST:
        return ", ".join(names)
    return f"{', '.join(names[: _MOST - 1])} and {len(names) - _MOST + 1} more"
