"""Which location encoder for which job: every registered one on ``bluemarble``, location alone.

For each encoder the scale and learning rate with the best Top-1 on fold 0 (Sup.Only, 10 % of the
land cover labels, one seed) are kept. Then, on folds that took no part in that choice:

- *new regions*: folds 1 to 4 of 5 degree blocks, no training tile shares a pixel with a test tile;
  supervised alone and after label-free pre-training of preset ``best``, one seed;
- *filling gaps*: a random 20 % of all tiles is held out, neighbours stay, two seeds.

python benchmarks/encoders.py    writes benchmarks/encoders.json
"""

import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import machine

import geocsp
from geocsp.data.named.bluemarble import BlueMarble, bluemarble
from geocsp.data.splits import Split
from geocsp.demo.methods import FINETUNE
from geocsp.demo.settings import TEST_FOLDS, VALIDATION_FOLD
from geocsp.demo.work import TaskRows, task_rows
from geocsp.evaluate import Shot
from geocsp.images import EfficientNetLite0, extract
from geocsp.model import GeoModel
from geocsp.presets import BEST, Component, Preset
from geocsp.train.finetune import FinetuneSettings, finetune
from geocsp.train.pretrain import pretrain

POINTS = 8_000
TUNED_WITH = Shot(ratio=0.1)
SHOTS = (Shot(per_class=3), Shot(ratio=0.1), Shot(ratio=1.0))
TASKS = ("landcover", "climate")
RATES = (2e-3, 5e-4, 1e-4)
DEGREES = [{"frequencies": 16, "min_radius": radius} for radius in (20.0, 5.0, 1.0)]
RADIANS = [{"frequencies": 16, "min_radius": radius} for radius in (0.35, 0.087, 0.0175)]
SCALES: dict[str, list[dict[str, Any]]] = {
    "geoclip": [
        {"scales": scales, "waves": 128, "hidden": 256, "layers": 2}  # a tenth of the published
        for scales in ((1.0, 4.0), (1.0, 16.0), (1.0, 16.0, 256.0))
    ],
    "healpix-hash": [{"levels": levels} for levels in (4, 6, 8)],
    "nerf": [{"frequencies": count} for count in (3, 5, 7)],
    "rbf": [{"width": width} for width in (20.0, 10.0, 5.0)],
    "rff": [{"variance": variance} for variance in (25.0, 100.0, 400.0)],
    "spherical-harmonics": [{"degrees": degrees} for degrees in (10, 20, 40)],
    "sphere2vec-dfs": [scale | {"frequencies": 6} for scale in RADIANS],
    "tile": [{"degrees": degrees} for degrees in (20.0, 10.0, 5.0)],
}


def scales(name: str) -> list[dict[str, Any]]:
    if name in SCALES:
        return SCALES[name]
    if name.startswith("sphere2vec") or name.endswith("norm"):
        return RADIANS
    return DEGREES if name.startswith("space2vec") else [{}]


@cache
def tiles() -> BlueMarble:
    return bluemarble(POINTS)


@cache
def image_features() -> torch.Tensor:
    return extract(EfficientNetLite0(pixels=64), tiles())


def preset_of(name: str, settings: dict[str, Any], rate: float) -> Preset:
    finetuning = replace(FINETUNE, learning_rate=rate)
    return replace(BEST, location=Component(name, settings), objective=None, finetune=finetuning)


def top1(
    preset: Preset,
    rows: TaskRows,
    shot: Shot,
    seed: int,
    how: FinetuneSettings,
    model: GeoModel | None = None,
) -> float:
    places = torch.from_numpy(tiles().lonlat).float()
    subset = rows.subset(shot, seed)
    prior = preset.build_prior(tuple(map(str, range(rows.classes))), seed, model)
    finetune(prior, places[subset], rows.labels[subset], how, seed=seed)
    answer = prior.class_scores(places[rows.test]).argmax(dim=1)
    return float((answer == rows.labels[rows.test]).double().mean())


def random_split(seed: int) -> Split:
    held = np.random.default_rng(seed).random(len(tiles())) < 0.2
    none = np.empty(0, dtype=np.int64)
    train, test = np.flatnonzero(~held), np.flatnonzero(held)
    return Split(train, none, test, dropped_train=0, dropped_validation=0)


def tuning_split() -> Split:
    split = tiles().split(TEST_FOLDS[0], VALIDATION_FOLD)
    return replace(split, validation=split.test, test=split.validation)


def records(name: str, preset: Preset) -> Iterator[dict[str, Any]]:
    places = torch.from_numpy(tiles().lonlat).float()
    for fold in TEST_FOLDS:
        split = tiles().split(fold, VALIDATION_FOLD)
        train = torch.from_numpy(split.train)
        pretraining = replace(BEST, location=preset.location)
        model = pretraining.build_model(image_features().shape[1], 0)
        model.standardise_by(image_features()[train])
        start = time.perf_counter()
        objective = pretraining.build_objective(0)
        features = image_features()[train]
        pretrain(model, objective, features, places[train], pretraining.pretrain, seed=0)
        seconds = time.perf_counter() - start
        for task in TASKS:
            rows = task_rows(tiles(), task, split)
            for shot in SHOTS:
                key = {"task": task, "shot": shot.label, "fold": fold}
                accuracy = top1(preset, rows, shot, 0, preset.finetune)
                yield key | {"job": "new regions", "seed": 0, "top1": accuracy}
                accuracy = top1(pretraining, rows, shot, 0, BEST.finetune, model)
                yield key | {
                    "job": "new regions, pre-trained",
                    "seed": 0,
                    "top1": accuracy,
                    "seconds": seconds,
                }
    for seed in (0, 1):
        split = random_split(seed)
        for task in TASKS:
            rows = task_rows(tiles(), task, split)
            for shot in SHOTS:
                accuracy = top1(preset, rows, shot, seed, preset.finetune)
                key = {"task": task, "shot": shot.label, "fold": None, "seed": seed}
                yield key | {"job": "filling gaps", "top1": accuracy}


def study(name: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    start = time.perf_counter()
    rows = task_rows(tiles(), TASKS[0], tuning_split())
    tried = []
    for settings in scales(name):
        for rate in RATES:
            preset = preset_of(name, settings, rate)
            found = top1(preset, rows, TUNED_WITH, 0, preset.finetune)
            tried.append({"settings": settings, "rate": rate, "top1": found})
    chosen = max(tried, key=lambda row: row["top1"])
    preset = preset_of(name, chosen["settings"], chosen["rate"])
    encoder = preset.build_location(0)
    result = {
        "encoder": name,
        "chosen": chosen,
        "tried": tried,
        "features": encoder.feature_dim,
        "weights": sum(weight.numel() for weight in encoder.parameters()),
        "resolution_km": encoder.resolution_km,
        "periodic": encoder.periodic,
        "single_pole": encoder.single_pole,
        "records": list(records(name, preset)),
    }
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return result


def main() -> None:
    image_features()
    names = sys.argv[1:] or geocsp.available("location")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        results = list(pool.map(study, names))
    report = {
        "machine": machine(),
        "points": POINTS,
        "version": geocsp.__version__,
        "rows": results,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
