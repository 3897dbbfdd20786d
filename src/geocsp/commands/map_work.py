"""What ``geocsp map`` does, and what it shows of it."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from geocsp.commands.devices import device_of
from geocsp.commands.shown import plain
from geocsp.commands.sources import prepare
from geocsp.maps.files import MapFormat, format_of, safe_names, write_map
from geocsp.maps.grid import WORLD, Grid
from geocsp.maps.quantities import (
    Colours,
    Quantity,
    best_class,
    class_probability,
    embedding_colours,
    similarity,
    support_distance,
    uncertainty,
)
from geocsp.maps.raster import Raster, settings_of, suitable_grid
from geocsp.models import LocationModel, load, prior_of


@dataclass(frozen=True)
class Asked:
    """What the options of ``geocsp map`` ask for, as they are named there."""

    classes: tuple[str, ...]
    all_classes: bool
    best_class: bool
    uncertainty: bool
    distance: bool
    embedding: bool
    like: str | None
    bounds: str | None
    step: float | None
    land_only: bool
    time: str | None
    levels: str | None
    title: str | None
    seed: int

    @property
    def choices(self) -> list[str]:
        """Which quantities are asked for."""
        given = {
            "--class": bool(self.classes),
            "--all-classes": self.all_classes,
            "--best-class": self.best_class,
            "--uncertainty": self.uncertainty,
            "--distance": self.distance,
            "--embedding": self.embedding,
            "--like": self.like is not None,
        }
        return [name for name, is_given in given.items() if is_given]


def make_maps(
    source: str,
    asked: Asked,
    output: Path,
    format_: MapFormat | None,
    *,
    device: str | None,
    as_json: bool,
) -> None:
    """Make one or several maps, with a progress bar, and say what was made.

    Raises:
        BadParameter: options that do not go together.
        DataError: the model or window cannot be used.
        RuntimeError: the disk failed.
    """
    if len(asked.choices) != 1:
        given = f", not {' and '.join(asked.choices)}" if asked.choices else ""
        raise typer.BadParameter(
            "say what to show by one of --class, --all-classes, --best-class, --uncertainty, "
            f"--distance, --embedding or --like{given}"
        )
    moment, levels = _moment(asked.time), _levels(asked.levels)
    is_folder = asked.all_classes or len(asked.classes) > 1 or not output.suffix
    _check_output(output, format_, asked, is_folder=is_folder)
    grid = suitable_grid(asked.bounds or WORLD) if asked.step is None else _grid(asked)
    model: Any = load(source)
    model = model.to(device_of(device))
    quantities = _quantities(model, asked, source)
    kind = format_ or MapFormat.PNG
    names = [f"{name}.{kind}" for name in safe_names(quantities)]
    paths = [output / name for name in names] if is_folder else [output]
    prepare(output if is_folder else output.parent)
    settings = settings_of(model, source) | ({"seed": asked.seed} if asked.embedding else {})
    made = []
    with _bar(len(paths)) as progress:
        task = progress.add_task("cells")
        for number, (name, quantity) in enumerate(quantities.items()):

            def show(done: int, total: int, before: int = number) -> None:
                progress.update(task, completed=before * total + done, total=total * len(paths))

            raster = Raster.compute(
                quantity,
                grid,
                moment=moment,
                land_only=asked.land_only,
                settings=settings | ({"class": name} if asked.classes or asked.all_classes else {}),
                on_cells=show,
            )
            try:
                count = write_map(raster, paths[number], levels=levels, title=asked.title)
            except OSError as error:
                reason = error.strerror or error
                raise RuntimeError(f"cannot write {paths[number]}: {reason}") from error
            made.append(_facts(raster, paths[number], count))
    typer.echo(json.dumps({"maps": made}) if as_json else "\n".join(map(_told, made)))


def _grid(asked: Asked) -> Grid:
    assert asked.step is not None
    return Grid.of(asked.step, asked.bounds or WORLD)


def _quantities(model: LocationModel, asked: Asked, source: str) -> dict[str, Quantity | Colours]:
    """What to map, by what to call a file of it."""
    if asked.classes or asked.all_classes:
        names = tuple(prior_of(model, source).class_names) if asked.all_classes else asked.classes
        prior_of(model, source)
        return {name: class_probability(model, name) for name in names}
    if asked.like is not None:
        return {"like": similarity(model, *_place(asked.like))}
    if asked.embedding:
        return {"embedding": embedding_colours(model, asked.seed)}
    if asked.distance:
        return {"distance": support_distance(model)}
    prior_of(model, source)
    if asked.uncertainty:
        return {"uncertainty": uncertainty(model)}
    return {"best-class": best_class(model)}


def _check_output(
    output: Path, format_: MapFormat | None, asked: Asked, *, is_folder: bool
) -> None:
    if is_folder and output.suffix.lower().lstrip(".") in {*MapFormat, "tiff"}:
        raise typer.BadParameter(
            f"several classes go into a folder, not into {output.name}; choose the kind of files "
            "by --format",
            param_hint="--output",
        )
    if not is_folder and format_ is not None:
        raise typer.BadParameter(
            "--format is for a folder; the name of a file says its own", param_hint="--format"
        )
    kind = (format_ or MapFormat.PNG) if is_folder else format_of(output)
    has_polygons = kind in (MapFormat.GEOJSON, MapFormat.GPKG)
    if has_polygons and asked.embedding:
        raise typer.BadParameter("colours have no contours; use .png or .tif", param_hint="-o")
    if asked.levels is not None and (not has_polygons or asked.best_class):
        raise typer.BadParameter(
            "levels are for .geojson and .gpkg of numbers", param_hint="--levels"
        )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no moment; write it as 2026-06-21T12:00", param_hint="--time"
        ) from None


def _levels(text: str | None) -> tuple[float, ...] | None:
    return None if text is None else _numbers(text, "--levels")


def _place(text: str) -> tuple[float, float]:
    numbers = _numbers(text, "--like")
    if len(numbers) != 2:
        raise typer.BadParameter(f"{text!r} is no lon,lat", param_hint="--like")
    return numbers[0], numbers[1]


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"{text!r} is not numbers with commas between", param_hint=option)
    return numbers


def _bar(maps: int) -> Progress:
    what = "map" if maps == 1 else f"{maps} maps"
    return Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _facts(raster: Raster, path: Path, polygons: int | None) -> dict[str, Any]:
    known = raster.values[raster.shown]
    is_number = not isinstance(raster.quantity, Colours) and not raster.names and known.size
    return raster.settings | {
        "output": str(path),
        "rows": raster.grid.shape[0],
        "columns": raster.grid.shape[1],
        "cells": int(raster.shown.sum()),
        "least": float(known.min()) if is_number else None,
        "highest": float(known.max()) if is_number else None,
        "classes": [raster.names[n] for n in np.unique(known)] if raster.names else None,
        "polygons": polygons,
    }


def _told(made: dict[str, Any]) -> str:
    notes = [f"{made['rows']:,} x {made['columns']:,} cells of {made['step']:g}°"]
    if made["least"] is not None:
        notes.append(f"{made['least']:.3g} to {made['highest']:.3g}")
    if made["classes"] is not None:
        notes.append(f"{len(made['classes'])} classes")
    if made["polygons"] is not None:
        notes.append(f"{made['polygons']} polygons" if made["polygons"] else "no level is reached")
    return f"{made['output']}: {plain(made['quantity'])}, {', '.join(notes)}"
