"""``geocsp demo``: what location is worth when labels are few."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from geocsp.commands.interrupts import resumable
from geocsp.config import read_config, write_config
from geocsp.demo.settings import DemoSettings


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder, made if needed.")
    ] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A look in about a minute.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="All folds, five seeds, both tasks (about an hour).")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings; see --print-config.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="First seed.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes side by side; default: CPU cores.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings as YAML and stop.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON instead of a table.")
    ] = False,
) -> None:
    """Show on real satellite imagery how much location helps when labels are few.

    Cuts tiles out of NASA's Blue Marble, pre-trains location encoders on them without labels,
    trains with few, and compares with images alone and with supervised training alone. Writes
    results.json, report.html, pictures and, in details/, the report of the whole evaluation. Run
    again after an interruption, it goes on.

    **Examples**

        geocsp demo                      # a few minutes on two cores

        geocsp demo --quick -o runs/quick

        geocsp demo --full -o runs/full

        geocsp demo --print-config > demo.yaml; geocsp demo --config demo.yaml
    """
    if sum([quick, full, config is not None]) > 1:
        raise typer.BadParameter("choose one of --quick, --full and --config")
    settings = DemoSettings.quick() if quick else DemoSettings()
    settings = DemoSettings.full() if full else settings
    settings = read_config(config, DemoSettings) if config else settings
    settings = replace(settings, seed=seed) if seed is not None else settings
    if print_config:
        typer.echo(write_config(settings), nl=False)
        return
    from geocsp.demo.run import run_demo

    with resumable():
        results = run_demo(settings, output, workers=workers or os.cpu_count() or 1)
    if as_json:
        typer.echo(json.dumps(results.facts))
    else:
        _print_tables(results.facts, settings, output)


def _print_tables(facts: dict[str, Any], settings: DemoSettings, output: Path) -> None:
    from geocsp.demo.report import REPORT_FILE, TITLES, text_rows
    from geocsp.evaluate.results import Regime

    console = Console()
    for task in settings.tasks:
        title = f"{task}: Top-1 in % ±95 % interval (gain over Sup.Only grid)"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
        for heading in ("", *TITLES.values()):
            table.add_column(heading)
        for shot in settings.shots:
            table.add_row(f"[bold]{shot.label}[/bold]")
            for label, *cells in text_rows(facts, task, Regime.INDUCTIVE, shot.label):
                table.add_row(f" {label}", *cells)
            table.add_section()
        console.print(table)
    console.print(f"[bold]{output / REPORT_FILE}[/bold] has the figures and all tables.")
