"""The three kinds of work of a demo, each one call in a worker process that leaves one file.

A finished file is never computed again, so an interrupted run goes on where it was. Every unit
of work computes on one thread, so its numbers do not depend on how many run side by side.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.data.named.bluemarble import BlueMarble, bluemarble
from geocsp.data.splits import Split
from geocsp.demo.methods import OURS, Method, methods
from geocsp.demo.settings import VALIDATION_FOLD, DemoSettings
from geocsp.evaluate import Shot, accuracy_of
from geocsp.files import write_atomically
from geocsp.images import EfficientNetLite0, extract
from geocsp.model import GeoModel
from geocsp.train.finetune import finetune, train_image_head
from geocsp.train.pretrain import pretrain

INDUCTIVE = "inductive"
"""Pre-training on the training tiles alone."""
TRANSDUCTIVE = "transductive"
"""Pre-training on all tiles without labels, those of the test fold included."""
SUPERVISED_ONLY = "none"
"""No pre-training."""
IMAGE_PENALTY = 100.0
"""L2 penalty of every image head, chosen on the validation fold among 1, 10, 100 and 1000."""


@dataclass(frozen=True)
class Unit:
    """One piece of work: a row of the table on one test fold with one seed.

    Attributes:
        method: name of the row.
        regime: INDUCTIVE, TRANSDUCTIVE or SUPERVISED_ONLY.
        fold: test fold, None for transductive pre-training, which is the same for all of them.
        seed: labelled subset, initial weights and batches.
    """

    method: str
    regime: str
    fold: int | None
    seed: int

    @property
    def name(self) -> str:
        """Name of the unit's file."""
        fold = "all" if self.fold is None else self.fold
        return f"{self.method}-{self.regime}-fold-{fold}-seed-{self.seed}"


@dataclass(frozen=True)
class Workspace:
    """Where a demo works, and everything its units need to know.

    Attributes:
        settings: how large the demo is.
        folder: where units leave their files.
        features: folder of the feature caches.
    """

    settings: DemoSettings
    folder: Path
    features: Path

    def data(self) -> BlueMarble:
        """The tiles."""
        return _data(self.settings.points)

    def image_features(self) -> Tensor:
        """Features of all tiles, ``(N, 1280)``; extracted beforehand."""
        return _features(self.settings.points, self.settings.pixels, self.features)

    def method(self, name: str) -> Method:
        """The row with this name."""
        rows = methods(self.settings, EfficientNetLite0.dim)
        return next(row for row in rows if row.name == name)

    def image_file(self, task: str, fold: int, seed: int) -> Path:
        """Image head's answers on the validation and test tiles."""
        return self.folder / f"image-{task}-fold-{fold}-seed-{seed}.npz"

    def tower(self, unit: Unit) -> Path:
        """Folder of a pre-trained model."""
        return self.folder / f"tower-{unit.name}"

    def showcase_prior(self, task: str) -> Path:
        """Folder of the showcase unit's fine-tuned prior."""
        return self.folder / f"showcase-{task}"

    def showcase_image(self, task: str) -> Path:
        """The showcase unit's answers from the image alone."""
        return self.folder / f"showcase-{task}.npz"

    def records(self, unit: Unit) -> Path:
        """Results of a unit."""
        return self.folder / f"records-{unit.name}.json"

    def showcase(self) -> Unit:
        """The unit whose prior is kept for maps."""
        settings = self.settings
        return Unit(OURS, INDUCTIVE, settings.test_folds[0], settings.seed)

    def showcase_shot(self) -> int:
        """Number of the shot the maps are made with: 10 % of the labels, or else the last."""
        ratios = [shot.ratio for shot in self.settings.shots]
        return ratios.index(0.1) if 0.1 in ratios else len(ratios) - 1


@cache
def _data(points: int) -> BlueMarble:
    return bluemarble(points)


@cache
def _features(points: int, pixels: int, folder: Path) -> Tensor:
    return extract(EfficientNetLite0(pixels=pixels), _data(points), cache=folder)


@dataclass(frozen=True, eq=False)
class TaskRows:
    """Labelled rows of one task in one split.

    Attributes:
        labels: ``(N,)`` class of every tile, -1 = none.
        classes: Q, number of classes.
        unlabelled: all training rows, with or without a label.
        train: labelled training rows.
        validation: labelled validation rows.
        test: labelled test rows.
    """

    labels: Tensor
    classes: int
    unlabelled: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor

    def subset(self, shot: Shot, seed: int) -> Tensor:
        """Training rows that a run may see the labels of."""
        chosen = shot.rows(self.labels[self.train].numpy(), seed)
        return self.train[torch.from_numpy(chosen)]


