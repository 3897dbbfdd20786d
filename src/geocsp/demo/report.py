"""The demo's report: one HTML file with everything in it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jinja2

from geocsp.data.named.bluemarble import ATTRIBUTIONS, BlueMarble
from geocsp.demo.figures import write_figures
from geocsp.evaluate.results import Measure, Regime, Results
from geocsp.evaluate.rows import OURS, PAPER_MC, SUPERVISED
from geocsp.files import write_atomically

REPORT_FILE = "report.html"
TITLES = {
    Measure.LOCATION: "location alone",
    Measure.PRODUCT: "plain product",
    Measure.FUSED: "calibrated product",
    Measure.GUARDED: "guarded product",
}
"""What the measures are called for people."""
COMPARED = ((OURS, SUPERVISED), (OURS, PAPER_MC), (PAPER_MC, SUPERVISED), (OURS, OURS))
"""Pairs of rows whose differences are shown; a row against itself is against its image alone."""
Cell = dict[str, Any]


def write_report(results: Results, data: BlueMarble, output: Path) -> Path:
    """Draw the figures and write ``report.html``, which needs no other file."""
    figures, facts = write_figures(results, data, output), results.facts
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
    regimes = {cell["regime"] for cell in facts["table"]} - {Regime.NONE}
    page = environment.get_template("report.html.j2").render(
        facts=facts,
        tasks=facts["data"]["tasks"],
        tables=[
            (task, regime, TITLES[measure], table_of(facts, task, regime, measure))
            for task in facts["data"]["tasks"]
            for regime in sorted(regimes)
            for measure in TITLES
        ],
        shots=facts["data"]["shots"],
        images=images,
        differences={task: differences_of(facts, task) for task in facts["data"]["tasks"]},
        attributions=ATTRIBUTIONS,
        details=json.dumps(
            {k: facts[k] for k in ("settings", "versions", "data", "rows")}, indent=1
        ),
    )
    return write_atomically(output / REPORT_FILE, page.encode())


def table_of(
    facts: dict[str, Any], task: str, regime: str, measure: Measure
) -> list[tuple[str, list[Cell | None]]]:
    """Rows of one table: a label and, for every shot, mean, half interval and relative gain."""
    cells = {
        (cell["row"], cell["shot"]): cell
        for cell in facts["table"]
        if cell["task"] == task and cell["regime"] in (regime, Regime.NONE)
    }
    shots = facts["data"]["shots"]
    found = [
        (row["label"], [_value(cells, name, shot, measure, facts["baseline"]) for shot in shots])
        for name, row in facts["rows"].items()
    ]
    return [(label, values) for label, values in found if any(values)]


def _value(
    cells: dict[tuple[str, str], Cell], row: str, shot: str, measure: Measure, baseline: str
) -> Cell | None:
    cell = cells.get((row, shot), {})
    alone = measure not in cell and measure is not Measure.LOCATION
    metrics = cell.get(Measure.IMAGE if alone else measure)
    if metrics is None:
        return None
    top1, base = metrics["top1"], cells.get((baseline, shot), {}).get(measure)
    gain = None if alone or base is None else top1["mean"] / base["top1"]["mean"] - 1
    return {"mean": top1["mean"], "half_width": top1["mean"] - top1["low"], "relative_gain": gain}


def differences_of(facts: dict[str, Any], task: str) -> list[tuple[str, list[Cell]]]:
    """Paired differences after inductive pre-training: a label, and one comparison per shot."""
    found = {
        (c["first"], c["second"], c["measure"], c["shot"]): c
        for c in facts["comparisons"]
        if c["task"] == task and c["regime"] == Regime.INDUCTIVE
    }
    labels = {name: row["label"] for name, row in facts["rows"].items()}
    lines = []
    for first, second in COMPARED:
        against = "its image alone" if first == second else labels[second]
        for measure, title in TITLES.items():
            keys = [(first, second, measure, shot) for shot in facts["data"]["shots"]]
            if all(key in found for key in keys):
                cells = [found[key] for key in keys]
                lines.append((f"{labels[first]} − {against}, {title}", cells))
    return lines


def text_rows(facts: dict[str, Any], task: str, regime: str, shot: str) -> list[list[str]]:
    """One line of text per row: label, then percent, interval and gain of every measure."""
    position = facts["data"]["shots"].index(shot)
    tables = [dict(table_of(facts, task, regime, measure)) for measure in TITLES]
    labels = [row["label"] for row in facts["rows"].values()]
    return [
        [label, *(_cell(table[label][position] if label in table else None) for table in tables)]
        for label in labels
    ]


def _cell(value: Cell | None) -> str:
    if value is None:
        return "-"
    text = f"{100 * value['mean']:.1f}"
    text += f" ±{100 * value['half_width']:.1f}" if value["half_width"] else ""
    return text + (f" ({100 * value['relative_gain']:+.0f}%)" if value["relative_gain"] else "")
