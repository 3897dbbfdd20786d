"""``geocsp map``: what a model knows about places, as maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geocsp.commands.devices import Device
from geocsp.maps.files import MapFormat

_WHAT, _WHERE, _HOW = "What to show (one of these)", "Where and when", "How to show it"


def map_(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Run folder, saved folder or checkpoint file.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help=".png (picture), .tif (GeoTIFF), .geojson or .gpkg (polygons); a folder for "
            "several classes.",
        ),
    ] = Path("map.png"),
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Probability of a class; several may be named.",
            show_default=False,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    all_classes: Annotated[
        bool,
        typer.Option("--all-classes", help="Probability of every class.", rich_help_panel=_WHAT),
    ] = False,
    best_class: Annotated[
        bool, typer.Option("--best-class", help="The most likely class.", rich_help_panel=_WHAT)
    ] = False,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="Entropy of the class, from 0 (certain) to 1.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    distance: Annotated[
        bool,
        typer.Option(
            "--distance",
            help="Kilometres to the nearest place that the prior was trained on.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    embedding: Annotated[
        bool,
        typer.Option("--embedding", help="The embedding as colours.", rich_help_panel=_WHAT),
    ] = False,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="LON,LAT",
            help="Likeness of the embedding to that of a place.",
            show_default=False,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            metavar="W,S,E,N",
            help="Window in degrees, west above east over the antimeridian; default: the globe.",
            show_default=False,
            rich_help_panel=_WHERE,
        ),
    ] = None,
    step: Annotated[
        float | None,
        typer.Option(
            metavar="DEGREES",
            help="Size of a cell; default: some 500 or more along the longer side.",
            show_default=False,
            rich_help_panel=_WHERE,
        ),
    ] = None,
    land_only: Annotated[
        bool, typer.Option("--land-only", help="Leave out water.", rich_help_panel=_WHERE)
    ] = False,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="MOMENT",
            help="For models that know the date or hour, such as 2026-06-21T12:00: the same local "
            "hour everywhere; with a time zone (Z, +02:00) one moment.",
            show_default=False,
            rich_help_panel=_WHERE,
        ),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Of polygons, with commas between; default: about five round ones.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(help="Of a picture.", show_default=False, rich_help_panel=_HOW),
    ] = None,
    format_: Annotated[
        MapFormat | None,
        typer.Option(
            "--format",
            help="Of the files in a folder; default: png.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Of the places that colours are fitted on.", rich_help_panel=_HOW),
    ] = 0,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Map what a model knows about places: classes, certainty, embeddings.

    Pictures have coasts and borders of Natural Earth; the globe is in an equal-area projection.
    GeoTIFF and polygons are in degrees (WGS84). Polygons show where a value reaches each level, or
    where each class is the most likely. Settings, version and fingerprint are in every file.

    **Examples**

        geocsp map runs/classifier --class "Parus major" --land-only -o great-tit.png

        geocsp map runs/classifier --best-class --bounds -10,35,5,44 --step 0.05 -o iberia.tif

        geocsp map runs/classifier --class fox --class wolf --format gpkg --levels 0.5,0.9 -o maps

        geocsp map runs/classifier --uncertainty --bounds 160,-50,-170,-10 -o pacific.png

        geocsp map runs/pretrain --embedding --land-only -o embedding.png

        geocsp map runs/pretrain --like 2.35,48.86 -o like-paris.png
    """
    from geocsp.commands.map_work import Asked, make_maps

    asked = Asked(
        classes=tuple(classes or ()),
        all_classes=all_classes,
        best_class=best_class,
        uncertainty=uncertainty,
        distance=distance,
        embedding=embedding,
        like=like,
        bounds=bounds,
        step=step,
        land_only=land_only,
        time=time,
        levels=levels,
        title=title,
        seed=seed,
    )
    make_maps(model, asked, output, format_, device=device, as_json=as_json)
