"""The command ``geocsp``: thin verbs over the library's functions."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import geocsp
from geocsp.errors import DataError, MissingExtraError

VERBS = {
    "demo": "demo:demo",
    "check": "check:check",
    "features": "features:features",
    "pretrain": "pretrain:pretrain",
    "finetune": "finetune:finetune",
    "evaluate": "evaluate:evaluate",
    "compare": "compare:compare",
    "probe": "probe:probe",
    "predict": "predict:predict",
    "embed": "embed:embed",
    "map": "map:map_",
    "geolocate": "geolocate:geolocate",
    "app": "app:app",
    "import": "import_:import_",
    "export": "export:export",
}
"""Module in ``geocsp.commands`` and function of each verb, imported when it is asked for."""


class _Verbs(TyperGroup):
    """Imports one verb, not all of them, so that a command starts sooner."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # of click, or the copy in typer
        if cmd_name not in VERBS:
            return None
        module, _, function = VERBS[cmd_name].partition(":")
        verb = _typer()
        verb.command(cmd_name)(getattr(import_module(f"geocsp.commands.{module}"), function))
        return typer.main.get_command(verb)


def _typer() -> typer.Typer:
    return typer.Typer(
        name="geocsp",
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )


app = _typer()


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"geocsp {geocsp.__version__}")
        raise typer.Exit


@app.callback(cls=_Verbs, no_args_is_help=True)
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    """Learn from geo-tagged images without labels."""


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
