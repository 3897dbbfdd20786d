"""How the preset ``best`` was chosen: on fold 0, which no published table tests.

Training rows are folds 1 to 4 without tiles that share a pixel with fold 0. Calibrations are
fitted on a random 30 % of fold 0 and everything is scored on the rest, both tasks, two seeds.

python benchmarks/tune.py    prints a table and writes benchmarks/tune.json
"""

import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geocsp.data.named.bluemarble import TILE_PIXELS, TURN_PIXELS, bluemarble
from geocsp.data.splits import SpatialBlocks, overlapping
from geocsp.data.table import Categories
from geocsp.evaluate.benchmark import Benchmark
from geocsp.evaluate.bluemarble_rows import PAPER_ON_TILES
from geocsp.evaluate.fewshot import Shot, top1
from geocsp.evaluate.fitting import Setting, fit_place
from geocsp.evaluate.rows import Row
from geocsp.evaluate.sources.bluemarble import VALIDATION_FOLD
from geocsp.images import EfficientNetLite0, extract
from geocsp.model import GeoModel
from geocsp.predict import fit_calibration, fused_logits
from geocsp.presets import BEST, Component, Preset
from geocsp.train.finetune import FinetuneSettings, train_image_head
from geocsp.train.linear import LinearSettings, SelfTraining
from geocsp.train.pretrain import pretrain

SHOTS = (Shot(per_class=3), Shot(ratio=0.01), Shot(ratio=0.05), Shot(ratio=0.1))
SEEDS = (0, 1)
PENALTY = 100.0


OURS = replace(
    BEST,
    finetune=FinetuneSettings(steps=150, batch_size=256, learning_rate=5e-3, location_rate=0.2),
)


def towers() -> dict[str, Preset]:
    """What is pre-trained."""

    def location(name: str, **settings: object) -> Preset:
        return replace(OURS, location=Component(name, {"dim": 256} | settings))

    def grid(**settings: object) -> Preset:
        return replace(OURS, location=Component("space2vec-grid", GRID | settings))

    return {
        "CSP-MC-BLD": PAPER_ON_TILES,
        "grid": grid(),
        "grid, r_min 10": grid(min_radius=10.0),
        "grid, dropout 0.2": grid(dropout=0.2),
        "wrap": location("wrap"),
        "spherical-harmonics": location("spherical-harmonics", degrees=20),
        "60 epochs": replace(OURS, pretrain=replace(BEST.pretrain, epochs=60)),
    }


GRID = BEST.location.settings
HEADS = {
    "fine-tuned": None,
    "linear, penalty 3": LinearSettings(3.0),
    "linear, penalty 30": LinearSettings(30.0),
    "linear, penalty 100": LinearSettings(100.0),
    "self-trained, penalty 10": LinearSettings(30.0, SelfTraining(10.0)),
    "self-trained, penalty 100": LinearSettings(30.0, SelfTraining(100.0)),
    "self-trained, labels count 4 times": LinearSettings(30.0, SelfTraining(100.0, 1.0)),
}
FEW = ("fine-tuned", "linear, penalty 30", "self-trained, penalty 100")


@cache
def data() -> tuple[Benchmark, np.ndarray, np.ndarray]:
    """Tiles, training rows and held-out rows."""
    tiles = bluemarble()
    features = extract(EfficientNetLite0(pixels=64), tiles)
    held = SpatialBlocks().fold_of(tiles.lonlat) == VALIDATION_FOLD
    near = overlapping(tiles.corners, tiles.corners[held], TILE_PIXELS, TURN_PIXELS)
    tasks = {name: Categories(task.labels, task.class_names) for name, task in tiles.tasks.items()}
    benchmark = Benchmark("bluemarble", tiles.fingerprint, features, tiles.lonlat, tasks, {})
    return benchmark, np.flatnonzero(~held & ~near), np.flatnonzero(held)


def score(name: str) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    preset = towers()[name]
    benchmark, train, _ = data()
    rows = torch.from_numpy(train)
    heads = HEADS if name == "grid" else FEW
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for seed in SEEDS:
        model = preset.build_model(benchmark.features.shape[1], seed)
        if preset.standardise:
            model.standardise_by(benchmark.features[rows])
        images, places = benchmark.features[rows], benchmark.places[rows]
        pretrain(model, preset.build_objective(seed), images, places, preset.pretrain, seed=seed)
        for key, value in judge(preset, model, seed, {head: HEADS[head] for head in heads}):
            found.setdefault(key, []).append(value)
    return [
        {"tower": name, "head": h, "task": t, "shot": s, "measure": m, "top1": mean(values)}
        for (h, t, s, m), values in found.items()
    ]


def judge(
    preset: Preset, model: GeoModel, seed: int, heads: dict[str, LinearSettings | None]
) -> Iterator[tuple[tuple[str, str, str, str], float]]:
    """Top-1 by head, task, shot and measure."""
    benchmark, train, held = data()
    raw = not preset.aligned_image
    features = benchmark.features if raw else model.embed_images(benchmark.features)
    for task, labels in benchmark.tasks.items():
        labelled = held[labels.codes[held] >= 0]
        calibrates = np.random.default_rng(1).random(len(labelled)) < 0.3
        validation, test = labelled[calibrates], labelled[~calibrates]
        known = train[labels.codes[train] >= 0]
        for shot in SHOTS:
            subset = known[shot.rows(labels.codes[known], seed)]
            setting = Setting(benchmark, labels, train, validation, test, subset)
            image = image_answers(features, setting)
            for head, linear in heads.items():
                row = Row(head, head, replace(preset, linear=linear))
                place = fit_place(row, setting, image, seed, model)
                assert place is not None
                index = {p: torch.from_numpy(getattr(setting, p)) for p in ("validation", "test")}
                scores = {p: place.scores(benchmark.places[rows]) for p, rows in index.items()}
                codes = {p: setting.codes[rows] for p, rows in index.items()}
                calibration = fit_calibration(
                    image["validation"], scores["validation"], codes["validation"]
                )
                fused = fused_logits(image["test"], scores["test"], calibration)
                for measure, said in (
                    ("image", image["test"]),
                    ("location", scores["test"]),
                    ("fused", fused),
                ):
                    yield (head, task, shot.label, measure), top1(said, codes["test"])


def image_answers(features: Tensor, setting: Setting) -> dict[str, Tensor]:
    chosen = torch.from_numpy(setting.subset)
    head = train_image_head(
        features[chosen],
        setting.codes[chosen],
        len(setting.labels.names),
        penalty=PENALTY,
        unlabelled=features[torch.from_numpy(setting.train)],
    )
    return {
        part: head.logits(features[torch.from_numpy(getattr(setting, part))]).log_softmax(1)
        for part in ("train", "validation", "test")
    }


def main() -> None:
    data()
    context = multiprocessing.get_context("spawn")
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    results = []
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for rows in pool.map(score, towers()):
            results += rows
            show(rows)
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"seeds": SEEDS, "rows": results}, indent=1) + "\n")


def show(rows: list[dict[str, Any]]) -> None:
    for head in dict.fromkeys(row["head"] for row in rows):
        cells = [f"{100 * row['top1']:.1f}" for row in rows if row["head"] == head]
        print(f"{rows[0]['tower']:24} {head:36} {' '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
