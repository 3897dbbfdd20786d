"""``geocsp probe``: what location embeddings know."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from geocsp.commands.shown import plain
from geocsp.errors import DataError
from geocsp.files import write_atomically


class FoldChoice(StrEnum):
    """How places are divided."""

    RANDOM = "random"
    BLOCKS = "blocks"
    BOTH = "both"


def probe(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Saved folder, checkpoint file, geoclip (its published weights), raw-lonlat, "
            "raw-xyz, constant, or the name of an encoder, which then has random weights.",
        ),
    ],
    labels: Annotated[
        str | None, typer.Option(help="Names of labels with commas between; default: all.")
    ] = None,
    points: Annotated[int, typer.Option(min=50, help="Number of places on land.")] = 5_000,
    folds: Annotated[
        FoldChoice, typer.Option(help="Random folds, blocks of 10 degrees, or both.")
    ] = FoldChoice.BOTH,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file with everything.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of places, folds and random weights.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the JSON instead of tables.")
    ] = False,
) -> None:
    """Probe what frozen location embeddings know, and look for artefacts in their maps.

    Fits a ridge and nearest neighbours on the embeddings of places on land and judges them on
    places held out, for labels from climate and country to elevation; settings are chosen on inner
    folds. Also prints how many directions an embedding uses, and whether its map has stripes along
    the graticule, a seam at 180 degrees or torn poles.

    **Examples**

        geocsp probe runs/best/model geoclip

        geocsp probe satclip-resnet18-l40.ckpt raw-xyz --labels climate,elevation

        geocsp probe space2vec-grid --points 1000 --folds blocks -o probes.json
    """
    from geocsp.evaluate.probes import LABELS, Folds, ProbeSettings, probed_encoder, run_probes

    settings = ProbeSettings(
        points=points,
        labels=tuple(labels.split(",")) if labels is not None else LABELS,
        folds=tuple(Folds) if folds is FoldChoice.BOTH else (Folds(folds.value),),
        seed=seed,
    )
    encoders = [probed_encoder(model, seed=seed) for model in models]
    if output is not None:
        _prepare(output)
    console = Console(stderr=True)
    with console.status("", spinner="dots") as status:
        show = status.update if sys.stderr.isatty() else lambda _: None
        report = run_probes(encoders, settings, lambda now: show(plain(now)))
    if output is not None:
        _write(output, report)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _show(report)


def _prepare(path: Path) -> None:
    """Make the folder of a file, before work that is lost without it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error


def _write(path: Path, report: dict[str, Any]) -> None:
    try:
        write_atomically(path, json.dumps(report, indent=1).encode())
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error


def _show(report: dict[str, Any]) -> None:
    console = Console()
    for folds in report["settings"]["folds"]:
        for head in report["settings"]["heads"]:
            console.print(_scores(report, folds, head))
    console.print(_maps(report["encoders"]))
    for credit in _credits(report):
        console.print(Text(f" {credit}", style="dim"))


def _scores(report: dict[str, Any], folds: str, head: str) -> Table:
    """Main score of every label and encoder."""
    table = _table(f"{head}, {folds} folds: accuracy in % or R2 x 100, ±95 % interval")
    for name in report["encoders"]:
        table.add_column(plain(name), justify="right")
    for label in report["settings"]["labels"]:
        cells = {
            row["encoder"]: _cell(row["scores"][row["metric"]])
            for row in report["results"]
            if (row["label"], row["folds"], row["head"]) == (label, folds, head)
        }
        kind = "R2" if report["data"]["labels"][label]["classes"] is None else "acc."
        table.add_row(f"{label} ({kind})", *(cells[name] for name in report["encoders"]))
    return table


def _cell(score: dict[str, Any]) -> str:
    half = 50 * (score["high"] - score["low"])
    return f"{100 * score['mean']:.1f} ±{half:.1f}"


def _maps(encoders: dict[str, Any]) -> Table:
    table = _table("Maps: stripes at 1, 5 and 20 degrees (1 along the graticule, 0 none)")
    for column in ("size", "effective rank", "RankMe", "stripes", "seam", "poles"):
        table.add_column(column, justify="right")
    for name, facts in encoders.items():
        found = facts["artefacts"]
        seam = "inf" if found["seam"] is None else f"{found['seam']:.3g}"
        table.add_row(
            plain(name),
            str(facts["dim"]),
            f"{facts['effective_rank']:.1f}",
            f"{facts['rankme']:.1f}",
            " ".join(f"{size['along_axes']:.2f}" for size in found["alignment"]),
            seam,
            f"{found['poles']:.2f}",
        )
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("")
    return table


def _credits(report: dict[str, Any]) -> list[str]:
    sources = (*report["data"]["labels"].values(), *report["encoders"].values())
    return list(dict.fromkeys(s["attribution"] for s in sources if s["attribution"]))
