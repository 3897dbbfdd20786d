"""The command ``geocsp``: thin verbs over the library's functions."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import geocsp
from geocsp.commands.app import app as explore
from geocsp.commands.check import check
from geocsp.commands.compare import compare
from geocsp.commands.demo import demo
from geocsp.commands.embed import embed
from geocsp.commands.evaluate import evaluate
from geocsp.commands.export import export
from geocsp.commands.features import features
from geocsp.commands.finetune import finetune
from geocsp.commands.geolocate import geolocate
from geocsp.commands.import_ import import_
from geocsp.commands.map import map_
from geocsp.commands.predict import predict
from geocsp.commands.pretrain import pretrain
from geocsp.commands.probe import probe
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


app.command("demo")(demo)
app.command("check")(check)
app.command("features")(features)
app.command("pretrain")(pretrain)
app.command("finetune")(finetune)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.command("probe")(probe)
app.command("predict")(predict)
app.command("embed")(embed)
app.command("map")(map_)
app.command("geolocate")(geolocate)
app.command("app")(explore)
app.command("import")(import_)
app.command("export")(export)


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
