"""Which location encoder for which job: every registered one on ``bluemarble``, location alone.

For each encoder the scale and learning rate with the best Top-1 on fold 0 (Sup.Only, 10 % of the
land cover labels, one seed) are kept. Then, on folds that took no part in that choice:

- *new regions*: folds 1 to 4 of 5 degree blocks, no training tile shares a pixel with a test tile;
  supervised alone, and with the linear head of preset ``best`` after its label-free pre-training,
  one seed;
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
from geocsp.evaluate import Shot
from geocsp.evaluate.benchmark import Benchmark, Fold
from geocsp.evaluate.bluemarble_rows import PAPER_ON_TILES
from geocsp.evaluate.fewshot import top1
from geocsp.evaluate.sources.bluemarble import TEST_FOLDS, BlueMarbleSource
from geocsp.model import GeoModel
from geocsp.presets import BEST, Component, Preset
from geocsp.train.pretrain import pretrain
from geocsp.train.priors import train_prior

POINTS = 8_000
TUNED_WITH = Shot(ratio=0.1)
SHOTS = (Shot(per_class=3), Shot(ratio=0.1), Shot(ratio=1.0))
TASKS = ("landcover", "climate")
TUNING = "tuning"
GAP_SEEDS = (0, 1)
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
def benchmark() -> Benchmark:
    """Tiles with the folds of the evaluation, fold 0 as a test fold, and random divisions."""
    found = BlueMarbleSource(points=POINTS, tasks=TASKS).load()
    first = found.folds[str(TEST_FOLDS[0])]
    folds = {TUNING: Fold(first.train, first.test, first.validation)}
    folds |= {gaps(seed): random_fold(len(found), seed) for seed in GAP_SEEDS}
    return replace(found, folds={**found.folds, **folds})


def gaps(seed: int) -> str:
    return f"gaps {seed}"


def random_fold(rows: int, seed: int) -> Fold:
    held = np.random.default_rng(seed).random(rows) < 0.2
    return Fold(np.flatnonzero(~held), np.empty(0, dtype=np.int64), np.flatnonzero(held))


def preset_of(name: str, settings: dict[str, Any], rate: float) -> Preset:
    """Supervised training alone."""
    finetuning = replace(PAPER_ON_TILES.finetune, learning_rate=rate)
    return replace(
        BEST,
        location=Component(name, settings),
        objective=None,
        finetune=finetuning,
        linear=None,
    )


def accuracy(
    preset: Preset, task: str, fold: str, shot: Shot, seed: int, model: GeoModel | None = None
) -> float:
    """Top-1 of the location alone."""
    places, labels = benchmark().places, benchmark().tasks[task]
    division, codes = benchmark().folds[fold], torch.from_numpy(labels.codes)
    subset = torch.from_numpy(benchmark().subset(task, fold, shot, seed))
    shown = torch.full_like(codes, -1).index_copy(0, subset, codes[subset])
    train = torch.from_numpy(division.train)
    test = torch.from_numpy(division.labelled(division.test, labels))
    prior = train_prior(
        preset, labels.names, places[train], shown[train], seed=seed, pretrained=model
    )
    return top1(prior.class_scores(places[test]), codes[test])


def pretrained(preset: Preset, fold: str) -> GeoModel:
    train = torch.from_numpy(benchmark().folds[fold].train)
    features, places = benchmark().features[train], benchmark().places[train]
    model = preset.build_model(features.shape[1], 0)
    model.standardise_by(features)
    pretrain(model, preset.build_objective(0), features, places, preset.pretrain, seed=0)
    return model


def records(name: str, preset: Preset) -> Iterator[dict[str, Any]]:
    pretraining = replace(BEST, location=preset.location)
    for fold in TEST_FOLDS:
        start = time.perf_counter()
        model = pretrained(pretraining, str(fold))
        seconds = time.perf_counter() - start
        for task in TASKS:
            for shot in SHOTS:
                key = {"task": task, "shot": shot.label, "fold": fold}
                found = accuracy(preset, task, str(fold), shot, 0)
                yield key | {"job": "new regions", "seed": 0, "top1": found}
                found = accuracy(pretraining, task, str(fold), shot, 0, model)
                yield key | {
                    "job": "new regions, pre-trained",
                    "seed": 0,
                    "top1": found,
                    "seconds": seconds,
                }
    for seed in GAP_SEEDS:
        for task in TASKS:
            for shot in SHOTS:
                found = accuracy(preset, task, gaps(seed), shot, seed)
                key = {"task": task, "shot": shot.label, "fold": None, "seed": seed}
                yield key | {"job": "filling gaps", "top1": found}


def study(name: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    start = time.perf_counter()
    tried = []
    for settings in scales(name):
        for rate in RATES:
            preset = preset_of(name, settings, rate)
            found = accuracy(preset, TASKS[0], TUNING, TUNED_WITH, 0)
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
    benchmark()
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
