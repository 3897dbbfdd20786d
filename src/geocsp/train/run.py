"""A whole run of pre-training: from examples to a folder with a trained model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geocsp.card import Coverage, card_of_report
from geocsp.errors import DataError
from geocsp.images.features import Features
from geocsp.model import GeoModel, GeoPrior
from geocsp.objectives import Objective
from geocsp.objectives.class_scores import ClassScores
from geocsp.objectives.weighted import WeightedSum
from geocsp.passes import evaluating
from geocsp.presets import HoldOut, Preset, Sizes
from geocsp.process import Process
from geocsp.train.checkpoint import Checkpoints
from geocsp.train.examples import Examples, Pixels
from geocsp.train.folder import (
    CHECKPOINT_FOLDER,
    MODEL_FOLDER,
    PRIOR_FOLDER,
    RunReport,
    alone,
    begin,
    in_first,
)
from geocsp.train.pixels import PixelFeed
from geocsp.train.pretrain import pretrain
from geocsp.train.validation import Validation, hold_out
from geocsp.train.watchers import JsonLines
from geocsp.train.watching import Watcher

_SHARE_OF_MEMORY = 0.25
"""Features that need less of a CPU's memory are read into it, the others from disk as needed."""
_SHARE_OF_GPU = 0.5
_SEEN, _TOGETHER = 2048, 64
"""Images whose features say how features are to be standardised, and how many go together."""


