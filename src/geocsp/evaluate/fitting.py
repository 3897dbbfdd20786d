"""From a row of the table to its answers: P(y | x), and P(y | I, x) in every way of fusing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geocsp.data.splitters.base import Integers
from geocsp.data.table import Categories
from geocsp.evaluate.benchmark import Benchmark
from geocsp.evaluate.results import Measure
from geocsp.evaluate.rows import Row
from geocsp.fusion import Calibration, Support, fit_calibration, fit_guarded_fusion, fused_logits
from geocsp.model import GeoModel
from geocsp.presets import Preset
from geocsp.priors import default_grid, fit_prior
from geocsp.train.priors import ImageTeacher, train_prior

_UNLIKELY = math.log(1e-12)


@dataclass(frozen=True, eq=False)
class Place:
    """A fitted location prior.

    Attributes:
        prior: it.
        classes: Q.
        parameters: numbers that it keeps.
        settings: what was chosen on the validation rows.
    """

    prior: Any
    classes: int
    parameters: int
    settings: Mapping[str, Any]

    def scores(self, lonlat: Tensor) -> Tensor:
        """Presence scores before the sigmoid, zeros where there is no place, ``(N, Q)``."""
        placed = lonlat.isfinite().all(dim=1)
        scores = torch.zeros(len(lonlat), self.classes)
        if bool(placed.any()):
            scores[placed] = self.prior.class_scores(lonlat[placed])
        return scores

    def save(self, folder: Path) -> None:
        """Save a prior that has weights."""
        if hasattr(self.prior, "save_pretrained"):
            self.prior.save_pretrained(folder)


@dataclass(frozen=True, eq=False)
class Setting:
    """Rows of one task in one fold, and how many of them have a label in a run.

    Attributes:
        benchmark: the data set.
        labels: classes of the task.
        train: training rows, with and without a label.
        validation: labelled validation rows.
        test: labelled test rows.
        subset: labelled training rows that the run may see.
    """

    benchmark: Benchmark
    labels: Categories
    train: Integers
    validation: Integers
    test: Integers
    subset: Integers

    def placed(self, rows: Integers) -> Tensor:
        """Those of some rows that have a place, as an index."""
        return torch.from_numpy(rows[self.benchmark.placed[rows]])

    @property
    def codes(self) -> Tensor:
        """Classes of all rows."""
        return torch.from_numpy(self.labels.codes)


def fit_place(
    row: Row, setting: Setting, image: Mapping[str, Tensor], seed: int, model: GeoModel | None
) -> Place | None:
    """The location prior of a row, trained on labelled rows; None for rows without one.

    Args:
        row: how.
        setting: which rows.
        image: log P(y | I) of "validation" and, for self-training, "train" rows.
        seed: of weights and batches.
        model: pre-trained, or None.
    """
    if not row.has_place:
        return None
    classes, codes, places = setting.labels.names, setting.codes, setting.benchmark.places
    chosen, held = setting.placed(setting.subset), setting.placed(setting.validation)
    if row.prior is not None:
        prior, settings = fit_prior(
            row.prior,
            default_grid(row.prior),
            places[chosen],
            codes[chosen],
            classes,
            places[held],
            codes[held],
        )
        return Place(prior, len(classes), prior.parameters_stored, settings)
    assert row.preset is not None
    preset = row.preset if model is not None else replace(row.preset, linear=None)
    pool = setting.placed(setting.train)
    known = torch.full_like(pool, -1)
    known[torch.searchsorted(pool, chosen)] = codes[chosen]
    trained = train_prior(
        preset,
        classes,
        places[pool],
        known,
        seed=seed,
        pretrained=model,
        teacher=_teacher(preset, setting, image),
    )
    parameters = sum(weights.numel() for weights in trained.parameters())
    return Place(trained, len(classes), parameters, {})


def _teacher(preset: Preset, setting: Setting, image: Mapping[str, Tensor]) -> ImageTeacher | None:
    """What the image says, for presets with self-training."""
    if preset.linear is None or preset.linear.self_training is None:
        return None
    held, placed = setting.placed(setting.validation), setting.benchmark.placed
    return ImageTeacher(
        image["train"][torch.from_numpy(placed[setting.train])],
        image["validation"][torch.from_numpy(placed[setting.validation])],
        setting.benchmark.places[held],
        setting.codes[held],
    )


@dataclass(frozen=True, eq=False)
class Fused:
    """Answers to the test rows.

    Attributes:
        logits: ``(T, Q)`` by measure.
        fitted: what was fitted on the validation rows, by measure.
        placed: ``(T,)`` which rows have a place.
    """

    logits: Mapping[Measure, Tensor]
    fitted: Mapping[str, Mapping[str, Any]]
    placed: Tensor | None

    def answered(self, measure: Measure) -> Tensor | None:
        """Which rows have an answer: the place alone has none without a place."""
        return self.placed if measure is Measure.LOCATION else None


def fuse_all(
    image: tuple[Tensor, Tensor],
    scores: tuple[Tensor, Tensor],
    lonlat: tuple[Tensor, Tensor],
    labels: Tensor,
    support: Support,
) -> Fused:
    """Fuse in every way; a row without a place keeps the image's answer, as published.

    A class that the image rules out stays so in the plain product, as published, and is next to
    impossible where something is fitted.

    Args:
        image: log P(y | I) of validation and test rows, ``(V, Q)`` and ``(T, Q)``; minus infinity
            where a class is ruled out.
        scores: presence scores before the sigmoid, of the same shapes.
        lonlat: places, ``(V, 2)`` and ``(T, 2)`` degrees.
        labels: ``(V,)`` classes of the validation rows.
        support: where the prior was trained.
    """
    known, placed = (places.isfinite().all(dim=1) for places in lonlat)
    held, tested = (_possible(logs) for logs in image)
    calibration = fit_calibration(held[known], scores[0][known], labels[known])
    guarded = fit_guarded_fusion(
        held[known], scores[0][known], labels[known], lonlat[0][known], support
    )

    def together(logits: Tensor) -> Tensor:
        return torch.where(placed[:, None], logits, image[1])

    return Fused(
        {
            Measure.IMAGE: image[1],
            Measure.LOCATION: torch.nn.functional.logsigmoid(scores[1]),
            Measure.PRODUCT: together(fused_logits(image[1], scores[1], Calibration())),
            Measure.FUSED: together(fused_logits(tested, scores[1], calibration)),
            Measure.GUARDED: together(guarded.logits(tested, scores[1], lonlat[1])),
        },
        {Measure.FUSED: vars(calibration), Measure.GUARDED: guarded.to_dict()},
        placed,
    )


def _possible(logs: Tensor) -> Tensor:
    """Logarithms with those of zero as low as any other of the row, and as that of 1e-12."""
    never = logs.isneginf()
    least = logs.masked_fill(never, 0.0).amin(dim=1, keepdim=True).clamp_max(_UNLIKELY)
    return torch.where(never, least, logs)
