"""``geocsp geolocate``: where a photo was taken."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geocsp.commands.interrupts import resumable
from geocsp.data.quarantine import QUARANTINE_FILE, write_quarantine
from geocsp.errors import DataError, MissingExtraError
from geocsp.files import write_atomically
from geocsp.geolocate.search import Index

if TYPE_CHECKING:
    from geocsp.geolocate.answers import Answer
    from geocsp.geolocate.gallery import Gallery
    from geocsp.model import GeoModel

Told = Callable[[int, int | None], None]
"""Told how much is done, and of how much."""
RESULTS_FILE = "results.json"
_GRID_KM = 50.0


def geolocate(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO", help="Image files.", show_default=False),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Run folder of geocsp pretrain, or a saved model with images."
        ),
    ] = "runs/pretrain",
    grid: Annotated[
        float | None,
        typer.Option(
            metavar="KM",
            help="Compare with cells of equal area all over the Earth, so wide in km; 50 if no "
            "gallery is given.",
        ),
    ] = None,
    land: Annotated[
        bool, typer.Option("--land", help="Leave out cells of the grid whose centre is at sea.")
    ] = False,
    gallery: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Compare with given places: a table with lon and lat, a folder of features, or "
            "any source of images.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Answers to a photo.")] = 10,
    apart: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=20_000.0,
            metavar="KM",
            help="Answers are at least so far apart; each has the probability of all places "
            "around it. 0: every place is an answer.",
        ),
    ] = 500.0,
    index: Annotated[
        Index,
        typer.Option(help="Search all places, or for very many an index (extra search)."),
    ] = Index.EXACT,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the results, made if needed.")
    ] = Path("runs/geolocate"),
    maps: Annotated[
        bool, typer.Option("--maps/--no-maps", help="Draw a map of the world for each photo.")
    ] = True,
    allow_download: Annotated[
        bool,
        typer.Option(
            "--allow-download",
            help="Download published weights of the image encoder that are not on this computer.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON instead of tables.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2 if any photo had to be left out.")
    ] = False,
) -> None:
    """Find out where photos were taken: ranked places, and a map of the probability.

    The location embeddings of the places are kept in the cache folder, so that the next call with
    the same model and places is quick. A photo with GPS coordinates in it is told how far off the
    first answer is. Writes results.json, a PNG for each photo and quarantine.csv (photos that could
    not be used).

    **Examples**

        geocsp geolocate photo.jpg --model runs/pretrain

        geocsp geolocate *.jpg --grid 25 --apart 1000 --count 3 --json

        geocsp geolocate photo.jpg --gallery places.csv --apart 0

        geocsp geolocate photo.jpg --gallery runs/features --index faiss -o runs/where
    """
    if grid is not None and gallery is not None:
        raise typer.BadParameter("give --grid or --gallery, not both")
    if land and gallery is not None:
        raise typer.BadParameter("--land goes with --grid")
    spacing = None if gallery is not None else _GRID_KM if grid is None else grid
    if spacing is not None and not 1 <= spacing <= 5000:
        raise typer.BadParameter(f"--grid must be in 1..5000 km, got {spacing:g}")
    from geocsp.geolocate.answers import answers, open_photos
    from geocsp.models import geo_model_of, load_with_images

    geo = geo_model_of(load_with_images(model, allow_download=allow_download), model)
    with _shown() as show, resumable():
        opened, embeddings, problems = open_photos(geo, photos, show("photos"))
        places = _gallery(geo, gallery, spacing, show("places"), land=land)
        show("index")(0, None)
        searched = index.over(places)
    count = min(count, len(places))
    output.mkdir(parents=True, exist_ok=True)
    write_quarantine(output / QUARANTINE_FILE, problems)
    results, names = [], _map_names([path for path, _ in opened])
    for answer, name in zip(
        answers(opened, embeddings, searched, count, apart), names, strict=True
    ):
        results.append(answer.to_dict() | {"map": name if maps else None})
        if maps:
            _draw(answer, places, output / name, even=spacing is not None)
    settings = {
        "model": model,
        "grid_km": spacing,
        "land": land,
        "gallery": gallery,
        "count": count,
        "apart_km": apart,
        "index": str(index),
    }
    facts = _facts(settings, geo, places, results) | {
        "left_out": [{"photo": problem.file, "reason": problem.reason} for problem in problems]
    }
    text = json.dumps(facts, indent=2)
    write_atomically(output / RESULTS_FILE, text.encode())
    if as_json:
        typer.echo(text)
    else:
        _show(facts, output)
    if strict and problems:
        raise DataError(f"{len(problems)} photos were left out; see {output / QUARANTINE_FILE}")


def _gallery(
    model: GeoModel, source: str | None, spacing: float | None, show: Told, *, land: bool
) -> Gallery:
    from geocsp.geolocate.gallery import Gallery

    if source is None:
        return Gallery.grid(model, spacing or _GRID_KM, only_land=land, on_places=show)
    from geocsp.geolocate.places import read_gallery

    return Gallery.of(model, read_gallery(source), on_places=show)


@contextmanager
def _shown() -> Iterator[Callable[[str], Told]]:
    """Progress on a terminal; what is yielded makes a bar for work of a name."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console, hidden = Console(stderr=True), not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:

        def bar(name: str) -> Told:
            task = progress.add_task(name, total=None, visible=False)
            return lambda done, total: progress.update(
                task, completed=done, total=total, visible=True
            )

        yield bar


