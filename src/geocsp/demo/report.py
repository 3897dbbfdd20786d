"""The demo's report: one HTML file with everything in it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jinja2

from geocsp.data.named.bluemarble import ATTRIBUTIONS
from geocsp.demo.figures import write_figures
from geocsp.demo.methods import IMAGE_LABELS
from geocsp.demo.summary import MEASURES, Record
from geocsp.demo.work import INDUCTIVE, SUPERVISED_ONLY, TRANSDUCTIVE, Workspace
from geocsp.files import write_atomically

REPORT_FILE = "report.html"
TITLES = {
    "location": "location alone",
    "product": "plain product",
    "fused": "calibrated product",
}
"""What the measures are called for people."""


def write_report(results: dict[str, Any], workspace: Workspace, output: Path) -> Path:
    """Draw the figures and write ``report.html``, which needs no other file."""
    figures = write_figures(results["table"], labels_of(results), workspace, output)
    images = {
        name: base64.b64encode((output / file).read_bytes()).decode()
        for name, file in figures.items()
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("geocsp.demo", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        results=results,
        tasks=workspace.settings.tasks,
        tables=[
            (task, regime, measure, table_of(results, task, regime, measure))
            for task in workspace.settings.tasks
            for regime in (INDUCTIVE, TRANSDUCTIVE)
            if regime == INDUCTIVE or workspace.settings.transductive
            for measure in MEASURES
        ],
        shots=[shot.label for shot in workspace.settings.shots],
        titles=TITLES,
        images=images,
        comparisons=results["comparisons"],
        attributions=ATTRIBUTIONS,
        details=json.dumps(
            {key: results[key] for key in ("settings", "versions", "data", "image", "methods")},
            indent=1,
        ),
    )
    return write_atomically(output / REPORT_FILE, page.encode())


def table_of(
    results: dict[str, Any], task: str, regime: str, measure: str
) -> list[tuple[str, list[Record | None]]]:
    """Rows of one table: a label and, for every shot, mean, interval and relative gain."""
    cells = {
        (row["method"], row["shot"]): row.get(measure, row.get("image"))
        for row in results["table"]
        if row["task"] == task
        and row["regime"] in (regime, SUPERVISED_ONLY)
        and not (row["method"] in IMAGE_LABELS and measure == "location")
    }
    labels = labels_of(results)
    shots = _shots(results, task)
    return [
        (label, [cells.get((name, shot)) for shot in shots])
        for name, label in labels.items()
        if any((name, shot) in cells for shot in shots)
    ]


def labels_of(results: dict[str, Any]) -> dict[str, str]:
    """Labels of all rows by name, images alone first."""
    methods = {name: method["label"] for name, method in results["methods"].items()}
    return IMAGE_LABELS | methods


def text_rows(results: dict[str, Any], task: str, regime: str, shot: str) -> list[list[str]]:
    """One line of text per method: label, then percent, interval and gain of every measure."""
    found: dict[str, list[str]] = {}
    for measure in MEASURES:
        rows = table_of(results, task, regime, measure)
        position = _shots(results, task).index(shot)
        for label in labels_of(results).values():
            cells = dict(rows).get(label)
            found.setdefault(label, [label]).append(_cell(cells[position] if cells else None))
    return list(found.values())


def _shots(results: dict[str, Any], task: str) -> list[str]:
    return list(dict.fromkeys(row["shot"] for row in results["table"] if row["task"] == task))


def _cell(value: Record | None) -> str:
    if value is None:
        return "-"
    half, gain = value["half_width"], value.get("relative_gain")
    text = f"{100 * value['mean']:.1f}"
    text += f" ±{100 * half:.1f}" if half is not None else ""
    return text + (f" ({100 * gain:+.0f}%)" if gain else "")
