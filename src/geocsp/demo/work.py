"""The three kinds of work of a demo, each one call in a worker process that leaves one file.

A finished file is never computed again, so an interrupted run goes on where it was. Every unit
of work computes on one thread, so its numbers do not depend on how many run side by side.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geocsp.data.named.bluemarble import BlueMarble, bluemarble
from geocsp.data.splits import Split
from geocsp.demo.methods import OURS, Method, methods
from geocsp.demo.settings import VALIDATION_FOLD, DemoSettings
from geocsp.evaluate import Shot, accuracy_of
from geocsp.files import write_atomically
from geocsp.images import EfficientNetLite0, extract
from geocsp.model import GeoModel, GeoPrior
from geocsp.train.finetune import finetune, train_image_head
from geocsp.train.pretrain import pretrain

INDUCTIVE = "inductive"
"""Pre-training on the training tiles alone."""
TRANSDUCTIVE = "transductive"
"""Pre-training on all tiles without labels, those of the test fold included."""
SUPERVISED_ONLY = "none"
"""No pre-training."""


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

    def prior(self, unit: Unit, task: str) -> Path:
        """Folder of a fine-tuned prior; kept for the showcase unit alone."""
        return self.folder / f"prior-{task}-{unit.name}"

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
        train: labelled training rows.
        validation: labelled validation rows.
        test: labelled test rows.
    """

    labels: Tensor
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

    def labelled(rows: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        all_rows = torch.from_numpy(rows)
        return all_rows[labels[all_rows] >= 0]

    return TaskRows(labels, labelled(split.train), labelled(split.validation), labelled(split.test))


def image_heads(workspace: Workspace, task: str, fold: int, seed: int) -> float:
    """Train an image head per shot; leaves log P(y | I) of validation and test tiles.

    Returns:
        Seconds it took, zero if the file was there.
    """
    path = workspace.image_file(task, fold, seed)
    if path.is_file():
        return 0.0
    start = time.perf_counter()
    data, features = workspace.data(), workspace.image_features()
    split = data.split(fold, VALIDATION_FOLD)
    rows = task_rows(data, task, split)
    unlabelled = features[torch.from_numpy(split.train)]
    answers = {}
    for number, shot in enumerate(workspace.settings.shots):
        subset = rows.subset(shot, seed)
        head = train_image_head(
            features[subset],
            rows.labels[subset],
            len(data.tasks[task].class_names),
            penalty=IMAGE_PENALTY,
            unlabelled=unlabelled,
        )
        for part, of in (("validation", rows.validation), ("test", rows.test)):
            answers[f"{part}-{number}"] = head.logits(features[of]).log_softmax(dim=1).numpy()
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **answers)
    write_atomically(path, buffer.getvalue())
    return time.perf_counter() - start


IMAGE_PENALTY = 100.0
"""L2 penalty of every image head, chosen on the validation fold among 1, 10, 100 and 1000."""


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
    data = workspace.data()
    split = data.split(unit.fold, VALIDATION_FOLD)
    records = []
    for task in workspace.settings.tasks:
        rows = task_rows(data, task, split)
        answers = np.load(workspace.image_file(task, unit.fold, unit.seed), allow_pickle=False)
        for number, shot in enumerate(workspace.settings.shots):
            subset = rows.subset(shot, unit.seed)
            prior = _tuned_prior(workspace, unit, task, subset)
            image = tuple(torch.from_numpy(answers[f"{p}-{number}"]) for p in _PARTS)
            accuracy = accuracy_of(
                (image[0], image[1]),
                (
                    prior.class_scores(_places(data, rows.validation)),
                    prior.class_scores(_places(data, rows.test)),
                ),
                (rows.labels[rows.validation], rows.labels[rows.test]),
            )
            if unit == workspace.showcase() and number == workspace.showcase_shot():
                prior.save_pretrained(workspace.prior(unit, task))
            records.append(
                {"task": task, "shot": shot.label, "labels": len(subset)} | asdict(accuracy)
            )
    write_atomically(path, json.dumps(records).encode())
    return time.perf_counter() - start


_PARTS = ("validation", "test")


def _places(data: BlueMarble, rows: Tensor) -> Tensor:
    return torch.from_numpy(data.lonlat)[rows].float()


def _tuned_prior(workspace: Workspace, unit: Unit, task: str, subset: Tensor) -> GeoPrior:
    data = workspace.data()
    preset = workspace.method(unit.method).preset
    pretrained = None
    if unit.regime != SUPERVISED_ONLY:
        pretrained = GeoModel.from_pretrained(workspace.tower(tower_of(unit)))
    prior = preset.build_prior(data.tasks[task].class_names, unit.seed, pretrained)
    labels = torch.from_numpy(data.tasks[task].labels)[subset]
    finetune(prior, _places(data, subset), labels, preset.finetune, seed=unit.seed)
    return prior


def tower_of(unit: Unit) -> Unit:
    """The pre-training that a unit builds on."""
    fold = None if unit.regime == TRANSDUCTIVE else unit.fold
    return Unit(unit.method, unit.regime, fold, unit.seed)
