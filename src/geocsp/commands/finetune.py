"""``geocsp finetune``: few labels make a classifier of image and place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geocsp.commands.interrupts import resumable
from geocsp.commands.sources import Source, Workers, prepare, reads_a_source
from geocsp.data.options import ReadOptions


@reads_a_source
def finetune(
    options: ReadOptions,
    source: Source,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Run folder of geocsp pretrain, or a saved model with images."
        ),
    ] = "runs/pretrain",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the classifier, made if needed.")
    ] = Path("runs/classifier"),
    preset: Annotated[
        str | None,
        typer.Option(
            help="How the location prior is trained: a preset or a YAML file; default: as the run "
            "was trained, or best."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of blocks and training.")] = 0,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license", "--licence", help="Licence of the training data, for the model card."
        ),
    ] = None,
    allow_download: Annotated[
        bool,
        typer.Option(
            "--allow-download",
            help="Download published weights of the image encoder that are not on this computer.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2 if any row or image was left out.")
    ] = False,
    workers: Workers = None,
) -> None:
    """Train P(class | image), P(class | place) and what joins them, with few labels.

    Labels are a column of the source or the names of sub-folders; images without one help, too.
    Labelled images in spatial blocks are held out in turn (or those of a split "validation", for
    good): they choose whether the image head sees image features or the embedding that places have
    shaped, calibrate the product, and say where the place is to be trusted. Writes config.json,
    model.safetensors, a model card and finetune.json, for geocsp predict, map, geolocate and app. A
    published data set without images, such as sinr, makes a location prior.

    **Examples**

        geocsp finetune photos/ --model runs/pretrain -o runs/classifier

        geocsp finetune labels.csv --folder photos --label-column species --keep-unplaced

        geocsp finetune runs/features -m runs/pretrain --json
    """
    from geocsp.commands.finetune_work import Job, work

    prepare(output)
    job = Job(source, options, model, output, preset, seed, licence, allow_download, workers)
    with resumable():
        work(job, as_json=as_json, strict=strict)