def task_rows(data: BlueMarble, task: str, split: Split) -> TaskRows:
    """Rows of a split that have a label in a task."""
    labels = torch.from_numpy(data.tasks[task].labels)

    def labelled(rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(rows[data.tasks[task].labels[rows] >= 0])

    return TaskRows(
        labels=labels,
        classes=len(data.tasks[task].class_names),
        unlabelled=torch.from_numpy(split.train),
        train=labelled(split.train),
        validation=labelled(split.validation),
        test=labelled(split.test),
    )


def image_heads(workspace: Workspace, task: str, fold: int, seed: int) -> float:
    """Train a head on the raw image features per shot; leaves its answers.

    Returns:
        Seconds it took, zero if the file was there.
    """
    path = workspace.image_file(task, fold, seed)
    if path.is_file():
        return 0.0
    start = time.perf_counter()
    features = workspace.image_features()
    split = workspace.data().split(fold, VALIDATION_FOLD)
    rows = task_rows(workspace.data(), task, split)
    answers = {
        f"{part}-{number}": answer.numpy()
        for number, shot in enumerate(workspace.settings.shots)
        for part, answer in image_answers(features, rows, rows.subset(shot, seed)).items()
    }
    save_arrays(path, answers)
    return time.perf_counter() - start


def image_answers(features: Tensor, rows: TaskRows, subset: Tensor) -> dict[str, Tensor]:
    """Log P(y | I) of validation and test tiles from a linear head trained on ``subset``."""
    head = train_image_head(
        features[subset],
        rows.labels[subset],
        rows.classes,
        penalty=IMAGE_PENALTY,
        unlabelled=features[rows.unlabelled],
    )
    return {
        "validation": head.logits(features[rows.validation]).log_softmax(dim=1),
        "test": head.logits(features[rows.test]).log_softmax(dim=1),
    }


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write named arrays, whole or not at all."""
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def pretrain_unit(workspace: Workspace, unit: Unit) -> float:
    """Pre-train a row without labels; leaves the model's folder.

    Returns:
        Seconds it took, zero if the folder was there.
    """
    folder = workspace.tower(unit)
    if (folder / "config.json").is_file():  # written last
        return 0.0
    start = time.perf_counter()
    data, features = workspace.data(), workspace.image_features()
    rows = np.arange(len(data))
    if unit.fold is not None:
        rows = data.split(unit.fold, VALIDATION_FOLD).train
    images, places = features[torch.from_numpy(rows)], torch.from_numpy(data.lonlat[rows])
    preset = workspace.method(unit.method).preset
    model = preset.build_model(features.shape[1], unit.seed)
    if preset.standardise:
        model.standardise_by(images)
    objective = preset.build_objective(unit.seed)
    pretrain(model, objective, images, places.float(), preset.pretrain, seed=unit.seed)
    model.save_pretrained(folder)
    return time.perf_counter() - start


def finetune_unit(workspace: Workspace, unit: Unit) -> float:
    """Fine-tune a row for every task and shot and judge it; leaves the records.

    Returns:
        Seconds it took, zero if the records were there.
    """
    path = workspace.records(unit)
    if path.is_file():
        return 0.0
    start = time.perf_counter()
    assert unit.fold is not None
    model = None
    if unit.regime != SUPERVISED_ONLY:
        model = GeoModel.from_pretrained(workspace.tower(tower_of(unit)))
    split = workspace.data().split(unit.fold, VALIDATION_FOLD)
    records = [
        record
        for task in workspace.settings.tasks
        for record in _task_records(workspace, unit, task, split, model)
    ]
    write_atomically(path, json.dumps(records).encode())
    return time.perf_counter() - start


def _task_records(
    workspace: Workspace, unit: Unit, task: str, split: Split, model: GeoModel | None
) -> Iterator[dict[str, Any]]:
    assert unit.fold is not None
    data, preset = workspace.data(), workspace.method(unit.method).preset
    rows = task_rows(data, task, split)
    places = torch.from_numpy(data.lonlat).float()
    aligned = None
    if preset.aligned_image and model is not None:
        aligned = model.embed_images(workspace.image_features())
    stored = np.load(workspace.image_file(task, unit.fold, unit.seed), allow_pickle=False)
    for number, shot in enumerate(workspace.settings.shots):
        subset = rows.subset(shot, unit.seed)
        if aligned is None:
            image = {part: torch.from_numpy(stored[f"{part}-{number}"]) for part in PARTS}
        else:
            image = image_answers(aligned, rows, subset)
        prior = preset.build_prior(data.tasks[task].class_names, unit.seed, model)
        finetune(prior, places[subset], rows.labels[subset], preset.finetune, seed=unit.seed)
        accuracy = accuracy_of(
            (image["validation"], image["test"]),
            (prior.class_scores(places[rows.validation]), prior.class_scores(places[rows.test])),
            (rows.labels[rows.validation], rows.labels[rows.test]),
        )
        if unit == workspace.showcase() and number == workspace.showcase_shot():
            prior.save_pretrained(workspace.showcase_prior(task))
            answers = {part: answer.numpy() for part, answer in image.items()}
            save_arrays(workspace.showcase_image(task), answers)
        yield {"task": task, "shot": shot.label, "labels": len(subset)} | asdict(accuracy)


PARTS = ("validation", "test")
"""The rows of a split that a head answers for."""


def tower_of(unit: Unit) -> Unit:
    """The pre-training that a unit builds on."""
    fold = None if unit.regime == TRANSDUCTIVE else unit.fold
    return Unit(unit.method, unit.regime, fold, unit.seed)
