"""What ``geocsp finetune`` does once its options are read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from torch import Tensor

from geocsp.card import (
    Coverage,
    Metric,
    ModelCard,
    TrainingData,
    card_of_run,
    versions_now,
    without_folders,
)
from geocsp.commands.pretrain_work import ImagesBar, one_line
from geocsp.commands.sources import read_source
from geocsp.config import read_config, values_of
from geocsp.data.named.no_images import NoImages
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import QUARANTINE_FILE, write_quarantine
from geocsp.errors import DataError
from geocsp.files import write_atomically
from geocsp.images.base import ImageEncoder
from geocsp.images.features import Features, compute_features, open_features
from geocsp.location import LocationEncoder
from geocsp.model import GeoModel
from geocsp.models import geo_model_of, load, load_with_images, run_of
from geocsp.presets import BEST, PRESETS, Preset, read_preset
from geocsp.saved import Saved
from geocsp.train.classifier import train_classifier
from geocsp.train.examples import Examples, is_features
from geocsp.train.folder import CONFIG_FILE
from geocsp.train.priors import train_prior

FEATURES_FOLDER, REPORT_FILE = "features", "finetune.json"
_HELD_OUT = ("validation", "val", "valid", "dev")
_TEST = ("test", "testing")


@dataclass(frozen=True)
class Job:
    """What is to be done; see the options of the command."""

    source: str
    options: ReadOptions
    model: str
    output: Path
    preset: str | None
    seed: int
    licence: str | None
    allow_download: bool
    workers: int | None


def work(job: Job, *, as_json: bool, strict: bool) -> None:
    """Train, save, and tell what was done.

    Raises:
        DataError: source, model or labels cannot be used, or rows were left out and that is to be
            an error.
        MissingExtraError: a library that is needed is not installed.
    """
    preset = replace(_preset(job), seed=job.seed)
    with one_line():
        examples, model = _examples(job)
        _check_location(preset, model, job)
        trained, facts = _trained(job, preset, examples, model)
    facts |= {
        "seed": job.seed,
        "source": job.source,
        "model": job.model,
        "data": examples.fingerprint,
        "settings": values_of(preset),
        "versions": versions_now(),
    }
    trained.save_pretrained(job.output, _card(job, examples, facts))
    text = json.dumps(facts, indent=2)
    write_atomically(job.output / REPORT_FILE, text.encode())
    listed = job.output / QUARANTINE_FILE
    if examples.problems:
        write_quarantine(listed, examples.problems)
    typer.echo(text if as_json else _told(job, facts, examples))
    if examples.problems and strict:
        raise DataError(f"images and rows left out: {len(examples.problems):,}; see {listed}")


def _card(job: Job, examples: Examples, facts: dict[str, Any]) -> ModelCard:
    assert examples.label is not None
    run = run_of(job.model)
    encoder = "" if run is None else card_of_run(run).image_encoder
    data = TrainingData(
        name=Path(job.source).name,
        license=job.licence or "",
        fingerprint=facts["data"],
        images=len(examples),
        labels=facts["labelled"],
    )
    held = f"{facts.get('held_out')} labelled images while they were held out"
    return ModelCard(
        data=data,
        coverage=Coverage.of(examples.lonlat, examples.labels, examples.label.names),
        metrics=tuple(
            Metric(f"top-1 accuracy, {name}", value, held)
            for name, value in facts.get("top1", {}).items()
        ),
        image_encoder=encoder,
        settings=without_folders(facts["settings"]),
        seed=job.seed,
        versions=facts["versions"],
    )


def _preset(job: Job) -> Preset:
    """The preset that is named, or that of the run."""
    if job.preset in PRESETS:
        return PRESETS[job.preset]
    if job.preset is not None:
        return read_preset(Path(job.preset))
    run = run_of(job.model)
    return BEST if run is None else read_config(run / CONFIG_FILE, Preset)


def _examples(job: Job) -> tuple[Examples, GeoModel | None]:
    """What there is to train on, and the model that takes it; None for places alone."""
    if is_features(job.source):
        model = _with_images(job)
        assert model.image is not None
        features = open_features(Path(job.source).expanduser())
        _check_features(features, model.image, job.source)
        return _of(features), model
    table = read_source(job.source, job.options, job.output)
    if table.label is None:
        raise DataError(
            f"{job.source} has no labels; name their column with --label-column, or put photos "
            "into sub-folders named by class"
        )
    if isinstance(table.images, NoImages):
        known = load(job.model)
        return Examples.of(table), known if isinstance(known, GeoModel) else None
    model = _with_images(job)
    assert model.image is not None
    with ImagesBar() as bar:
        folder = job.output / FEATURES_FOLDER
        features = compute_features(
            model.image, table, folder, workers=job.workers, on_progress=bar
        )
    return _of(features), model


def _of(features: Features) -> Examples:
    examples = Examples.of(features.table, features)
    about = features.cache.about() or {}
    key = f"{about.get('encoder_fingerprint')} {about.get('data_fingerprint')}"
    return replace(examples, key=key)


def _with_images(job: Job) -> GeoModel:
    model = load_with_images(job.model, allow_download=job.allow_download)
    return geo_model_of(model, job.model)


def _check_features(features: Features, encoder: ImageEncoder, source: str) -> None:
    made_by = (features.cache.about() or {}).get("encoder_fingerprint")
    if made_by != encoder.fingerprint():
        raise DataError(
            f"the features in {source} are of another image encoder than the model was trained on; "
            "name the images"
        )


def _check_location(preset: Preset, model: GeoModel | None, job: Job) -> None:
    """A preset that trains the location encoder on has to have the one of the model."""
    if model is None or preset.linear is not None:
        return
    ours, theirs = preset.build_location(0), model.location
    if _shapes(ours) != _shapes(theirs):
        raise DataError(
            f"the preset trains a {type(ours).__name__} with other weights than the "
            f"{type(theirs).__name__} of {job.model}; leave out --preset, or take best"
        )


def _shapes(location: LocationEncoder) -> dict[str, torch.Size]:
    return {name: weights.shape for name, weights in location.state_dict().items()}


def _trained(
    job: Job, preset: Preset, examples: Examples, model: GeoModel | None
) -> tuple[Saved, dict[str, Any]]:
    if examples.images is None:
        return _trained_prior(preset, examples, model)
    assert model is not None
    kept, held = _divided(examples)
    classifier, report = train_classifier(preset, model, kept, seed=job.seed, held_out=held)
    return classifier, asdict(report)


def _trained_prior(
    preset: Preset, examples: Examples, model: GeoModel | None
) -> tuple[Saved, dict[str, Any]]:
    """A location prior of places with labels."""
    assert examples.label is not None
    assert examples.labels is not None
    prior = train_prior(
        preset,
        examples.label.names,
        examples.lonlat,
        examples.labels,
        seed=preset.seed,
        pretrained=model,
        time=examples.time if preset.build_location(0).time.dim else None,
    )
    return prior, {"labelled": int((examples.labels >= 0).sum())}


def _divided(examples: Examples) -> tuple[Examples, Tensor | None]:
    """All rows but those of a split for tests, and the labelled ones of a split for validation."""
    split = examples.split
    if split is None:
        return examples, None
    names = [name.lower() for name in split.names]
    tested = [code for code, name in enumerate(names) if name in _TEST]
    kept = np.flatnonzero(~np.isin(split.codes, tested))
    held = [code for code, name in enumerate(names) if name in _HELD_OUT]
    if not len(kept):
        raise DataError("all images are of a split for tests, and none are left to train on")
    rest = examples.take(kept)
    labels = rest.labels
    assert labels is not None
    chosen = np.isin(split.codes[kept], held) & (labels.numpy() >= 0)
    return rest, torch.from_numpy(np.flatnonzero(chosen)) if chosen.any() else None


def _told(job: Job, facts: dict[str, Any], examples: Examples) -> str:
    lines = [f"{facts['labelled']:,} labelled places trained on"]
    if "held_out" in facts:
        lines = [
            f"{facts['labelled']:,} labelled and {facts['unlabelled']:,} other images trained on",
            f"accuracy on {facts['held_out']:,} images while they were held out: "
            + ", ".join(f"{name} {value:.1%}" for name, value in facts["top1"].items()),
            "the place is trusted where it is like the training places"
            if facts["gain"] > facts["error"]
            else "these images do not show that the place helps, so it is not trusted",
        ]
    lines += [f"note: {note}" for note in examples.notes]
    if examples.problems:
        lines.append(
            f"{len(examples.problems):,} rows left out; see {job.output / QUARANTINE_FILE}"
        )
    return "\n".join([*lines, f"in {job.output}"])
