"""What ``geocsp predict`` does once its options are read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from geocsp.classifier import GeoClassifier
from geocsp.commands.pretrain_work import ImagesBar
from geocsp.commands.shown import plain
from geocsp.commands.sources import prepare, read_source
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import quarantine_beside, quarantine_path
from geocsp.errors import DataError
from geocsp.files import write_record
from geocsp.fusion import Calibration, GuardedFusion, Mixture
from geocsp.images.features import compute_features
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoPrior
from geocsp.models import fingerprint_of, load, load_with_images, prior_of
from geocsp.predict import ScoreKind
from geocsp.scores import (
    FittedFusion,
    ImageScores,
    Predicted,
    PredictOptions,
    ScoreOptions,
    Scores,
    ScoreTable,
    fit_on,
    predict,
    read_places,
)


@dataclass(frozen=True)
class Job:
    """What is to be done; see the options of the command."""

    source: str | None
    scores: str | None
    options: ReadOptions
    model: str
    output: Path
    top: int
    every_class: bool
    logits: bool
    classes: Path | None
    places: Path | None
    identity: str | None
    fit: Path | None
    support: Path | None
    fusion: Path | None
    seed: int
    allow_download: bool
    workers: int | None


def work(job: Job, *, as_json: bool, strict: bool) -> None:
    """Predict or fit, and tell what was done.

    Raises:
        DataError: model, scores or images cannot be used, or rows were left out and that is to be
            an error.
        MissingExtraError: a library that is needed is not installed.
    """
    if job.fit is not None:
        _fit(job, job.fit, as_json=as_json)
        return
    scores, prior, fusion = _images(job) if job.source is not None else _table(job)
    if job.fusion is not None:
        fitted = FittedFusion.load(job.fusion)
        fitted.check(prior, job.fusion)
        fusion = fitted.fusion
    wanted = PredictOptions(job.top, job.every_class)
    with _counting("predicting", scores.rows) as counted:
        done = predict(scores, prior, job.output, fusion=fusion, options=wanted, on_rows=counted)
    facts = asdict(done) | _record(job, prior, fusion)
    write_record(job.output, facts)
    typer.echo(json.dumps(facts) if as_json else _told(job, done))
    if strict and done.left_out:
        raise DataError(f"{done.left_out:,} rows were left out; see {quarantine_path(job.output)}")


def _table(job: Job) -> tuple[Scores, GeoPrior | LinearPrior, None]:
    assert job.scores is not None
    prior = prior_of(load(job.model), job.model)
    return ScoreTable(job.scores, prior, _score_options(job)), prior, None


def _score_options(job: Job) -> ScoreOptions:
    return ScoreOptions(
        kind=ScoreKind.LOGITS if job.logits else ScoreKind.PROBABILITIES,
        columns=job.options.columns,
        identity=job.identity,
        crs=job.options.crs,
        classes=job.classes,
        places=job.places,
    )


def _images(
    job: Job,
) -> tuple[Scores, GeoPrior | LinearPrior, Calibration | Mixture | GuardedFusion]:
    """Images by their features, which a cache in the user's folder keeps."""
    assert job.source is not None
    model = load_with_images(job.model, allow_download=job.allow_download)
    if not isinstance(model, GeoClassifier):
        raise DataError(f"{job.model} knows no classes; geocsp finetune teaches it some")
    table = read_source(job.source, replace(job.options, keep_unplaced=True), job.output.parent)
    encoder = model.model.image
    assert encoder is not None
    with ImagesBar() as bar:
        features = compute_features(encoder, table, workers=job.workers, on_progress=bar)
    return ImageScores(features, model), model.prior, model.fusion


def _fit(job: Job, path: Path, *, as_json: bool) -> None:
    model = load(job.model)
    prior = prior_of(model, job.model)
    assert job.scores is not None
    scores = ScoreTable(job.scores, prior, _score_options(job))
    prepare(path.parent)
    with _counting("reading", scores.rows) as counted, quarantine_beside(path) as quarantine:
        fitted = fit_on(
            scores,
            prior,
            support=_support(job, model),
            seed=job.seed,
            report=quarantine.add,
            on_rows=counted,
        )
    fitted.save(path)
    facts = {
        "file": str(path),
        "rows": fitted.rows,
        "left_out": quarantine.count,
        "support": len(fitted.support),
        "fusion": _numbers(fitted.fusion),
        "notes": scores.notes,
    }
    typer.echo(json.dumps(facts) if as_json else _told_fit(fitted, path, scores.notes))


def _support(job: Job, model: object) -> Tensor | None:
    if job.support is not None:
        return read_places(job.support, ScoreOptions(columns=job.options.columns))
    return model.support if isinstance(model, GeoClassifier) else None


def _numbers(fusion: Calibration | Mixture | GuardedFusion | None) -> dict[str, Any]:
    if isinstance(fusion, GuardedFusion):
        return fusion.to_dict()
    return asdict(fusion or Calibration())


def _record(
    job: Job, prior: GeoPrior | LinearPrior, fusion: Calibration | Mixture | GuardedFusion | None
) -> dict[str, Any]:
    """Settings, versions and fingerprints behind the predictions."""
    settings = asdict(job)
    del settings["options"], settings["workers"], settings["allow_download"]
    return {
        "settings": {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()},
        "columns": asdict(job.options.columns),
        "fusion": _numbers(fusion),
        "prior": fingerprint_of(prior),
        "versions": {name: version(name) for name in ("geocsp", "torch", "numpy", "pyarrow")},
    }


@contextmanager
def _counting(doing: str, total: int | None) -> Iterator[Any]:
    """Shows rows on a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda rows: progress.update(task, completed=rows)


def _told(job: Job, done: Predicted) -> str:
    alone = done.rows - done.placed
    lines = [f"{done.rows:,} predictions in {job.output}"]
    if alone:
        lines.append(f"{alone:,} of them have no usable place: the image's answer stands")
    lines.append(f"the place changed the likeliest class of {done.changed:,}")
    if done.metrics:
        lines.append(f"of {done.labelled:,} labelled rows right:   top-1   top-5")
        lines += [
            f"  {name:<28} {100 * found['top1']:6.1f}% {100 * found['top5']:6.1f}%"
            for name, found in zip(
                ("image alone", "image and place"), done.metrics.values(), strict=True
            )
        ]
    lines += [f"note: {plain(note)}" for note in done.notes]
    if done.left_out:
        lines.append(f"{done.left_out:,} rows left out, see {quarantine_path(job.output)}")
    return "\n".join(lines)


def _told_fit(fitted: FittedFusion, path: Path, notes: list[str]) -> str:
    fusion, lines = fitted.fusion, [f"fitted on {fitted.rows:,} labelled rows with a place"]
    if isinstance(fusion, GuardedFusion):
        gain, error = fusion.evidence.gain, fusion.evidence.error
        lines.append(f"the place makes a label likelier by {gain:.3f} ± {error:.3f} nats")
        lines.append(
            "it is trusted where it is like the places that the prior was trained on"
            if fusion.evidence.enough
            else "which is not enough: it is not trusted, and the image's answer stands"
        )
    else:
        lines += [f"{name.replace('_', ' ')} {value:.3g}" for name, value in vars(fusion).items()]
    lines += [f"note: {plain(note)}" for note in notes]
    return "\n".join([*lines, f"in {path}"])
