"""The report of an evaluation: one page that needs no other file, and a page per class."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from geocsp.errors import DataError
from geocsp.evaluate.report.behaviour import (
    behaviours,
    certainty_pictures,
    slice_grids,
    slice_pictures,
)
from geocsp.evaluate.report.bias import bias_grid
from geocsp.evaluate.report.class_pages import (
    CLASSES_FOLDER,
    class_pages,
    classes_of,
    index_grid,
)
from geocsp.evaluate.report.curves import efficiency_curves
from geocsp.evaluate.report.drawing import house_style
from geocsp.evaluate.report.findings import chosen, harm, winners
from geocsp.evaluate.report.grids import cost_grid, metric_grids, tests_grid, times_grid
from geocsp.evaluate.report.metrics import Metric, counted
from geocsp.evaluate.report.tables import MARKS_LEGEND, brackets, tables_of
from geocsp.evaluate.report.view import REGIME_TITLES, View
from geocsp.evaluate.report.wins import win_maps
from geocsp.evaluate.results import Regime, Results
from geocsp.files import write_atomically

REPORT_FILE = "report.html"
_APART = ("table", "comparisons")


@dataclass(frozen=True)
class ReportSettings:
    """What the figures of a report show.

    Attributes:
        row: short name of the row that reliability plots, maps, breakdowns and class pages are
            about; if left out, the best one with the chosen amount of labels.
        shot: amount of labels that they are about; if left out, the one in the middle.
        class_pages: at most so many classes of a task get a page, the most frequent ones.
    """

    row: str | None = None
    shot: str | None = None
    class_pages: int = 60

    def __post_init__(self) -> None:
        if self.class_pages < 0:
            raise DataError(f"class_pages must be at least 0, got {self.class_pages}")


def write_report(
    results: Results, folder: Path, settings: ReportSettings = ReportSettings()
) -> Path:
    """Write ``report.html`` and ``classes/<task>/<number>.html``.

    Every page holds its figures and refers to no other file but the other pages. The same results
    give the same bytes with the same libraries. Answers are read from their files one row and
    measure at a time.

    Args:
        results: an evaluation that has ended.
        folder: where to, made if needed.
        settings: what the figures show.

    Returns:
        The report.

    Raises:
        DataError: a file of answers is missing or damaged, or the settings name a row or an amount
            of labels that there is not.
    """
    view = View(results)
    _check(view, settings)
    folder.mkdir(parents=True, exist_ok=True)
    with house_style():
        names = _folder_names(view.tasks)
        tasks = [
            _task(view, task, names[task], folder, settings, f"task-{number}")
            for number, task in enumerate(view.tasks)
        ]
    return write_atomically(folder / REPORT_FILE, _render("report.html.j2", _context(view, tasks)))


def _check(view: View, settings: ReportSettings) -> None:
    """Raise a DataError for a row or an amount of labels that there is not."""
    shots = list(dict.fromkeys(shot for task in view.tasks for shot in view.shots(task)))
    for kind, name, names in (
        ("row", settings.row, list(view.rows)),
        ("shot", settings.shot, shots),
    ):
        if name is not None and name not in names:
            raise DataError(f"there is no {kind} {name!r}; there are {', '.join(names)}")


def _context(view: View, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    facts = view.results.facts
    data = facts["data"]
    base = "none" if view.baseline is None else view.rows[view.baseline]
    runs = view.results.runs
    seeds, folds = {run.seed for run in runs}, {run.fold for run in runs}
    return {
        "title": f"Evaluation on {data['name']}",
        "about": f"{counted(len(view.results.block), 'image')}, "
        f"{counted(len(view.rows), 'row')}, {counted(len(folds), 'test fold')}, "
        f"{counted(len(seeds), 'seed')}, {counted(len(runs), 'run')}. Data "
        f"{data['fingerprint']}, geocsp {facts['versions'].get('geocsp', 'of unknown version')}.",
        "tasks": tasks,
        "marks_legend": MARKS_LEGEND,
        "baseline": f"Baseline row: {base}.",
        "cost": cost_grid(view),
        "times": times_grid(view),
        "tests": tests_grid(view),
        "details": json.dumps({k: v for k, v in facts.items() if k not in _APART}, indent=1),
    }


def _task(
    view: View, task: str, name: str, folder: Path, settings: ReportSettings, anchor: str
) -> dict[str, Any]:
    """All that the page shows of a task; writes the pages of its classes."""
    regimes = view.regimes(task)
    shown = chosen(view, task, regimes[0], settings.row, settings.shot)
    found = behaviours(view, shown)
    classes = classes_of(view, shown, settings.class_pages)
    index = None
    if classes is not None and classes.numbers:
        index = index_grid(view, shown, classes, name)
        pages = folder / CLASSES_FOLDER / name
        pages.mkdir(parents=True, exist_ok=True)
        for path, content in class_pages(view, shown, classes, pages, _render):
            write_atomically(path, content)
    return {
        "name": task,
        "anchor": anchor,
        "classes": f"{len(view.results.facts['data']['tasks'][task]):,}",
        "regimes": [_regime(view, task, regime) for regime in regimes],
        "certainty": list(certainty_pictures(view, shown, found)),
        "places": [*win_maps(view, shown), *slice_pictures(view, shown, found)],
        "breakdowns": list(slice_grids(shown, view.rows[shown.row], found)),
        "bias": bias_grid(view, shown),
        "index": index,
    }


def _regime(view: View, task: str, regime: Regime) -> dict[str, Any]:
    return {
        "title": "" if regime is Regime.NONE else REGIME_TITLES[regime],
        "findings": [*winners(view, task, regime), *harm(view, task, regime)],
        "tables": [t for t in tables_of(view) if t.task == task and t.regime is regime],
        "curves": list(efficiency_curves(view, task, regime)),
        "metrics": list(metric_grids(view, task, regime)),
    }


def _folder_names(tasks: Sequence[str]) -> dict[str, str]:
    """A folder for each task: its name, if that is safe on all systems and no other's, too."""
    names: dict[str, str] = {}
    for number, task in enumerate(tasks):
        safe = re.sub(r"[^A-Za-z0-9_-]+", "-", task).strip("-")
        taken = {name.casefold() for name in names.values()}
        plain = safe == task and safe.casefold() not in taken
        names[task] = safe if plain else f"{safe or 'task'}-{number}"
    return names


def _render(template: str, context: dict[str, Any]) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("geocsp.evaluate.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals |= {"percent": Metric.TOP1.text, "brackets": brackets}
    return environment.get_template(template).render(context).encode("utf-8", "backslashreplace")
