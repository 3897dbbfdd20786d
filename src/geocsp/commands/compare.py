"""``geocsp compare``: what differs between two evaluations, and whether it is significant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from geocsp.commands.shown import plain
from geocsp.evaluate.results import Measure, Regime, Results

if TYPE_CHECKING:
    from geocsp.evaluate.comparing import Change, Difference, FolderComparison

_LONGEST = 60


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder, before.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Run folder, after.")],
    measure: Annotated[
        list[Measure] | None,
        typer.Option("--measure", help="Whose answers to compare; all if left out; may repeat."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two evaluations: what was changed, and how much better or worse each row became.

    Differences are paired test row by test row where both folders hold the same data, folds and
    seeds. p is corrected after Holm for all differences shown.

    **Examples**

        geocsp compare runs/before runs/after

        geocsp compare runs/before runs/after --measure fused --json
    """
    from geocsp.evaluate.comparing import compare_runs

    before, after = Results.read(first), Results.read(second)
    found = compare_runs(before, after, measure or tuple(Measure))
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1, allow_nan=False))
        return
    _show(found, Console())


def _show(found: FolderComparison, console: Console) -> None:
    if found.changes:
        console.print(_changes(found.changes))
    else:
        console.print(" Settings, versions, data and rows are the same.")
    if found.differences:
        console.print(_differences(found.differences))
        console.print(Text(f" {_summary(found.differences)}"))
    else:
        console.print(" There is nothing that both hold to compare.")
    for name, cells in (("first", found.only_first), ("second", found.only_second)):
        if cells:
            console.print(Text(f" Only in the {name}: {plain('; '.join(cells))}"))
    for note in found.notes:
        console.print(Text(f" note: {plain(note)}", style="dim"))


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1)
    )
    for column in columns:
        left = column in ("what", "before", "after", "row", "task", "labels", "measure", "")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    return table


def _changes(changes: Sequence[Change]) -> Table:
    table = _table("What was changed", "what", "before", "after")
    for change in changes:
        table.add_row(*map(Text, (plain(change.path), _value(change.before), _value(change.after))))
    return table


def _value(value: Any) -> str:
    text = plain(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _differences(differences: Sequence[Difference]) -> Table:
    table = _table("Top-1, %", "row", "A", "B", "B - A", "95 % interval", "p", "")
    before: tuple[str, str, str] | None = None
    for one in differences:
        group = (one.task, one.shot, str(one.measure))
        if group != before:
            table.add_section()
            table.add_row(Text(plain(", ".join(group)), style="bold"))
            before = group
        row = f"{one.row} ({one.regime})" if one.regime is Regime.TRANSDUCTIVE else one.row
        table.add_row(
            Text(f" {plain(row)}"),
            f"{100 * one.before:.1f}",
            f"{100 * one.after:.1f}",
            f"{_signed(one.difference)}",
            "-"
            if one.low is None or one.high is None
            else f"{_signed(one.low)} to {_signed(one.high)}",
            "-" if one.p_corrected is None else f"{one.p_corrected:.3g}",
            _verdict(one),
        )
    return table


def _signed(share: float) -> str:
    value = round(100 * share, 1)
    return "0.0" if value == 0 else f"{value:+.1f}"


def _verdict(one: Difference) -> Text:
    if one.p_corrected is None:
        return Text("not tested", style="dim")
    unpaired = "" if one.paired else ", unpaired"
    if one.low == one.high == 0:
        return Text("the same", style="dim")
    if not one.significant:
        return Text(f"not significant{unpaired}", style="dim")
    better = one.difference > 0
    return Text(f"{'better' if better else 'worse'}{unpaired}", style="green" if better else "red")


def _summary(differences: Sequence[Difference]) -> str:
    sure = [one for one in differences if one.significant]
    better = sum(one.difference > 0 for one in sure)
    rest = len(differences) - len(sure)
    return (
        f"{better} of {len(differences)} significantly better, {len(sure) - better} significantly "
        f"worse, {rest} without a significant difference."
    )
