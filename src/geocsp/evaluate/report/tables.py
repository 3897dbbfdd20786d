"""The tables of an evaluation, and the files ``table.md`` and ``table.tex``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geocsp.evaluate.report.metrics import NONE, Metric
from geocsp.evaluate.report.view import MEASURE_TITLES, REGIME_TITLES, Compared, Side, View
from geocsp.evaluate.results import Measure, Regime, Results
from geocsp.files import write_atomically

MARKDOWN_FILE = "table.md"
LATEX_FILE = "table.tex"
LEGEND = (
    "Mean over folds and seeds, in brackets its 95 % interval and the relative gain over the "
    "baseline row; the best of a column is bold. Marks stand for differences in paired tests that "
    "are significant after Holm's correction"
)
"""What the tables show, up to the meaning of the marks."""


@dataclass(frozen=True)
class Entry:
    """One cell of a table of Top-1 accuracy.

    Attributes:
        mean: over runs, a share.
        low: lower end of its 95 % interval, None without one.
        high: upper end.
        gain: relative to the baseline row, None without one or for that row itself.
        best: whether it is the highest of its column.
        against_baseline: 1 significantly better than the baseline row, -1 worse, else 0.
        against_image: the same against the row's own image alone.
    """

    mean: float
    low: float | None
    high: float | None
    gain: float | None
    best: bool
    against_baseline: int
    against_image: int


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        row: its short name.
        label: as it is called.
        measure: what it shows: that of the table, or the image for rows that have no more.
        entries: one for each amount of labels, None where nothing was measured.
    """

    row: str
    label: str
    measure: Measure
    entries: tuple[Entry | None, ...]


@dataclass(frozen=True)
class ResultTable:
    """Top-1 of all rows at all amounts of labels, for one task, regime and measure.

    Attributes:
        task: name of the task.
        regime: what pre-training has seen.
        measure: whose answers are judged.
        shots: amounts of labels, one a column.
        labels: mean number of labelled images of each.
        lines: one for each row.
    """

    task: str
    regime: Regime
    measure: Measure
    shots: tuple[str, ...]
    labels: tuple[float, ...]
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What it shows."""
        return f"{self.task}: {MEASURE_TITLES[self.measure]}, {REGIME_TITLES[self.regime]}"


def tables_of(view: View) -> Iterator[ResultTable]:
    """All tables that have at least one row, by task, regime and measure."""
    for task in view.tasks:
        for regime in view.regimes(task):
            for measure in view.measures(task):
                table = table_of(view, task, regime, measure)
                if table.lines:
                    yield table


def table_of(view: View, task: str, regime: Regime, measure: Measure) -> ResultTable:
    """One table.

    In the table of the image alone stand all rows, as image heads may differ.
    """
    shots = tuple(view.shots(task))
    sides = [
        (Side(row, shown), label)
        for row, label in view.rows.items()
        if (shown := view.shown(task, row, measure)) is not None
    ]
    means = {
        (side, shot): found.mean
        for side, _ in sides
        for shot in shots
        if (found := view.estimate(task, shot, side, regime)) is not None
    }
    best = {
        shot: max((m for (_, s), m in means.items() if s == shot), default=0.0) for shot in shots
    }
    lines = tuple(
        Line(
            side.row,
            label,
            side.measure,
            tuple(_entry(view, task, shot, side, measure, regime, best[shot]) for shot in shots),
        )
        for side, label in sides
        if any((side, shot) in means for shot in shots)
    )
    labels = tuple(view.labels(task, shot) for shot in shots)
    return ResultTable(task, regime, measure, shots, labels, lines)


def _entry(
    view: View,
    task: str,
    shot: str,
    side: Side,
    measure: Measure,
    regime: Regime,
    best: float,
) -> Entry | None:
    found = view.estimate(task, shot, side, regime)
    if found is None:
        return None
    base = view.base(task, measure)
    image = Side(side.row, Measure.IMAGE)
    return Entry(
        found.mean,
        found.low,
        found.high,
        view.gain(task, shot, side, base, regime),
        found.mean == best,
        _sign(None if base is None else view.compared(task, shot, regime, side, base)),
        _sign(view.compared(task, shot, regime, side, image)),
    )


def _sign(compared: Compared | None) -> int:
    if compared is None or not compared.significant:
        return 0
    return 1 if compared.difference > 0 else -1


def gain_text(gain: float | None) -> str:
    """A relative gain, such as +12 %, "" if there is none."""
    return "" if gain is None else f"{round(100 * gain) + 0:+d} %"


def write_tables(results: Results, folder: Path) -> tuple[Path, Path]:
    """Write ``table.md`` and, with the same numbers, ``table.tex``, which needs booktabs.

    Args:
        results: an evaluation that has ended.
        folder: where to, made if needed.

    Returns:
        Both files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    view = View(results)
    tables = list(tables_of(view))
    about = about_run(results)
    base = NONE if view.baseline is None else view.rows[view.baseline]
    return (
        write_atomically(
            folder / MARKDOWN_FILE,
            _markdown(tables, base, about).encode("utf-8", "backslashreplace"),
        ),
        write_atomically(
            folder / LATEX_FILE, _latex(tables, base, about).encode("utf-8", "backslashreplace")
        ),
    )


