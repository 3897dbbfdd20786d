"""``geocsp pretrain``: images and places into one embedding space, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from geocsp.commands.interrupts import resumable
from geocsp.commands.pretrain_work import FEATURES_FOLDER, Job, one_line, work
from geocsp.commands.sources import Source, Workers, prepare, reads_a_source
from geocsp.config import write_config
from geocsp.data.options import ReadOptions
from geocsp.presets import PRESETS, Preset, changed, read_preset
from geocsp.train.launch import Accelerator, launch
from geocsp.train.settings import Precision
from geocsp.train.sources import Extraction

_ENCODER, _HOW, _WHERE = "Image features of sources of images", "How to train", "Where and how fast"


@reads_a_source
def pretrain(
    options: ReadOptions,
    source: Source = "",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder, made if needed.")
    ] = Path("runs/pretrain"),
    preset: Annotated[
        str | None,
        typer.Option(help=f"How to train: {', '.join(PRESETS)}; default: best."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings; see --print-config.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings as YAML and stop.")
    ] = False,
    tune: Annotated[
        int | None,
        typer.Option(min=1, help="Search for better settings in so many trials.", metavar="N"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print run.json.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2 if any row or image was left out.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, rich_help_panel=_HOW, help="Seed.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=0, rich_help_panel=_HOW, help="Passes over all images.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=_HOW, help="Images in a step, over all processes."),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(rich_help_panel=_HOW, help="Peak learning rate.")
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_HOW,
            help="Share of the images, in whole blocks of the Earth, that is not trained on but "
            "looks for its places after each epoch.",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            rich_help_panel=_HOW,
            help="Stop after so many epochs without a better look, and keep the best weights.",
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(rich_help_panel=_WHERE, help="Numbers in matrix products."),
    ] = None,
    micro_batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            rich_help_panel=_WHERE,
            help="Most images in memory at once; the gradient stays that of the whole batch.",
        ),
    ] = None,
    accelerator: Annotated[
        Accelerator, typer.Option(rich_help_panel=_WHERE, help="What to train on.")
    ] = Accelerator.AUTO,
    devices: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=_WHERE, help="Processes on each machine.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, rich_help_panel=_WHERE, help="Machines.")] = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves for TensorBoard.")
    ] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log to Weights & Biases.")] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            "-e",
            rich_help_panel=_ENCODER,
            help="Network, as FAMILY:NAME; default: the preset's, or published features.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_ENCODER, help="File with weights for the network."),
    ] = None,
    allow_download: Annotated[
        bool,
        typer.Option(
            "--allow-download",
            rich_help_panel=_ENCODER,
            help="Download published weights that are not on this computer.",
        ),
    ] = False,
    pixels: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=_ENCODER, help="Width and height of its input."),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=_ENCODER, help="Number of channels of the images."),
    ] = None,
    train_image: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=_ENCODER,
            help="Train weights of the network along, by name, such as 'layer4.\\*' or '\\*'.",
            metavar="NAMES",
        ),
    ] = None,
    augment: Annotated[
        bool,
        typer.Option(
            "--augment", rich_help_panel=_ENCODER, help="Change images at random in every epoch."
        ),
    ] = False,
    workers: Workers = None,
) -> None:
    """Pre-train location encoder and image projection on geo-tagged images, without labels.

    SOURCE is a folder of features that `geocsp features` wrote, or anything that it reads; then
    features are computed first. Rows of split "train" are trained on where there is one. Presets
    that learn from classes (sinr) need labels and no images. Writes config.yaml, run.json,
    metrics.jsonl, checkpoints/, model/ and, of classes, prior/. Run again after an interruption, it
    goes on; run again when it is done, it does nothing.

    **Examples**

        geocsp pretrain runs/features -o runs/pretrain

        geocsp pretrain photos/ --hold-out 0.1 --patience 5 --precision bfloat16

        geocsp pretrain inat2018:/data/inat2018 --preset inat2018-paper

        geocsp pretrain sinr:/data/sinr --preset sinr

        geocsp pretrain runs/features --batch-size 65536 --micro-batch 1024 --devices 4

        geocsp pretrain runs/features --hold-out 0.1 --tune 30 -o runs/tune

        geocsp pretrain --preset satclip --print-config > own.yaml

        geocsp pretrain chips/ --config own.yaml
    """
    settings = changed(
        _chosen(preset, config),
        _given(
            {
                "seed": seed,
                "pretrain.epochs": epochs,
                "pretrain.batch_size": batch_size,
                "pretrain.learning_rate": learning_rate,
                "pretrain.precision": precision,
                "pretrain.micro_batch": micro_batch,
                "hold_out.share": hold_out,
                "hold_out.patience": patience,
                "image.encoder": encoder,
                "image.weights": None if weights is None else str(weights),
                "image.pixels": pixels,
                "image.channels": channels,
                "image.train": train_image or None,
                "image.augmentation": {} if augment else None,
            }
        ),
    )
    if print_config:
        typer.echo(write_config(settings), nl=False)
        return
    if not source:
        raise typer.BadParameter("name a source of images", param_hint="SOURCE")
    if tune is not None and (tensorboard or wandb):
        raise typer.BadParameter("--tune goes without --tensorboard and --wandb")
    extraction = Extraction(
        output / FEATURES_FOLDER, allow_download, workers, anew=encoder is not None
    )
    job = Job(
        source, options, settings, output, extraction, tune, tensorboard, wandb, as_json, strict
    )
    prepare(output)
    with resumable(), one_line():
        launch(work, job, devices=devices, nodes=nodes, accelerator=accelerator)


def _chosen(preset: str | None, config: Path | None) -> Preset:
    if preset is not None and config is not None:
        raise typer.BadParameter("choose one of --preset and --config")
    if config is not None:
        return read_preset(config)
    name = preset or "best"
    if name not in PRESETS:
        raise typer.BadParameter(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in values.items() if value is not None}
