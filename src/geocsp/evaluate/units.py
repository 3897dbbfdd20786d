"""The three kinds of work of an evaluation, each one call in a worker process that leaves files.

A finished file is never computed again, so an interrupted run goes on where it was. Every unit of
work computes on one thread, so its numbers do not depend on how many run side by side.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from geocsp.data.splitters.base import Integers
from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers
from geocsp.evaluate.benchmark import Benchmark, Source
from geocsp.evaluate.classification import classification_metrics
from geocsp.evaluate.fewshot import Shot
from geocsp.evaluate.fitting import Fused, Place, Setting, fit_place, fuse_all
from geocsp.evaluate.results import (
    ANSWERS_FOLDER,
    PRIORS_FOLDER,
    SUBSETS_FOLDER,
    Measure,
    Regime,
    Run,
    read_arrays,
)
from geocsp.evaluate.rows import Row
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.files import write_atomically
from geocsp.fusion import Support
from geocsp.model import GeoModel
from geocsp.presets import Sizes
from geocsp.train.finetune import train_image_head
from geocsp.train.pretrain import pretrain
from geocsp.train.simclr import ImageProjection, pretrain_images

PARTS = ("validation", "test")
"""The rows of a fold that a head answers for."""


@dataclass(frozen=True)
class Unit:
    """A row of the table on one test fold with one seed.

    Attributes:
        row: short name of the row.
        regime: what pre-training has seen.
        fold: test fold; None for transductive pre-training, which is the same for all of them.
        seed: labelled subset, initial weights and batches.
    """

    row: str
    regime: Regime
    fold: str | None
    seed: int

    @property
    def name(self) -> str:
        """Name of the unit's files."""
        fold = "all" if self.fold is None else self.fold
        return f"{self.row}-{self.regime}-{fold}-{self.seed}"

    @property
    def pretraining(self) -> Unit:
        """The pre-training that it builds on."""
        return replace(self, fold=None) if self.regime is Regime.TRANSDUCTIVE else self


@dataclass(frozen=True)
class Workspace:
    """Where an evaluation works, and everything its units need to know.

    Attributes:
        settings: how much to evaluate.
        source: makes the benchmark.
        rows: rows of the table.
        folder: run folder.
    """

    settings: EvaluateSettings
    source: Source
    rows: tuple[Row, ...]
    folder: Path

    def row(self, name: str) -> Row:
        """The row with this name."""
        return next(row for row in self.rows if row.name == name)

    def heads_file(self, task: str, fold: str, seed: int, shot: Shot) -> Path:
        """What an image head on raw features says about the validation and test rows."""
        return self.folder / "work" / "heads" / f"{task}-{fold}-{seed}-{shot.label}.npz"

    def subsets_file(self, task: str, fold: str, seed: int) -> Path:
        """Labelled rows by amount of labels."""
        return self.folder / SUBSETS_FOLDER / f"{task}-{fold}-{seed}.npz"

    def tower(self, unit: Unit) -> Path:
        """Folder of a pre-trained model."""
        base = replace(unit.pretraining, row=self.row(unit.row).tower)
        return self.folder / "work" / "towers" / base.name

    def record_file(self, unit: Unit) -> Path:
        """Runs of a unit; written last."""
        return self.folder / "work" / "records" / f"{unit.name}.json"

    def keeps(self, unit: Unit) -> bool:
        """Whether a unit's prior is kept for maps."""
        return unit.seed == self.settings.seed and unit.regime is not Regime.TRANSDUCTIVE