def run_pretraining(
    preset: Preset,
    examples: Examples,
    output: str | Path,
    *,
    device: torch.device | str = "cpu",
    watchers: Sequence[Watcher] = (),
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> RunReport:
    """Pre-train a model and leave it in a run folder, from which an interrupted run goes on.

    The folder gets ``config.yaml`` (all settings), ``run.json`` (the report), ``metrics.jsonl``,
    ``checkpoints/``, ``model/`` (a :class:`GeoModel`; without images, the location encoder) and,
    of objectives that learn classes, ``prior/`` (a :class:`GeoPrior`). Called again with the same
    settings and data, a finished run does nothing. Several processes of a running
    ``torch.distributed`` group call it together.

    Args:
        preset: how to train.
        examples: what to train on.
        output: run folder, made if needed.
        device: what to train on.
        watchers: are told of every step and epoch, in the first process.
        on_epoch: called after each epoch with its number and mean losses, in every process.

    Returns:
        The report.

    Raises:
        DataError: the folder holds another run, or another process works in it; examples do not
            fit the objective; or as :func:`geocsp.pretrain`.
        ValueError: the preset cannot be built.
    """
    output, process = Path(output), Process.current()
    with alone(output, process):
        report = in_first(process, lambda: begin(output, preset, examples.fingerprint))
        if report.finished:
            return report
        run = _Run.of(preset, examples, torch.device(device))
        report = replace(
            report,
            images=len(run.examples),
            held_out=0 if run.held_out is None else len(run.held_out),
            classes=0 if run.examples.label is None else len(run.examples.label.names),
            device=_name(run.device),
            processes=process.world,
        )
        start = time.perf_counter()
        try:
            history = run.train(output, [JsonLines(output), *watchers], on_epoch)
            metrics = kept_metrics(history, preset.hold_out)
            if process.is_first:
                run.save(output, replace(report, metrics=metrics))
            report = replace(report, finished=True, epochs=len(history), metrics=metrics)
        finally:
            seconds = report.seconds + time.perf_counter() - start
            report = replace(report, seconds=round(seconds, 3))
            if process.is_first:
                report.write(output)
    return report


@dataclass(frozen=True, eq=False)
class _Run:
    preset: Preset
    examples: Examples
    images: Tensor | Features | PixelFeed | None
    held_out: Examples | None
    model: GeoModel
    objective: Objective
    device: torch.device

    @classmethod
    def of(cls, preset: Preset, examples: Examples, device: torch.device) -> _Run:
        """Divide the examples and build model and objective."""
        examples, held = _divided(preset, examples.at_most(preset.per_class, preset.seed))
        found, seed = examples.images, preset.seed
        encoder = found.encoder if isinstance(found, Pixels) else None
        model = preset.build_model(examples.feature_dim, seed, encoder).to(device)
        objective = preset.build_objective(seed, _sizes(model, examples)).to(device)
        _check(preset, objective, examples)
        images = _placed(found, device, augmented=True)
        if preset.standardise and found is not None:
            seen = _features_of_some(found) if isinstance(found, Pixels) else images
            assert isinstance(seen, Tensor | Features)
            model.standardise_by(seen)
        return cls(preset, examples, images, held, model, objective, device)

    def train(
        self,
        output: Path,
        watchers: Sequence[Watcher],
        on_epoch: Callable[[int, dict[str, float]], None] | None,
    ) -> list[dict[str, float]]:
        """Train, or go on training; what :func:`pretrain` returns."""
        preset, examples, seed = self.preset, self.examples, self.preset.seed
        sampler = preset.build_sampler(
            examples.lonlat, None if examples.label is None else examples.label.codes, seed
        )
        return pretrain(
            self.model,
            self.objective,
            self.images,
            examples.lonlat,
            preset.pretrain,
            seed=seed,
            time=self._time(examples),
            labels=examples.labels,
            groups=examples.groups,
            sampler=sampler,
            validation=self._validation(),
            checkpoints=Checkpoints(output / CHECKPOINT_FOLDER),
            watchers=watchers,
            on_epoch=on_epoch,
        )

    def save(self, output: Path, report: RunReport) -> None:
        """Leave the model, and the prior if there is one, with what the report says of them."""
        seen, names = self.examples, self.examples.label.names if self.examples.label else ()
        labels = seen.labels if self.objective.uses_labels else None
        coverage = Coverage.of(seen.lonlat, labels, names)
        card = replace(card_of_report(report), coverage=coverage)
        try:
            if seen.images is None:
                self.model.location.save_pretrained(output / MODEL_FOLDER, card)
            else:
                self.model.save_pretrained(output / MODEL_FOLDER, card)
            prior = prior_of(self.model, self.objective, self.examples)
            if prior is not None:
                prior.save_pretrained(output / PRIOR_FOLDER, card)
        except OSError as error:
            raise DataError(f"cannot write to {output}: {error.strerror}") from error

    def _validation(self) -> Validation | None:
        held, settings = self.held_out, self.preset.hold_out
        if held is None:
            return None
        images = _placed(held.images, self.device, augmented=False)
        assert images is not None
        return Validation(
            images,
            held.lonlat,
            self._time(held),
            every=settings.every,
            patience=settings.patience,
            metric=settings.metric,
        )

    def _time(self, examples: Examples) -> Tensor | None:
        return examples.time if self.model.location.time.dim else None


def prior_of(model: GeoModel, objective: Objective, examples: Examples) -> GeoPrior | None:
    """The prior that an objective over classes has trained, None of other objectives."""
    parts = objective.objectives().values() if isinstance(objective, WeightedSum) else [objective]
    scores = next((part for part in parts if isinstance(part, ClassScores)), None)
    if scores is None or examples.label is None:
        return None
    prior = GeoPrior(model.location, examples.label.names)
    prior.class_matrix.load_state_dict(scores.class_matrix.state_dict())
    return prior.eval()


def kept_metrics(history: Sequence[dict[str, float]], settings: HoldOut) -> dict[str, float]:
    """Losses and measures of the epoch whose weights are kept: the last, or the best if it stops.

    Where the last epoch was not validated, the measures are those of the last that was.

    Args:
        history: as :func:`geocsp.pretrain` returns it.
        settings: how it was validated.
    """
    name = f"validation.{settings.metric.value}"
    looks = [means for means in history if name in means]
    if settings.patience is None or not looks:
        return {k: v for means in (*looks[-1:], *history[-1:]) for k, v in means.items()}
    best = looks[0]
    for means in looks:
        best = means if settings.metric.better(means[name], best[name]) else best
    return best


def _divided(preset: Preset, examples: Examples) -> tuple[Examples, Examples | None]:
    """Rows to train on and rows to validate on."""
    settings = preset.hold_out
    if not settings.share:
        return examples, None
    if examples.images is None:
        raise DataError("images are held out to look for their places, but there are no images")
    lonlat = np.asarray(examples.lonlat)
    train, held = hold_out(lonlat, share=settings.share, blocks=settings.blocks, seed=preset.seed)
    return examples.take(train), examples.take(held)


def _sizes(model: GeoModel, examples: Examples) -> Sizes:
    return Sizes(
        dim=model.location.dim,
        feature_dim=examples.feature_dim,
        classes=1 if examples.label is None else max(1, len(examples.label.names)),
        photographers=1 if examples.group is None else max(1, len(examples.group.names)),
    )


def _check(preset: Preset, objective: Objective, examples: Examples) -> None:
    """Refuse examples that lack what the objective needs, in words of the source."""
    assert preset.objective is not None
    for needed, there, what in (
        (objective.uses_images or objective.uses_features, examples.images, "images"),
        (objective.uses_labels, examples.label, "labels"),
        (objective.uses_groups, examples.group, "groups, such as photographers"),
    ):
        if needed and there is None:
            raise DataError(
                f"objective {preset.objective.name!r} needs {what}; the source has none"
            )


def _placed(
    images: Tensor | Features | Pixels | None, device: torch.device, *, augmented: bool
) -> Tensor | Features | PixelFeed | None:
    """Images where steps get them fastest: on the GPU, in memory, or left on disk."""
    if isinstance(images, Pixels):
        return images.feed(augmented=augmented)
    if images is None:
        return None
    size = 4 * images.shape[0] * images.shape[1]
    if device.type == "cuda" and size < _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]:
        return (images if isinstance(images, Tensor) else images.read()).to(device)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = Process.current().world > 1
    if isinstance(images, Features) and not shared and size < _SHARE_OF_MEMORY * memory:
        return images.read()
    return images


@torch.no_grad()
def _features_of_some(pixels: Pixels) -> Tensor:
    """Features of some images, ``(n, F)``, enough to know their mean and deviation."""
    rows = torch.linspace(0, len(pixels.images) - 1, min(len(pixels.images), _SEEN)).long()
    parts = rows.split(_TOGETHER)
    with evaluating(pixels.encoder):
        features = [
            pixels.encoder(loaded.take(slice(0, len(part)), 0))
            for part, loaded in zip(parts, pixels.feed(augmented=False).stream(parts), strict=True)
        ]
    return torch.cat(features)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
