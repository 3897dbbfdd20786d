"""The command ``geocsp``: thin verbs over the library's functions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

import geocsp
from geocsp.config import read_config, write_config
from geocsp.demo.settings import DemoSettings
from geocsp.errors import DataError, MissingExtraError

app = typer.Typer(
    name="geocsp",
    help="Learn from geo-tagged images without labels.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"geocsp {geocsp.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    """Learn from geo-tagged images without labels."""


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder, made if needed.")
    ] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A look in under a minute.")] = False,
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
    fine-tunes with few, and compares with images alone and with supervised training alone. Writes
    results.json, report.html and pictures. Run again after an interruption, it goes on.

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

    with _resumable():
        results = run_demo(settings, output, workers=workers or os.cpu_count() or 1)
    if as_json:
        typer.echo(json.dumps(results))
    else:
        _print_tables(results, settings, output)


@app.command("import")
def import_(
    checkpoint: Annotated[Path, typer.Argument(help="The file to import.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder, made if needed.")],
    training_locations: Annotated[
        Path | None,
        typer.Option(
            help="rbf encoders: their training places in order, .csv with lon and lat, or .npy."
        ),
    ] = None,
    environment: Annotated[
        Path | None,
        typer.Option(help="SINR with environment: its raster, .npy (rows, columns, bands)."),
    ] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="Text file with one class name a line, in order.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was imported as JSON.")
    ] = False,
) -> None:
    """Turn another project's checkpoint into a folder of ours.

    Reads files of CSP, TorchSpatial, Sphere2Vec, SatCLIP, GeoCLIP, SINR and geo_prior without
    running anything in them, and writes config.json and model.safetensors.

    **Examples**

        geocsp import model_inat_2018_gridcell.pth.tar -o models/inat2018

        geocsp import satclip-resnet18-l40.ckpt -o models/satclip

        geocsp import model_rbf.pth.tar -o models/rbf --training-locations train.csv
    """
    from geocsp.data.places import read_places
    from geocsp.interop.inputs import read_names, read_raster

    model = geocsp.import_checkpoint(
        checkpoint,
        training_locations=read_places(training_locations) if training_locations else None,
        environment=read_raster(environment) if environment else None,
        class_names=read_names(class_names) if class_names else None,
    )
    try:
        model.save_pretrained(output)
    except OSError as error:
        raise DataError(f"cannot write {output}: {error.strerror}") from error
    encoder = model.location if isinstance(model, geocsp.GeoPrior) else model
    facts = {
        "model": model.kind,
        "encoder": encoder.config()["location"]["name"],
        "dim": encoder.dim,
        "resolution_km": round(encoder.resolution_km, 3),
        "classes": len(model.class_names) if isinstance(model, geocsp.GeoPrior) else 0,
        "folder": str(output),
    }
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        typer.echo("\n".join(f"{name:14} {value}" for name, value in facts.items()))


@contextmanager
def _resumable() -> Iterator[None]:
    """One line on Ctrl-C in work that goes on when it is called again."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("geocsp: interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None


def _print_tables(results: dict[str, Any], settings: DemoSettings, output: Path) -> None:
    from geocsp.demo.report import REPORT_FILE, TITLES, text_rows
    from geocsp.demo.work import INDUCTIVE

    console = Console()
    for task in settings.tasks:
        title = f"{task}: Top-1 in % ±95 % interval (gain over Sup.Only grid)"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
        for heading in ("", *TITLES.values()):
            table.add_column(heading)
        for shot in settings.shots:
            table.add_row(f"[bold]{shot.label}[/bold]")
            for label, *cells in text_rows(results, task, INDUCTIVE, shot.label):
                table.add_row(f" {label}", *cells)
            table.add_section()
        console.print(table)
    console.print(f"[bold]{output / REPORT_FILE}[/bold] has the figures and all tables.")


def main() -> None:
    """Run the command; a user's error is one line and exit code 2, a failure exit code 1."""
    try:
        app(standalone_mode=True)
    except (DataError, MissingExtraError) as error:
        print(f"geocsp: {error}", file=sys.stderr)
        sys.exit(2)
    except RuntimeError as error:
        print(f"geocsp: {error}", file=sys.stderr)
        sys.exit(1)
