"""Options of every command that reads geo-tagged images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from geocsp.data.images import Bands
from geocsp.data.options import Columns, ReadOptions
from geocsp.data.quarantine import QUARANTINE_FILE, write_quarantine
from geocsp.data.read import NothingUsableError, read
from geocsp.data.table import GeoTable
from geocsp.errors import DataError

_PANEL = "How to read the source"

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Folder of photos or chips, a table (CSV, Parquet, GeoJSON, ...), .tar shards, the "
        "URL of a table or of shards, or a published data set as NAME:FOLDER.",
        show_default=False,
    ),
]
ImageColumn = Annotated[
    str | None, typer.Option(help="Column of image paths or URLs.", rich_help_panel=_PANEL)
]
LonColumn = Annotated[
    str | None, typer.Option(help="Column of longitudes, or eastings.", rich_help_panel=_PANEL)
]
LatColumn = Annotated[
    str | None, typer.Option(help="Column of latitudes, or northings.", rich_help_panel=_PANEL)
]
TimeColumn = Annotated[
    str | None, typer.Option(help="Column of dates or times.", rich_help_panel=_PANEL)
]
LabelColumn = Annotated[str | None, typer.Option(help="Column of classes.", rich_help_panel=_PANEL)]
SplitColumn = Annotated[
    str | None, typer.Option(help="Column of train, test and so on.", rich_help_panel=_PANEL)
]
GroupColumn = Annotated[
    str | None,
    typer.Option(help="Column of photographers, sites or the like.", rich_help_panel=_PANEL),
]
Crs = Annotated[
    str | None,
    typer.Option(
        help="Reference system of the coordinates, such as EPSG:32632, if not degrees.",
        rich_help_panel=_PANEL,
    ),
]
Folder = Annotated[
    str | None,
    typer.Option(
        help="What relative image paths are relative to; by default the table's folder.",
        rich_help_panel=_PANEL,
    ),
]
BandNumbers = Annotated[
    str | None,
    typer.Option(
        "--bands", help="Bands of rasters to take, from 1, such as 4,3,2.", rich_help_panel=_PANEL
    ),
]
BandRange = Annotated[
    str | None,
    typer.Option(
        "--range",
        help="Values of rasters that become 0 and 255, such as 0,3000.",
        rich_help_panel=_PANEL,
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(help="Layer of a vector file that has several.", rich_help_panel=_PANEL),
]
KeepUnplaced = Annotated[
    bool,
    typer.Option(
        "--keep-unplaced", help="Keep images without a usable place.", rich_help_panel=_PANEL
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads; default: CPU cores.")]


def bands_of(numbers: str | None, value_range: str | None) -> Bands:
    """The bands that ``--bands`` and ``--range`` say.

    Raises:
        BadParameter: not numbers, or not such as bands and ranges have.
    """
    wanted = None if numbers is None else _numbers(numbers, int, "--bands", "4,3,2")
    ends = None if value_range is None else _numbers(value_range, float, "--range", "0,3000")
    if ends is not None and len(ends) != 2:
        raise typer.BadParameter(f"give two numbers, such as 0,3000, not {value_range!r}")
    try:
        chosen = None if wanted is None else tuple(int(number) for number in wanted)
        return Bands(chosen, *(ends or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _numbers(
    text: str, kind: type[int] | type[float], option: str, example: str
) -> tuple[float, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is no list of numbers such as {example}"
        raise typer.BadParameter(message, param_hint=option) from None


def read_options(
    image_column: ImageColumn = None,
    lon_column: LonColumn = None,
    lat_column: LatColumn = None,
    time_column: TimeColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    crs: Crs = None,
    folder: Folder = None,
    bands: BandNumbers = None,
    value_range: BandRange = None,
    layer: Layer = None,
    keep_unplaced: KeepUnplaced = False,
) -> ReadOptions:
    """How to read, from the options of the command line.

    Raises:
        BadParameter: bands or a range that cannot be.
    """
    columns = Columns(
        image_column,
        lon_column,
        lat_column,
        time_column,
        label_column,
        split_column,
        group_column,
    )
    chosen = bands_of(bands, value_range)
    return ReadOptions(columns, crs, folder, chosen, keep_unplaced, layer=layer)


def reads_a_source(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all options of :func:`read_options` in place of its parameter ``options``."""
    added = signature(read_options, eval_str=True).parameters
    own = [p for p in signature(command, eval_str=True).parameters.values() if p.name != "options"]

    def run(**given: Any) -> None:
        options = read_options(**{name: given.pop(name) for name in added})
        command(options=options, **given)

    every = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *added.values())]
    run.__signature__ = Signature(every)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in every}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def prepare(output: Path) -> None:
    """Make the output folder before long work, so that none is lost to a wrong name.

    Raises:
        DataError: it cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {output}: {error.strerror}") from error


def read_source(source: str, options: ReadOptions, output: Path) -> GeoTable:
    """Read a source; a terminal shows how long that takes.

    Raises:
        DataError: it cannot be read, or nothing in it can be used, which leaves a quarantine.csv
            in the folder ``output``.
        MissingExtraError: reading it needs an extra that is not installed.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        progress.add_task("reading the source")
        try:
            return read(
                source,
                columns=options.columns,
                crs=options.crs,
                folder=options.folder,
                bands=options.bands,
                keep_unplaced=options.keep_unplaced,
                layer=options.layer,
            )
        except NothingUsableError as error:
            prepare(output)
            listed = write_quarantine(output / QUARANTINE_FILE, error.problems)
            raise DataError(f"{error}; {listed} lists them") from error