def _map_names(paths: Sequence[Path]) -> list[str]:
    """A file name for the map of each photo, none twice, whatever the case of letters."""
    names: list[str] = []
    for path in paths:
        stem, number = path.stem, 1
        while f"{stem}.png".lower() in (name.lower() for name in names):
            number += 1
            stem = f"{path.stem}-{number}"
        names.append(f"{stem}.png")
    return names


def _draw(answer: Answer, places: Gallery, path: Path, *, even: bool) -> None:
    try:
        from geocsp.geolocate.picture import picture
    except ImportError as error:
        raise MissingExtraError("matplotlib", "evaluate") from error
    write_atomically(path, picture(answer, places.lonlat, even=even))


def _facts(
    settings: dict[str, Any], model: GeoModel, places: Gallery, results: list[dict[str, Any]]
) -> dict[str, Any]:
    import platform
    from importlib.metadata import version

    from geocsp.geolocate.store import places_fingerprint
    from geocsp.models import fingerprint_of

    versions = {name: version(name) for name in ("geocsp", "torch", "numpy", "pillow")}
    return {
        "settings": settings,
        "versions": versions | {"python": platform.python_version()},
        "model_fingerprint": fingerprint_of(model),
        "places": len(places),
        "places_fingerprint": places_fingerprint(places.lonlat),
        "photos": results,
    }


def _show(facts: dict[str, Any], output: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from geocsp.commands.shown import plain

    console = Console()
    for photo in facts["photos"]:
        table = Table(title=Text(plain(photo["photo"]), "bold"), title_justify="left", box=None)
        named = all("country" in place for place in photo["places"])
        for column in ("", "lon", "lat", "probability", "score"):
            table.add_column(column, justify="right")
        if named:
            table.add_column("country")
        for place in photo["places"]:
            numbers = (f"{place['lon']:.3f}", f"{place['lat']:.3f}")
            share, score = f"{100 * place['probability']:.3g} %", f"{place['score']:.4f}"
            country = (Text(place["country"]),) if named else ()
            table.add_row(str(place["rank"]), *numbers, share, score, *country)
        console.print(table)
        if photo["error_km"] is not None:
            lon, lat = photo["lonlat"]
            console.print(
                f"  the photo says lon {lon:.3f}, lat {lat:.3f}: {photo['error_km']:,.1f} km from 1"
            )
        for note in photo["notes"]:
            console.print(Text(f"  note: {plain(note)}", style="dim"))
    for photo in facts["left_out"]:
        console.print(Text(f"left out: {plain(photo['photo'])} {plain(photo['reason'])}", "yellow"))
    console.print(Text(f"{plain(str(output))} has {RESULTS_FILE}", "dim"))