def about_run(results: Results) -> str:
    """What the numbers are of, in a sentence or two."""
    data, versions = results.facts["data"], results.facts.get("versions", {})
    seeds = len({run.seed for run in results.runs})
    return (
        f"Data set {data['name']} ({data['fingerprint'][:12]}), {data['points']:,} images, "
        f"{len(data['folds'])} fold(s), {seeds} seed(s), geocsp {versions.get('geocsp', '')}. "
        "Besides the labels of each column, those of the validation images calibrate the products."
    )


_MARKS = {1: ("▲", "△"), -1: ("▼", "▽"), 0: ("", "")}
MARKS_LEGEND = (
    "▲ better, ▼ worse than the baseline row; △ better, ▽ worse than the row's image alone"
)
"""What the marks of Markdown and HTML stand for."""


def _marks(entry: Entry) -> str:
    return _MARKS[entry.against_baseline][0] + _MARKS[entry.against_image][1]


def brackets(entry: Entry) -> str:
    """Interval and relative gain, "" without either."""
    parts = (Metric.TOP1.range(entry.low, entry.high), gain_text(entry.gain))
    return ", ".join(filter(None, parts))


def _heading(shot: str, labels: float) -> str:
    return f"{shot} ({labels:,.0f} labels)"


def _markdown(tables: list[ResultTable], base: str, about: str) -> str:
    blocks = [
        _escape_markdown(about),
        f"{LEGEND}: {MARKS_LEGEND}. Baseline row: {_escape_markdown(base)}.",
    ]
    for table in tables:
        columns = [_heading(*pair) for pair in zip(table.shots, table.labels, strict=True)]
        rows = [["Top-1, %", *columns], ["---", *("---:" for _ in columns)]]
        rows += [[line.label, *map(_markdown_cell, line.entries)] for line in table.lines]
        for row in rows[:1] + rows[2:]:
            row[0] = _escape_markdown(row[0])
        blocks.append(f"### {_escape_markdown(table.title)}")
        blocks.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(blocks) + "\n"


def _markdown_cell(entry: Entry | None) -> str:
    if entry is None:
        return NONE
    mean = Metric.TOP1.text(entry.mean)
    small = brackets(entry)
    return (
        (f"**{mean}**" if entry.best else mean) + _marks(entry) + (f" ({small})" if small else "")
    )


def _escape_markdown(text: str) -> str:
    """A text that Markdown, and HTML in it, shows as it is, in one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", plain)


_LATEX_MARKS = {1: (r"\uparrow", "+"), -1: (r"\downarrow", "-"), 0: ("", "")}
_LATEX_LEGEND = (
    r"$^{\uparrow}$ better, $^{\downarrow}$ worse than the baseline row; "
    r"$^{+}$ better, $^{-}$ worse than the row's image alone"
)
_LATEX_SPECIALS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def _latex(tables: list[ResultTable], base: str, about: str) -> str:
    lines = ["% needs \\usepackage{booktabs}", f"% {' '.join(about.split())}"]
    for table in tables:
        heads = [_heading(*pair) for pair in zip(table.shots, table.labels, strict=True)]
        caption = f"{escape_latex(table.title)}. {escape_latex(LEGEND)}: {_LATEX_LEGEND}. "
        lines += [
            "",
            r"\begin{table}",
            rf"\caption{{{caption}Baseline row: {escape_latex(base)}.}}",
            rf"\begin{{tabular}}{{l{'r' * len(heads)}}}",
            r"\toprule",
            " & ".join(escape_latex(text) for text in ("Top-1, %", *heads)) + r" \\",
            r"\midrule",
            *(
                " & ".join([escape_latex(line.label), *map(_latex_cell, line.entries)]) + r" \\"
                for line in table.lines
            ),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


def _latex_cell(entry: Entry | None) -> str:
    if entry is None:
        return "--"
    mean = Metric.TOP1.text(entry.mean)
    shown = rf"\textbf{{{mean}}}" if entry.best else mean
    signs = _LATEX_MARKS[entry.against_baseline][0] + _LATEX_MARKS[entry.against_image][1]
    shown += f"$^{{{signs}}}$" if signs else ""
    small = escape_latex(brackets(entry))
    return shown + (rf" {{\scriptsize ({small})}}" if small else "")


def escape_latex(text: str) -> str:
    """A text that LaTeX shows as it is, in one line."""
    return "".join(_LATEX_SPECIALS.get(letter, letter) for letter in " ".join(text.split()))
