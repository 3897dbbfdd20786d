"""What is known of a trained model beside its weights: the facts of its model card.

The sections follow Mitchell et al., Model Cards for Model Reporting (FAT* 2019). What is not known
stays empty, and the page says so.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from geocsp.errors import DataError

if TYPE_CHECKING:
    from geocsp.train.folder import RunReport

_BANDS, _SECTORS = 18, 36


@dataclass(frozen=True)
class TrainingData:
    """What a model was trained on.

    Attributes:
        name: of the data set, as people call it.
        license: of the data.
        fingerprint: of the data, as ``run.json`` has it.
        images: how many images, or places, were trained on.
        labels: how many of them had a label that was used.
        held_out: how many were kept apart for validation.
    """

    name: str = ""
    license: str = ""
    fingerprint: str = ""
    images: int | None = None
    labels: int | None = None
    held_out: int | None = None


@dataclass(frozen=True)
class Coverage:
    """Which part of the world, and of the classes, a model has seen.

    Attributes:
        places: how many training places.
        extent: their west, south, east and north, degrees; the east is above 180 where the box
            crosses the antimeridian.
        cells: how many of 648 cells of equal area (ten degrees of longitude, a ninth of the sine of
            latitude) have a training place.
        labelled: how many labelled images of each class.
    """

    places: int | None = None
    extent: tuple[float, float, float, float] | None = None
    cells: int | None = None
    labelled: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, lonlat: Tensor, labels: Tensor | None = None, class_names: Sequence[str] = ()
    ) -> Self:
        """Measure it.

        Args:
            lonlat: ``(N, 2)`` training places, degrees, NaN where unknown.
            labels: ``(M,)`` classes of the labelled images, -1 where there is none.
            class_names: what the classes mean.
        """
        from geocsp.data.audit.coordinates import extent_of

        known = lonlat[~lonlat.isnan().any(dim=1)].detach().cpu().double()
        labelled = {}
        if labels is not None:
            counts = torch.bincount(labels[labels >= 0], minlength=len(class_names)).tolist()
            labelled = dict(zip(class_names, counts, strict=True))
        if not len(known):
            return cls(places=0, labelled=labelled)
        box = extent_of(known.numpy())
        sector = ((known[:, 0] + 180) * _SECTORS / 360).long() % _SECTORS
        height = (known[:, 1].deg2rad().sin() + 1) / 2
        band = (height * _BANDS).long().clamp_max(_BANDS - 1)
        return cls(
            places=len(known),
            extent=(box.west, box.south, box.east, box.north),
            cells=len((band * _SECTORS + sector).unique()),
            labelled=labelled,
        )


@dataclass(frozen=True)
class Metric:
    """One measured number.

    Attributes:
        name: what was measured: "top-1 accuracy".
        value: a finite number.
        data: what it was measured on: "test fold 1, image and place".

    Raises:
        ValueError: the number is not finite.
    """

    name: str
    value: float
    data: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"metric {self.name!r} must be a finite number, got {self.value}")


class Facts(TypedDict, total=False):
    """Keyword arguments of :meth:`ModelCard.of`: fields of :class:`ModelCard`."""

    title: str
    license: str
    data: TrainingData
    coverage: Coverage
    metrics: tuple[Metric, ...]
    image_encoder: str
    intended_use: str
    limits: tuple[str, ...]
    notes: str
    settings: dict[str, Any]
    seed: int | None
    versions: dict[str, str]


@dataclass(frozen=True)
class ModelCard:
    """Facts of a model; what is empty is not known.

    Attributes:
        title: of the model, one line.
        license: of the weights, an identifier of the Hugging Face hub: "apache-2.0".
        data: what it was trained on.
        coverage: of the world and the classes.
        metrics: what was measured.
        image_encoder: what made the image features: "efficientnet-lite0, 64 pixels".
        intended_use: beyond what models of this kind are for.
        limits: beyond those that models of this kind have.
        notes: anything else, Markdown.
        settings: how it was trained.
        seed: of the training.
        versions: of what numbers depend on.
    """

    title: str = ""
    license: str = ""
    data: TrainingData = field(default_factory=TrainingData)
    coverage: Coverage = field(default_factory=Coverage)
    metrics: tuple[Metric, ...] = ()
    image_encoder: str = ""
    intended_use: str = ""
    limits: tuple[str, ...] = ()
    notes: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module, **facts: Unpack[Facts]) -> Self:
        """The card that a model came with, if any, with these facts in place of its own.

        Args:
            model: any model that a folder can hold.
            **facts: fields of the card; versions are those of now if they are not known.
        """
        known = getattr(model, "card", None) or cls()
        card: Self = replace(known, **facts)
        return card if card.versions else replace(card, versions=versions_now())


def card_of_run(folder: str | Path) -> ModelCard:
    """What ``run.json`` in a run folder says: counts, metrics, fingerprint, settings, seed.

    Paths in the settings lose their folders.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    from geocsp.config import settings_of
    from geocsp.train.folder import RUN_FILE, RunReport

    path = Path(folder).expanduser() / RUN_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    return card_of_report(settings_of(values, RunReport, str(path)))


def card_of_report(report: RunReport) -> ModelCard:
    """The same of a run's report."""
    settings = without_folders(report.settings)
    tower = settings.get("image") or {}
    encoder, pixels = tower.get("encoder", ""), tower.get("pixels")
    metrics = (
        Metric(name, value, "training run")
        for name, value in report.metrics.items()
        if math.isfinite(value)
    )
    return ModelCard(
        data=TrainingData(fingerprint=report.data, images=report.images, held_out=report.held_out),
        metrics=tuple(metrics),
        image_encoder=f"{encoder}, {pixels} pixels" if encoder and pixels else encoder,
        settings=settings,
        seed=report.seed,
        versions=report.versions,
    )


def without_folders(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings in which absolute paths are names of files: a card is for others to read."""
    return {name: _without_folders(value) for name, value in settings.items()}


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return without_folders(value)
    if isinstance(value, (list, tuple)):
        return [_without_folders(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def versions_now() -> dict[str, str]:
    """Versions of what numbers depend on."""
    packages = {name: version(name) for name in ("geocsp", "torch", "numpy")}
    return packages | {"python": platform.python_version()}
