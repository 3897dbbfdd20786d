"""Label-efficiency curves: accuracy against the number of labels."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes

from geocsp.evaluate.report.drawing import (
    MARKERS,
    PALETTE,
    Picture,
    data_uri,
    panel,
    shortened,
)
from geocsp.evaluate.report.source import settings_line
from geocsp.evaluate.report.tables import Line, ResultTable, table_of
from geocsp.evaluate.report.view import MEASURE_TITLES, REGIME_TITLES, View, kind_of
from geocsp.evaluate.results import Measure, Regime

_FAINT = ("#6b7280", "#a3a9b3", "#4b5563")


def efficiency_curves(view: View, task: str, regime: Regime) -> Iterator[Picture]:
    """A figure for each measure and each way to count labels that has two amounts or more."""
    kinds = list(dict.fromkeys(kind_of(shot) for shot in view.shots(task)))
    for measure in view.measures(task):
        if measure is Measure.IMAGE and len(view.measures(task)) > 1:
            continue  # rows of images alone are in the other figures
        table = table_of(view, task, regime, measure)
        for kind in kinds:
            columns = [n for n, shot in enumerate(table.shots) if kind_of(shot) == kind]
            if len(columns) > 1 and table.lines:
                yield _curves(view, table, sorted(columns, key=lambda n: table.labels[n]))


def _curves(view: View, table: ResultTable, columns: list[int]) -> Picture:
    figure, axes = panel(5.6, 3.6 + 0.1 * len(table.lines))
    styles = row_styles(view, table.task)
    for line in table.lines:
        _curve(axes, table, line, columns, *styles[line.row])
    shots = [table.shots[n] for n in columns]
    labels = [table.labels[n] for n in columns]
    axes.set_xscale("log")
    axes.set_xticks(labels, [f"{s}\n{n:,.0f}" for s, n in zip(shots, labels, strict=True)])
    axes.minorticks_off()
    axes.set_xlabel("labelled images")
    axes.set_ylabel("Top-1, %")
    axes.set_title(f"{shortened(table.task)}: {MEASURE_TITLES[table.measure]}")
    figure.legend(loc="outside lower center", ncols=2)
    what = (
        f"Top-1 accuracy against the number of labelled images ({kind_of(shots[0])}), "
        f"{MEASURE_TITLES[table.measure]}"
    )
    return Picture(
        data_uri(figure),
        alt=f"{what}. {_in_words(table, columns)}",
        caption=f"{what}; {REGIME_TITLES[table.regime]}. Bands are 95 % intervals; dashed rows "
        "look at the image alone.",
        settings=settings_line(view, table.task, table.regime, shots=shots),
    )


def _curve(
    axes: Axes,
    table: ResultTable,
    line: Line,
    columns: list[int],
    colour: str,
    marker: str,
    dashes: str,
) -> None:
    found = [(table.labels[n], entry) for n in columns if (entry := line.entries[n]) is not None]
    x = [labels for labels, _ in found]
    y = [100 * entry.mean for _, entry in found]
    low = [100 * (e.mean if e.low is None else e.low) for _, e in found]
    high = [100 * (e.mean if e.high is None else e.high) for _, e in found]
    axes.plot(
        x, y, dashes, color=colour, marker=marker, markersize=4, label=shortened(line.label, 30)
    )
    axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)


def _in_words(table: ResultTable, columns: list[int]) -> str:
    first, last = columns[0], columns[-1]
    return "; ".join(
        f"{line.label}: {100 * one.mean:.1f} % at {table.shots[first]}, "
        f"{100 * two.mean:.1f} % at {table.shots[last]}"
        for line in table.lines
        if (one := line.entries[first]) is not None and (two := line.entries[last]) is not None
    )


def row_styles(view: View, task: str) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and dashes of every row, the same in all figures."""
    styles, places, images = {}, 0, 0
    for row in view.rows:
        if view.has_place(task, row):
            turn, colour = divmod(places, len(PALETTE))
            styles[row] = (PALETTE[colour], MARKERS[(colour + 3 * turn) % len(MARKERS)], "-")
            places += 1
        else:
            styles[row] = (_FAINT[images % len(_FAINT)], MARKERS[images % len(MARKERS)], "--")
            images += 1
    return styles