def train_heads(workspace: Workspace, task: str, fold: str, seed: int) -> float:
    """Image heads on raw image features, one for every shot; leaves their answers.

    Returns:
        Seconds it took, zero if the file was there.
    """
    subsets_file = workspace.subsets_file(task, fold, seed)
    files = {
        shot: workspace.heads_file(task, fold, seed, shot) for shot in workspace.settings.shots
    }
    if all(path.is_file() for path in (subsets_file, *files.values())):
        return 0.0
    start = time.perf_counter()
    benchmark = workspace.source.load()
    subsets: dict[str, NDArray[Any]] = {}
    for shot, path in files.items():
        setting = _setting(workspace, benchmark, task, fold, shot, seed)
        subsets[shot.label] = setting.subset
        if not path.is_file():
            save_arrays(path, _head_answers(workspace, setting, shot))
    save_arrays(subsets_file, subsets)
    return time.perf_counter() - start


def _head_answers(workspace: Workspace, setting: Setting, shot: Shot) -> dict[str, NDArray[Any]]:
    """What is published, or what a head says that is trained now."""
    begin, benchmark = time.perf_counter(), setting.benchmark
    published = benchmark.published.get(shot.label)
    if published is not None and published.probabilities is not None:
        found = _published_answers(published.probabilities, setting)
    else:
        found = _image_answers(benchmark.features, setting, workspace.settings.image_penalty)
    seconds = np.array(time.perf_counter() - begin)
    return {part: found[part].numpy() for part in PARTS} | {"seconds": seconds}


def pretrain_unit(workspace: Workspace, unit: Unit) -> float:
    """Pre-train without labels; leaves the model's folder.

    Returns:
        Seconds it took, zero if the folder was there.
    """
    folder = workspace.tower(unit)
    done = folder / "seconds.json"  # written last
    if done.is_file():
        return 0.0
    start = time.perf_counter()
    benchmark, row = workspace.source.load(), workspace.row(unit.row)
    rows = np.arange(len(benchmark))
    if unit.fold is not None and unit.regime is Regime.INDUCTIVE:
        rows = benchmark.folds[unit.fold].train
    if row.pretrain_images is not None:
        order = np.random.default_rng(unit.seed).permutation(rows)
        rows = np.sort(order[: row.pretrain_images])
    if row.simclr is not None:
        assert benchmark.views is not None
        index = torch.from_numpy(rows)
        projection = pretrain_images(benchmark.views, row.simclr, seed=unit.seed, rows=index)
        projection.save_pretrained(folder)
    else:
        _pretrain_places(benchmark, row, rows[benchmark.placed[rows]], unit.seed, folder)
    seconds = time.perf_counter() - start
    write_atomically(done, json.dumps(seconds).encode())
    return seconds


def _pretrain_places(
    benchmark: Benchmark, row: Row, rows: Integers, seed: int, folder: Path
) -> None:
    assert row.preset is not None
    index = torch.from_numpy(rows)
    images, places, preset = benchmark.features[index], benchmark.places[index], row.preset
    model = preset.build_model(images.shape[1], seed)
    if preset.standardise:
        model.standardise_by(images)
    objective = preset.build_objective(seed, Sizes(model.location.dim, images.shape[1]))
    sampler = None if preset.sampler is None else preset.build_sampler(places, None, seed)
    pretrain(model, objective, images, places, preset.pretrain, seed=seed, sampler=sampler)
    model.save_pretrained(folder)


def evaluate_unit(workspace: Workspace, unit: Unit) -> float:
    """Train a row for every task and shot and judge it; leaves answers and records.

    Returns:
        Seconds it took, zero if the records were there.
    """
    path = workspace.record_file(unit)
    if path.is_file():
        return 0.0
    start = time.perf_counter()
    benchmark = workspace.source.load()
    tower = _Tower.read(workspace, unit, benchmark)
    records = [
        record
        for task in benchmark.tasks
        for record in _task_records(workspace, unit, task, benchmark, tower)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(records).encode())
    return time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class _Tower:
    """What pre-training has left.

    Attributes:
        model: image and location side, or None.
        features: ``(N, F)`` what the image head sees, or None for image features as they are.
        seconds: how long pre-training took.
    """

    model: GeoModel | None = None
    features: Tensor | None = None
    seconds: float = 0.0

    @classmethod
    def read(cls, workspace: Workspace, unit: Unit, benchmark: Benchmark) -> _Tower:
        row = workspace.row(unit.row)
        if not row.pretrains:
            return cls()
        folder = workspace.tower(unit)
        seconds = json.loads((folder / "seconds.json").read_text())
        if row.simclr is not None:
            projection = ImageProjection.from_pretrained(folder)
            return cls(None, projection.embed(benchmark.features), seconds)
        model = GeoModel.from_pretrained(folder)
        features = None if row.raw_images else model.embed_images(benchmark.features)
        return cls(model, features, seconds)


