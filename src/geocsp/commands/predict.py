"""``geocsp predict``: classes with and without the place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geocsp.commands.interrupts import resumable
from geocsp.commands.sources import Workers, reads_a_source
from geocsp.data.options import ReadOptions

_SCORES, _FUSION = "Scores of any classifier", "How image and place are joined"


@reads_a_source
def predict(
    options: ReadOptions,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="Images: what geocsp features takes, such as a folder of photos.",
            show_default=False,
        ),
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(
            help="Instead of images, a table with a column of scores for every class (Parquet, "
            "CSV), or an array (NPY, NPZ).",
            rich_help_panel=_SCORES,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="For images, what geocsp finetune made; for scores, anything with a location "
            "prior: also a saved prior, or another project's checkpoint file.",
        ),
    ] = "runs/classifier",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File of predictions, .parquet or .csv.")
    ] = Path("runs/predictions.parquet"),
    top: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    every_class: Annotated[
        bool, typer.Option("--all", help="Also write the probability of every class.")
    ] = False,
    logits: Annotated[
        bool,
        typer.Option("--logits", help="The scores are logits.", rich_help_panel=_SCORES),
    ] = False,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="File that names the columns of an array, one on each line.",
            rich_help_panel=_SCORES,
        ),
    ] = None,
    places: Annotated[
        Path | None,
        typer.Option(
            help="Table with the coordinates of the same rows, if the scores come without.",
            rich_help_panel=_SCORES,
        ),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column that names a row.", rich_help_panel=_SCORES)
    ] = None,
    fit: Annotated[
        Path | None,
        typer.Option(
            help="Fit the fusion on the labels of these scores, write it to this JSON file, and "
            "stop.",
            rich_help_panel=_FUSION,
        ),
    ] = None,
    support: Annotated[
        Path | None,
        typer.Option(
            help="With --fit, table of the places that the prior was trained on, so that others "
            "are trusted less; a classifier of geocsp finetune knows them.",
            rich_help_panel=_FUSION,
        ),
    ] = None,
    fusion: Annotated[
        Path | None,
        typer.Option(
            help="File that --fit wrote; default: for images as the classifier was trained, for "
            "scores the plain product.",
            rich_help_panel=_FUSION,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, help="With --fit, of the draw from very many rows.", rich_help_panel=_FUSION
        ),
    ] = 0,
    allow_download: Annotated[
        bool,
        typer.Option(
            "--allow-download",
            help="Download published weights of the image encoder that are not on this computer.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2 if anything had to be left out.")
    ] = False,
    workers: Workers = None,
) -> None:
    """Name the likeliest classes of images, by the image alone and with the place.

    Takes images, or what any classifier says of them: a table with columns named for the classes,
    and with longitude and latitude. Writes a row for each: id, lon, lat, placed, the likeliest
    classes of the image alone (image_class_1, image_probability_1, ...) and with the place
    (class_1, probability_1, ...). Without coordinates the image's answer stands. Rows that cannot
    be used are listed beside the file. Where there are labels, the accuracy of both is printed.

    **Examples**

        geocsp predict photos/ --model runs/classifier -o predictions.csv

        geocsp predict --scores scores.parquet --model runs/classifier -o predictions.parquet

        geocsp predict --scores logits.npy --logits --classes names.txt --places places.csv

        geocsp predict --scores validation.parquet --fit fusion.json

        geocsp predict --scores test.parquet --fusion fusion.json --top 3 --all
    """
    from geocsp.commands.predict_work import Job, work

    if (source is None) == (scores is None):
        raise typer.BadParameter("give either images (SOURCE) or --scores")
    given = {
        "--logits": logits,
        "--classes": classes,
        "--places": places,
        "--id-column": id_column,
        "--fit": fit,
    }
    if source is not None and (wrong := [name for name, value in given.items() if value]):
        raise typer.BadParameter(f"{wrong[0]} goes with --scores, not with images")
    if fit is not None and fusion is not None:
        raise typer.BadParameter("--fit makes what --fusion takes; give one of them")
    if support is not None and fit is None:
        raise typer.BadParameter("--support goes with --fit")
    job = Job(
        source=source,
        scores=scores,
        options=options,
        model=model,
        output=output,
        top=top,
        every_class=every_class,
        logits=logits,
        classes=classes,
        places=places,
        identity=id_column,
        fit=fit,
        support=support,
        fusion=fusion,
        seed=seed,
        allow_download=allow_download,
        workers=workers,
    )
    with resumable():
        work(job, as_json=as_json, strict=strict)
