"""``geocsp features``: image features, computed once and kept."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from geocsp.commands.devices import Device, device_of
from geocsp.commands.interrupts import resumable
from geocsp.commands.sources import Source, Workers, prepare, read_source, reads_a_source
from geocsp.data.cache import Storage
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import QUARANTINE_FILE
from geocsp.errors import DataError
from geocsp.images.extract import ExtractProgress
from geocsp.images.features import Engine, Features, compute_features
from geocsp.images.names import parse_encoder

_PANEL = "Which encoder"


@reads_a_source
def features(
    source: Source,
    options: ReadOptions,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the features, made if needed.")
    ] = Path("runs/features"),
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            "-e",
            help="Network, as FAMILY:NAME; see the examples.",
            rich_help_panel=_PANEL,
        ),
    ] = "efficientnet-lite0",
    weights: Annotated[
        Path | None,
        typer.Option(help="File with weights for the network.", rich_help_panel=_PANEL),
    ] = None,
    allow_download: Annotated[
        bool,
        typer.Option(
            "--allow-download",
            help="Download published weights that are not on this computer.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    pixels: Annotated[
        int | None,
        typer.Option(min=1, help="Width and height of the network input.", rich_help_panel=_PANEL),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(min=1, help="Number of channels of the images.", rich_help_panel=_PANEL),
    ] = None,
    storage: Annotated[Storage, typer.Option(help="Numbers on disk.")] = Storage.FLOAT16,
    engine: Annotated[Engine, typer.Option(help="Where the work is done.")] = Engine.LOCAL,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2 if anything had to be left out.")
    ] = False,
    workers: Workers = None,
) -> None:
    """Run a frozen image encoder over geo-tagged images and keep the features.

    Writes shards of 16-bit features, table.parquet (image, lon, lat, time, label, ...) and
    quarantine.csv (what could not be used, and why). Run again after an interruption, it goes on;
    run again when all is there, it does nothing.

    **Examples**

        geocsp features photos/ -o runs/photos

        geocsp features observations.csv --folder photos -e timm:resnet50 --allow-download

        geocsp features photos/ -e transformers:facebook/dinov2-small --pixels 224

        geocsp features chips/ -e onnx:model.onnx --bands 4,3,2 --range 0,3000

        geocsp features inat2018:/data/inat2018 -e moco:moco_v2_800ep.pth.tar --engine ray
    """
    network = parse_encoder(
        encoder, weights=weights, allow_download=allow_download, pixels=pixels, channels=channels
    )
    network = network.to(device_of(device))
    table = read_source(source, options, output)
    prepare(output)
    with _shown() as show, resumable():
        try:
            made = compute_features(
                network,
                table,
                output,
                storage=storage,
                engine=engine,
                workers=workers,
                on_progress=show,
            )
        except OSError as error:
            raise RuntimeError(f"reading the images failed: {error}") from error
    facts = _facts(made, encoder, output, show)
    typer.echo(json.dumps(facts) if as_json else _told(facts, made))
    if strict and made.table.problems:
        count = len(made.table.problems)
        raise DataError(f"{count:,} rows were left out; see {output / QUARANTINE_FILE}")


class _Show:
    """Draws the progress and keeps its last state."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.task = progress, progress.add_task("features", total=None, said="")
        self.last = ExtractProgress(0, 0)

    def __call__(self, state: ExtractProgress) -> None:
        self.last = state
        said = f"{state.rate:,.0f} images/s, {state.wait_share:.0%} of the time waiting for them"
        if state.failed:
            said += f", {state.failed:,} unusable"
        self.progress.update(
            self.task, completed=state.done, total=state.total, said=said if state.rate else ""
        )


@contextmanager
def _shown() -> Iterator[_Show]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        yield _Show(progress)


def _facts(made: Features, encoder: str, output: Path, show: _Show) -> dict[str, Any]:
    return {
        "folder": str(output),
        "encoder": encoder,
        "images": len(made),
        "dim": made.shape[1],
        "left_out": len(made.table.problems),
        "images_per_second": round(show.last.rate, 1),
        "wait_share": round(show.last.wait_share, 3),
    }


def _told(facts: dict[str, Any], made: Features) -> str:
    lines = [f"{facts['images']:,} images, {facts['dim']} features each, in {facts['folder']}"]
    if facts["images_per_second"]:
        waiting = f", {facts['wait_share']:.0%} of the time waiting for images"
        lines.append(
            f"{facts['images_per_second']:,.0f} images/s{waiting if facts['wait_share'] else ''}"
        )
    lines += [f"note: {note}" for note in made.table.notes]
    if made.table.problems:
        reasons = Counter(problem.reason for problem in made.table.problems)
        lines.append(f"{facts['left_out']:,} rows left out, see {QUARANTINE_FILE}:")
        lines += [f"  {count:>7,}  {reason}" for reason, count in reasons.most_common(5)]
    return "\n".join(lines)
