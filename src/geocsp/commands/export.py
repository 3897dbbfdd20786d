"""``geocsp export``: a trained model as an ONNX file, or on the Hugging Face hub."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from geocsp.commands.shown import plain
from geocsp.errors import DataError

if TYPE_CHECKING:
    from geocsp.export import OnnxFile
    from geocsp.models import LocationModel


class PartChoice(StrEnum):
    """What of a model to export."""

    LOCATION = "location"
    PRIOR = "prior"
    IMAGE = "image"
    CLASSIFIER = "classifier"


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Saved folder, run folder, checkpoint file, or hf://owner/name@revision.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="ONNX file to write.")
    ] = None,
    part: Annotated[
        PartChoice | None,
        typer.Option(help="What of the model; default: the most that it has."),
    ] = None,
    opset: Annotated[int, typer.Option(min=18, max=23, help="Version of ONNX's operators.")] = 20,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare with the model in onnxruntime.")
    ] = True,
    to: Annotated[
        str | None,
        typer.Option(metavar="hf://OWNER/NAME[@BRANCH]", help="Put the model on the hub instead."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="With --to: a repository that is made is public.")
    ] = False,
    license_: Annotated[
        str | None,
        typer.Option("--license", help="With --to: of the weights, such as cc-by-4.0."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON.")
    ] = False,
) -> None:
    """Write a trained model as ONNX, for runtimes without PyTorch; or share it on the hub.

    The graph takes any number of rows: places as degrees, longitude first, float32; images as the
    model's features, or pixels out of its transform. Before the file is written, onnxruntime has to
    give the model's own answers, also at the poles, at 180 degrees and without a place.

    With --to, the folder of the model with its card goes to the Hugging Face hub, private unless
    you say otherwise. Log in with hf auth login first.

    **Examples**

        geocsp export runs/pretrain -o location.onnx

        geocsp export runs/classifier -o classifier.onnx --part classifier

        geocsp export runs/classifier --to hf://me/birds --license cc-by-4.0
    """
    if (output is None) == (to is None):
        raise typer.BadParameter("give -o FILE for ONNX, or --to hf://owner/name for the hub")
    from geocsp.models import load

    if to is not None:
        if part is not None:
            raise typer.BadParameter("--part is for ONNX; the hub gets the whole model")
        _share(load(model), model, to, public, license_, as_json)
        return
    if public or license_ is not None:
        raise typer.BadParameter("--public and --license go with --to")
    assert output is not None
    _check_output(output)
    with _working("tracing the model"):
        written = _export(load(model), output, part, opset, check)
    _show(written, as_json)


def _export(
    model: LocationModel, output: Path, part: PartChoice | None, opset: int, check: bool
) -> OnnxFile:
    from geocsp.export import Part, export_onnx

    chosen = None if part is None else Part(part.value)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return export_onnx(model, output, chosen, opset=opset, compare=check)
    except OSError as error:
        raise DataError(f"cannot write {output}: {error.strerror or error}") from error


def _share(
    model: LocationModel, source: str, to: str, public: bool, license_: str | None, as_json: bool
) -> None:
    from geocsp.card import ModelCard
    from geocsp.hub import Address, push

    where = Address.parse(to)
    model.card = _card(model, source)
    if license_ is not None:
        model.card = ModelCard.of(model, license=license_)
    with _working(f"sending to {to}"):
        address = push(model, where.repo_id, private=not public, revision=where.revision)
    typer.echo(json.dumps({"address": address}) if as_json else address)


def _card(model: LocationModel, source: str) -> Any:
    """The card of the model, or what its run says."""
    from geocsp.card import ModelCard, card_of_run
    from geocsp.train.folder import RUN_FILE

    if model.card is not None and model.card != ModelCard(versions=model.card.versions):
        return model.card
    folder = Path(source).expanduser()
    run = next((f for f in (folder, folder.parent) if (f / RUN_FILE).is_file()), None)
    return model.card if run is None else card_of_run(run)


def _check_output(output: Path) -> None:
    if output.is_dir():
        raise DataError(f"{output} is a folder; name a file, such as {output / 'model.onnx'}")


def _working(what: str) -> Any:
    """A spinner on a terminal."""
    console = Console(stderr=True, quiet=not sys.stderr.isatty())
    return console.status(plain(what), spinner="dots")


def _show(written: OnnxFile, as_json: bool) -> None:
    facts = asdict(written) | {"path": str(written.path)}
    if as_json:
        typer.echo(json.dumps(facts))
        return
    inputs = ", ".join(
        f"{name} ({', '.join('N' if size is None else str(size) for size in shape)})"
        for name, shape in written.inputs.items()
    )
    lines = {
        "part": written.part.value,
        "inputs": inputs,
        "outputs": ", ".join(written.outputs),
        "opset": str(written.opset),
        "bytes": f"{written.bytes:,}",
        "check": _checked(written),
        "file": str(written.path),
    }
    typer.echo("\n".join(f"{name:9} {value}" for name, value in lines.items()))


def _checked(written: OnnxFile) -> str:
    if written.difference is None:
        return "not asked for"
    off = ", ".join(f"{name} {value:.1g}" for name, value in written.difference.largest.items())
    return f"onnxruntime differs by at most {off} over {written.difference.rows} rows"
