"""``geocsp import``: another project's checkpoint as a folder of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import geocsp
from geocsp.card import ModelCard
from geocsp.errors import DataError


def import_(
    checkpoint: Annotated[Path, typer.Argument(help="The file to import.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder, made if needed.")],
    training_locations: Annotated[
        Path | None,
        typer.Option(
            help="rbf encoders: their training places in order, .csv with lon and lat, or .npy."
        ),
    ] = None,
    environment: Annotated[
        Path | None,
        typer.Option(help="SINR with environment: its raster, .npy (rows, columns, bands)."),
    ] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="Text file with one class name a line, in order.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was imported as JSON.")
    ] = False,
) -> None:
    """Turn another project's checkpoint into a folder of ours.

    Reads files of CSP, TorchSpatial, Sphere2Vec, SatCLIP, GeoCLIP, SINR and geo_prior without
    running anything in them, and writes config.json, model.safetensors and a model card.

    **Examples**

        geocsp import model_inat_2018_gridcell.pth.tar -o models/inat2018

        geocsp import satclip-resnet18-l40.ckpt -o models/satclip

        geocsp import model_rbf.pth.tar -o models/rbf --training-locations train.csv
    """
    from geocsp.data.places import read_places
    from geocsp.interop.inputs import read_names, read_raster

    model = geocsp.import_checkpoint(
        checkpoint,
        training_locations=read_places(training_locations) if training_locations else None,
        environment=read_raster(environment) if environment else None,
        class_names=read_names(class_names) if class_names else None,
    )
    try:
        model.save_pretrained(output, ModelCard.of(model, notes=f"From {checkpoint.name}."))
    except OSError as error:
        raise DataError(f"cannot write {output}: {error.strerror}") from error
    encoder = model.location if isinstance(model, geocsp.GeoPrior) else model
    facts = {
        "model": model.kind,
        "encoder": encoder.config()["location"]["name"],
        "dim": encoder.dim,
        "resolution_km": round(encoder.resolution_km, 3),
        "classes": len(model.class_names) if isinstance(model, geocsp.GeoPrior) else 0,
        "folder": str(output),
    }
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        typer.echo("\n".join(f"{name:14} {value}" for name, value in facts.items()))
