"""What ``geocsp embed`` does, and what it shows of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from geocsp.commands.devices import device_of
from geocsp.commands.interrupts import resumable
from geocsp.commands.sources import prepare
from geocsp.data.options import ReadOptions
from geocsp.embed import Embedded, EmbedSettings, embed_table
from geocsp.errors import DataError
from geocsp.images.features import Engine
from geocsp.location import LocationEncoder
from geocsp.maps.export import CellType, ExportProgress, embed_grid
from geocsp.maps.export.cells import Embedding
from geocsp.maps.grid import WORLD, Grid
from geocsp.models import load, location_of


@dataclass(frozen=True)
class PointsJob:
    """A table to embed.

    Attributes:
        source: path or URL.
        settings: how embeddings are written.
        options: how the table is read.
    """

    source: str
    settings: EmbedSettings
    options: ReadOptions


@dataclass(frozen=True)
class GridJob:
    """A grid to embed.

    Attributes:
        step: size of a cell, degrees.
        bounds: west, south, east and north as text; None: the globe.
        normalise: scale every embedding to unit length.
        dtype: numbers in the file.
        engine: where the work is done.
        workers: how many share it.
    """

    step: float
    bounds: str | None
    normalise: bool
    dtype: CellType | None
    engine: Engine
    workers: int | None


def embed_rows(
    job: PointsJob, model: str, output: Path, *, device: str | None, as_json: bool, strict: bool
) -> None:
    """Embed a table, with a progress bar, and say what was done.

    Raises:
        DataError: the table or model cannot be used, or rows were left out with ``strict``.
        RuntimeError: the disk failed.
    """
    encoder = _encoder(model, device)
    prepare(output.parent)
    with _bar("rows") as (progress, task):
        try:
            made = embed_table(
                job.source,
                encoder,
                output,
                model=model,
                settings=job.settings,
                options=job.options,
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        except OSError as error:
            raise RuntimeError(f"cannot write {output}: {error.strerror or error}") from error
    facts = made.about | {
        "output": str(output),
        "rows": made.rows,
        "left_out": made.left_out,
        "quarantine": None if made.quarantine is None else str(made.quarantine),
    }
    typer.echo(json.dumps(facts) if as_json else _told(made, encoder))
    if strict and made.left_out:
        raise DataError(f"{made.left_out:,} rows were left out; see {made.quarantine}")


def embed_cells(
    job: GridJob, model: str, output: Path, *, device: str | None, as_json: bool
) -> None:
    """Embed a grid, with a progress bar, and say what was done.

    Raises:
        DataError: the model or grid cannot be used.
        RuntimeError: the disk or the workers failed.
    """
    grid = Grid.of(job.step, job.bounds or WORLD)
    encoder = _encoder(model, device)
    prepare(output.parent)
    with _bar("cells") as (progress, task), resumable():

        def show(now: ExportProgress) -> None:
            total = now.total or None
            progress.update(task, description=now.stage.value, completed=now.done, total=total)

        made = embed_grid(
            encoder,
            grid,
            output,
            quantity=Embedding(encoder, normalise=job.normalise),
            dtype=job.dtype,
            engine=job.engine,
            workers=job.workers,
            on_progress=show,
        )
    facts = {
        "output": str(made.output),
        "model": model,
        "rows": made.shape[0],
        "columns": made.shape[1],
        "bands": made.bands,
        "dtype": made.dtype.value,
        "bounds": list(grid.bounds),
        "cells": made.computed,
        "found": made.found,
        "clipped": made.clipped,
        "seconds": round(made.seconds, 1),
        "bytes": made.bytes,
    }
    size = f"{made.shape[0]:,} x {made.shape[1]:,} cells, {made.bands} {made.dtype.value} each"
    text = f"{size}, {made.bytes / 1e6:,.1f} MB, in {made.output}"
    if made.found:
        text += f"\nnote: {made.found:,} cells were there from an earlier run"
    if made.clipped:
        text += f"\nnote: {made.clipped:,} numbers were cut to the range of int8"
    typer.echo(json.dumps(facts) if as_json else text)


def _encoder(model: str, device: str | None) -> LocationEncoder:
    chosen = device_of(device)
    return location_of(load(model)).to(chosen)


@contextmanager
def _bar(what: str) -> Iterator[tuple[Progress, Any]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        yield progress, progress.add_task(what, total=None)


def _told(made: Embedded, encoder: LocationEncoder) -> str:
    lines = [f"{made.rows:,} places, {encoder.dim} numbers each, in {made.output}"]
    lines += [f"note: {note}" for note in made.notes]
    if made.left_out:
        lines.append(f"{made.left_out:,} rows left out, see {made.quarantine}")
    return "\n".join(lines)
