"""Tables of a page beside those of Top-1: all metrics, time and size, all tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from geocsp.evaluate.report.metrics import NONE, Metric, points, seconds_text
from geocsp.evaluate.report.tables import table_of
from geocsp.evaluate.report.view import MEASURE_TITLES, REGIME_TITLES, Estimate, Side, View
from geocsp.evaluate.results import Measure, Regime


@dataclass(frozen=True)
class Value:
    """One cell with more than a text.

    Attributes:
        text: what it says.
        small: what stands below, as an interval.
        href: where it leads.
    """

    text: str
    small: str = ""
    href: str = ""


GridRow = tuple[str | Value, ...]
"""One row of a table; its first value is its heading."""


@dataclass(frozen=True)
class Grid:
    """A table of a page.

    Attributes:
        title: what it shows.
        heads: of the columns.
        rows: values; the first of each is its heading.
        texts: numbers of the columns that hold texts, which stand left.
        note: what has to be known to read it.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[GridRow, ...]
    texts: tuple[int, ...] = (0,)
    note: str = ""


def metric_grids(view: View, task: str, regime: Regime) -> Iterator[Grid]:
    """All metrics of all rows and amounts of labels, a table for each measure."""
    for measure in view.measures(task):
        lines = table_of(view, task, regime, measure).lines
        rows: list[GridRow] = [
            (label_value(view, line.row), shot, *_metrics(view, task, shot, side, regime))
            for shot in view.shots(task)
            for line in lines
            if view.estimate(task, shot, side := Side(line.row, line.measure), regime)
        ]
        if rows:
            title = f"{task}: {MEASURE_TITLES[measure]}, {REGIME_TITLES[regime]}"
            heads = ("row", "labels", *(metric.heading for metric in Metric))
            yield Grid(title, heads, tuple(rows), texts=(0, 1), note=_METRICS_NOTE)


_METRICS_NOTE = "Means over folds and seeds with 95 % intervals. Less is better for NLL and ECE."


def label_value(view: View, row: str) -> Value:
    """The label of a row, and its short name if that is another."""
    label = view.rows[row]
    return Value(label, "" if label == row else row)


def _metrics(view: View, task: str, shot: str, side: Side, regime: Regime) -> tuple[Value, ...]:
    found = [(metric, view.estimate(task, shot, side, regime, metric)) for metric in Metric]
    return tuple(
        estimate_value(estimate, metric) if estimate else Value(NONE) for metric, estimate in found
    )


def estimate_value(found: Estimate, metric: Metric = Metric.TOP1) -> Value:
    """A mean with its interval."""
    return Value(metric.text(found.mean), metric.range(found.low, found.high))


def cost_grid(view: View) -> Grid:
    """Wall time and number of weights of every row, means over all that it was trained for."""
    rows: list[GridRow] = []
    for row in view.rows:
        cells = view.cells_of(row)
        for regime in dict.fromkeys(cell["regime"] for cell in cells):
            mine = [cell for cell in cells if cell["regime"] == regime]
            rows.append(
                (
                    label_value(view, row),
                    REGIME_TITLES[Regime(regime)],
                    f"{max(cell['parameters'] for cell in mine):,.0f}",
                    seconds_text(_mean([cell["pretrain_seconds"] for cell in mine])),
                    seconds_text(_mean([cell["seconds"] for cell in mine])),
                )
            )
    return Grid(
        "Weights of the location prior, and wall time of one run",
        (
            "row",
            "pre-training",
            "weights",
            "time of pre-training",
            "time of fine-tuning and fusion",
        ),
        tuple(rows),
        texts=(0, 1),
        note="Pre-training is shared by all tasks and amounts of labels of a fold and seed.",
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def times_grid(view: View) -> Grid:
    """Wall time of the whole evaluation, by stage."""
    times = view.results.facts.get("times", {})
    rows: list[GridRow] = [
        (str(name), seconds_text(float(seconds))) for name, seconds in times.items()
    ]
    return Grid("Wall time of the evaluation", ("stage", "time"), tuple(rows))


def tests_grid(view: View) -> Grid:
    """All paired comparisons."""
    rows: list[GridRow] = []
    for record in view.results.facts.get("comparisons", []):
        first = Side(record["first"], Measure(record["measure"]))
        second = Side(record["second"], Measure(record["against"]))
        low, high, p = record.get("low"), record.get("high"), record.get("p_corrected")
        range_ = "" if low is None or high is None else f"{points(low)} to {points(high)}"
        sure = "yes" if record.get("significant") else "no"
        rows.append(
            (
                str(record["task"]),
                str(record["shot"]),
                view.name(first) if first.row in view.rows else first.row,
                view.name(second) if second.row in view.rows else second.row,
                str(record["regime"]),
                Value(points(record["difference"]), range_),
                NONE if p is None else f"{p:.2g}",
                sure if p is not None else "not tested",
                f"{record.get('folds_won', NONE)} of {record.get('folds', NONE)}",
            )
        )
    return Grid(
        "Differences in Top-1, percentage points",
        (
            "task",
            "labels",
            "first",
            "second",
            "pre-training",
            "difference",
            "p, corrected",
            "significant",
            "folds won",
        ),
        tuple(rows),
        texts=(0, 1, 2, 3, 4),
    )