def _setting(
    workspace: Workspace, benchmark: Benchmark, task: str, fold: str, shot: Shot, seed: int
) -> Setting:
    labels, division = benchmark.tasks[task], benchmark.folds[fold]
    setting = Setting(
        benchmark,
        labels,
        division.train,
        division.labelled(division.validation, labels),
        division.labelled(division.test, labels),
        _subset(workspace, benchmark, task, fold, shot, seed),
    )
    if len(setting.placed(setting.subset)) == 0:
        raise DataError(
            f"none of the {len(setting.subset)} labelled rows of {task}, fold {fold}, seed {seed}, "
            f"{shot.label} has a place; use more labels or leave out rows without a place"
        )
    return setting


def _subset(
    workspace: Workspace, benchmark: Benchmark, task: str, fold: str, shot: Shot, seed: int
) -> Integers:
    """Labelled rows of a run: those of an earlier evaluation, published ones, or drawn ones."""
    if workspace.settings.subsets is None:
        return benchmark.subset(task, fold, shot, seed)
    path = workspace.settings.subsets / SUBSETS_FOLDER / f"{task}-{fold}-{seed}.npz"
    rows = read_arrays(path).get(shot.label)
    known = benchmark.folds[fold].labelled(benchmark.folds[fold].train, benchmark.tasks[task])
    if rows is None or rows.size == 0:
        raise DataError(f"{path} has no labelled rows for {shot.label}")
    if rows.dtype.kind not in "iu" or not np.isin(rows, known).all():
        raise DataError(f"{path} has rows that are no labelled training rows of fold {fold}")
    return np.unique(rows).astype(np.int64)


def _image_answers(
    features: Tensor, setting: Setting, penalty: float, parts: tuple[str, ...] = PARTS
) -> dict[str, Tensor]:
    """Log P(y | I) of rows of a fold from a linear head trained on the labelled ones."""
    chosen, codes = torch.from_numpy(setting.subset), setting.codes
    head = train_image_head(
        features[chosen],
        codes[chosen],
        len(setting.labels.names),
        penalty=penalty,
        unlabelled=features[torch.from_numpy(setting.train)],
    )
    rows = {part: torch.from_numpy(getattr(setting, part)) for part in parts}
    return {part: head.logits(features[index]).log_softmax(1) for part, index in rows.items()}


def _published_answers(probabilities: sparse.csr_array, setting: Setting) -> dict[str, Tensor]:
    """Log P(y | I) as published, minus infinity for zero; a row of zeros says nothing."""
    found = {}
    for part in PARTS:
        shown = torch.from_numpy(probabilities[getattr(setting, part)].toarray())
        said = (shown > 0).any(dim=1, keepdim=True)
        found[part] = torch.where(said, shown, 1.0).log()
    return found


def _task_records(
    workspace: Workspace, unit: Unit, task: str, benchmark: Benchmark, tower: _Tower
) -> list[dict[str, Any]]:
    assert unit.fold is not None
    kept: dict[str, NDArray[Any]] = {}
    records = []
    settings = {
        shot: _setting(workspace, benchmark, task, unit.fold, shot, unit.seed)
        for shot in workspace.settings.shots
    }
    most = max(settings, key=lambda shot: len(settings[shot].subset))
    for shot, setting in settings.items():
        run, answers, place = _judge(workspace, unit, task, shot, setting, tower)
        if place is not None and workspace.keeps(unit) and shot == most:
            place.save(workspace.folder / PRIORS_FOLDER / Path(run.file).stem)
        kept |= _stored(shot, answers) | {"rows": setting.test}
        kept[f"{shot.label}/km"] = _km(setting)
        metrics = {measure: classification_metrics(found) for measure, found in answers.items()}
        records.append({"run": asdict(run), "metrics": metrics})
        path = run.file
    save_arrays(workspace.folder / ANSWERS_FOLDER / path, kept)
    return records


