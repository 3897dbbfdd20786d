"""``geocsp check``: what a data set holds and what is wrong with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from geocsp.commands.shown import show_audit
from geocsp.commands.sources import Source, Workers, prepare, read_source, reads_a_source
from geocsp.data.audit import Audit, audit, write_audit
from geocsp.data.options import ReadOptions
from geocsp.data.table import GeoTable
from geocsp.errors import DataError, MissingExtraError
from geocsp.maps.coverage import COVERAGE_FILE, write_coverage


@reads_a_source
def check(
    source: Source,
    options: ReadOptions,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder, made if needed.")] = Path(
        "runs/check"
    ),
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit code 2 if any row is quarantined or an error found."),
    ] = False,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Open every image, or the table alone.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print check.json instead of the report.")
    ] = False,
    workers: Workers = None,
) -> None:
    """Check geo-tagged images before they are used.

    Finds images that cannot be read, copies of images, wrong coordinates, uneven classes, and test
    images that lie next to training images. Changes nothing in the source. Writes check.json,
    quarantine.csv (what cannot be used, and why), duplicates.csv and coverage.png (a map).

    **Examples**

        geocsp check photos/

        geocsp check observations.csv --folder photos --label-column species -o runs/check

        geocsp check chips/ --bands 4,3,2 --range 0,3000

        geocsp check observations.csv --strict --json > check.json
    """
    with _interruptible():
        table = read_source(source, options, output)
        prepare(output)
        found = _audit(table, images, workers)
    notes = _draw(table, found, output, source)
    settings = {"source": source, "images": images, "seed": found.seed, "options": asdict(options)}
    facts = write_audit(found, table, output, settings)
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        show_audit(found, source, output, notes)
    if strict and (found.quarantine or found.errors):
        raise DataError(_verdict(found, output))


@contextmanager
def _interruptible() -> Iterator[None]:
    """One line on Ctrl-C in work that leaves nothing until it is done."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("geocsp: interrupted; nothing was written", err=True)
        raise typer.Exit(130) from None


def _audit(table: GeoTable, images: bool, workers: int | None) -> Audit:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    show = sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not show
    ) as progress:
        task = progress.add_task("looking at images", total=len(table))
        return audit(
            table,
            images=images,
            workers=workers,
            on_progress=lambda done, _: progress.update(task, completed=done),
        )


def _draw(table: GeoTable, found: Audit, output: Path, source: str) -> tuple[str, ...]:
    """Draw the map, or say why there is none."""
    path = output / COVERAGE_FILE
    try:
        if found.places is not None:
            name = source if len(source) <= 50 else f"...{source[-47:]}"
            write_coverage(table.lonlat[found.rows], path, name)
            return ()
        note = f"no {COVERAGE_FILE}: no image has a place"
    except MissingExtraError as error:
        note = f"no {COVERAGE_FILE}: {error}"
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error
    path.unlink(missing_ok=True)  # of another run
    return (note,)


def _verdict(found: Audit, output: Path) -> str:
    rows, errors = len(found.quarantine), found.errors
    parts = [
        f"{rows:,} {'row' if rows == 1 else 'rows'} quarantined" if rows else "",
        f"{errors} serious {'finding' if errors == 1 else 'findings'}" if errors else "",
    ]
    return f"{' and '.join(filter(None, parts))}; see {output}"
