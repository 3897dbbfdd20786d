"""``geocsp app``: look at a model in the browser."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from geocsp.commands.shown import plain
from geocsp.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from geocsp.models import LocationModel

_MEGABYTE = 2**20
_CARD_FILE = "README.md"
_FIELDS = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def app(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Run folder of geocsp pretrain or finetune, saved model, or checkpoint file.",
            show_default=False,
        ),
    ],
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Run folder of geocsp evaluate or demo, to show its curves."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than 127.0.0.1 may let others in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to listen on; 0: any that is free.")
    ] = 8765,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
    max_upload: Annotated[
        float, typer.Option(min=0.1, max=500, metavar="MB", help="Largest photo file.")
    ] = 20.0,
    spacing: Annotated[
        float,
        typer.Option(
            min=10, max=1000, metavar="KM", help="Between the places that photos are compared with."
        ),
    ] = 100.0,
) -> None:
    """Explore a model in the browser: maps, places like this one, photos, label efficiency.

    Shows a map of the world with the probability of each class, the embedding as colours and what
    the model is unsure of. A click says what is likely there and which places are alike. A photo
    that is dropped on the page is classified from its pixels and with its place, and located on a
    map. Everything stays on this computer; Ctrl-C ends it.

    **Examples**

        geocsp app runs/classifier

        geocsp app runs/pretrain --report runs/evaluate

        geocsp app models/birds --port 9000 --no-open --max-upload 50
    """
    from geocsp.app.create import create_app
    from geocsp.app.explorer import AppSettings, Explorer
    from geocsp.app.guards import LOOPBACK
    from geocsp.app.report import curves_of
    from geocsp.app.serve import listen, serve

    if report is not None:
        curves_of(report)  # an error now, and not on the page
    settings = AppSettings(max_upload_bytes=int(max_upload * _MEGABYTE), spacing_km=spacing)
    inside = host in LOOPBACK or host.startswith("127.")
    with listen(host, port) as listening:
        with Console(stderr=True).status("Loading the model"):
            loaded = _load(model)
            explorer = Explorer(
                loaded, _name(model), card=_card(model), report=report, settings=settings
            )
        if not inside:
            _warn(f"on {host}, everybody who reaches this computer can use the app")
        address = f"http://{_written(host)}:{listening.getsockname()[1]}/"

        def started() -> None:
            typer.echo(f"{plain(explorer.name)} ({loaded.kind}) at {address} - Ctrl-C ends it")
            if browser:
                import webbrowser

                webbrowser.open(address)

        names = (host,) if inside else (host, socket.gethostname())
        application = create_app(explorer, hosts=(*LOOPBACK, *names), any_address=not inside)
        serve(application, listening, started)


def _load(source: str) -> LocationModel:
    """The model, if possible with the encoder that lets it take photos."""
    from geocsp.classifier import GeoClassifier
    from geocsp.model import GeoModel
    from geocsp.models import load, load_with_images

    model = load(source)
    if not isinstance(model, (GeoModel, GeoClassifier)):
        return model
    try:
        return load_with_images(source)
    except (DataError, MissingExtraError) as error:
        _warn(f"takes no photos: {error}")
        return model


def _name(source: str) -> str:
    return Path(source).expanduser().resolve().name or source


def _card(source: str) -> str | None:
    """The model card beside the weights, if there is one, without the fields above its text."""
    folder = Path(source).expanduser()
    for place in (folder, folder / "model", folder / "prior"):
        try:
            text = (place / _CARD_FILE).read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        return _FIELDS.sub("", text).strip()
    return None


def _written(host: str) -> str:
    """A host as it stands in an address that a browser on this computer can open."""
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _warn(line: str) -> None:
    print(f"geocsp: {line}", file=sys.stderr)