def _judge(
    workspace: Workspace,
    unit: Unit,
    task: str,
    shot: Shot,
    setting: Setting,
    tower: _Tower,
) -> tuple[Run, dict[Measure, Answers], Place | None]:
    """Train one row with one amount of labels: what it says about the test rows, and its prior."""
    assert unit.fold is not None
    begin, row = time.perf_counter(), workspace.row(unit.row)
    parts = (*PARTS, "train") if row.learns_from_answers else PARTS
    if tower.features is None:
        heads = read_arrays(workspace.heads_file(task, unit.fold, unit.seed, shot))
        image = {part: torch.from_numpy(heads[part]) for part in PARTS}
        spent = float(heads["seconds"])
        if "train" in parts:
            features, penalty = setting.benchmark.features, workspace.settings.image_penalty
            image |= _image_answers(features, setting, penalty, ("train",))
    else:
        image = _image_answers(tower.features, setting, workspace.settings.image_penalty, parts)
        spent = 0.0
    place = fit_place(row, setting, image, unit.seed, tower.model)
    fused = _fused(setting, image, place)
    labels = setting.codes[torch.from_numpy(setting.test)]
    answers = {
        measure: Answers.of(logits, labels, fused.answered(measure))
        for measure, logits in fused.logits.items()
    }
    run = Run(
        task=task,
        shot=shot.label,
        row=unit.row,
        regime=unit.regime,
        fold=unit.fold,
        seed=unit.seed,
        labels=len(setting.subset),
        measures=tuple(answers),
        parameters=0 if place is None else place.parameters,
        pretrain_seconds=tower.seconds,
        seconds=spent + time.perf_counter() - begin,
        fusion=fused.fitted,
    )
    return run, answers, place


def _fused(setting: Setting, image: Mapping[str, Tensor], place: Place | None) -> Fused:
    """The image alone, the place alone, and both together, for the test rows."""
    if place is None:
        return Fused({Measure.IMAGE: image["test"]}, {}, None)
    places = setting.benchmark.places
    rows = {part: torch.from_numpy(getattr(setting, part)) for part in PARTS}
    lonlat = {part: places[index] for part, index in rows.items()}
    return fuse_all(
        (image["validation"], image["test"]),
        (place.scores(lonlat["validation"]), place.scores(lonlat["test"])),
        (lonlat["validation"], lonlat["test"]),
        setting.codes[rows["validation"]],
        Support(places[setting.placed(setting.subset)]),
    )


def _km(setting: Setting) -> NDArray[np.float32]:
    """From each test row to the nearest labelled place, NaN without a place, ``(T,)``."""
    places, placed = setting.benchmark.places, setting.benchmark.placed[setting.test]
    support = Support(places[setting.placed(setting.subset)])
    km = support.km(places[torch.from_numpy(setting.test)]).float().numpy()
    return np.where(placed, km, np.nan).astype(np.float32)


def _stored(shot: Shot, answers: Mapping[Measure, Answers]) -> dict[str, NDArray[Any]]:
    """Answers as small arrays by name."""
    found: dict[str, NDArray[Any]] = {}
    for measure, answer in answers.items():
        for name, array in answer.arrays().items():
            small = np.int16 if answer.classes < 2**15 else np.int32
            values = array.astype(small) if array.dtype.kind == "i" else array
            found[f"{shot.label}/{measure}/{name}"] = values
    return found


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays, whole or not at all."""
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
