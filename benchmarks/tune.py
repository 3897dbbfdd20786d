"""How the settings of the demo's rows were chosen: on fold 0, which the demo never tests.

Training rows are folds 1 to 4 without tiles that share a pixel with fold 0. Calibrations are
fitted on a random 30 % of fold 0 and everything is scored on the rest, two seeds, land cover.

python benchmarks/tune.py    prints a table and writes benchmarks/tune.json
"""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from geocsp.data.named.bluemarble import TILE_PIXELS, TURN_PIXELS, bluemarble
from geocsp.data.splits import SpatialBlocks, overlapping
from geocsp.demo.methods import methods
from geocsp.demo.settings import VALIDATION_FOLD, DemoSettings
from geocsp.demo.work import TaskRows, image_answers
from geocsp.evaluate import Shot, accuracy_of
from geocsp.images import EfficientNetLite0, extract
from geocsp.presets import BEST, Component, Preset
from geocsp.train.finetune import finetune
from geocsp.train.pretrain import pretrain

SHOTS = (Shot(per_class=3), Shot(ratio=0.01), Shot(ratio=0.05), Shot(ratio=0.1), Shot(ratio=1.0))
SEEDS = (0, 1)


def variants() -> dict[str, Preset]:
    rows = {row.name: row.preset for row in methods(DemoSettings(), EfficientNetLite0.dim)}
    supervised, paper = rows["sup-grid"], rows["csp-mc"]

    def objective(**settings: object) -> Component:
        assert BEST.objective is not None
        return Component("csp-mc", BEST.objective.settings | settings)

    def location(preset: Preset, **settings: object) -> Preset:
        where = replace(preset.location, settings=preset.location.settings | settings)
        return replace(preset, location=where)

    return {
        "Sup.Only (grid)": supervised,
        "Sup.Only, r_min 0.1": location(supervised, min_radius=0.1),
        "Sup.Only, r_min 10": location(supervised, min_radius=10.0),
        "CSP-MC-BLD": paper,
        "CSP-MC-BLD, d 128, h 256": location(paper, dim=128, hidden=256),
        "CSP-MC-BLD, raw features": replace(paper, standardise=False),
        "best": BEST,
        "best, image head on raw features": replace(BEST, aligned_image=False),
        "best, with dropout views": replace(BEST, objective=objective(dropout=1.0)),
        "best, with random places": replace(BEST, objective=objective(random_location=1.0)),
        "best, temperature from 0.07": replace(BEST, temperature=0.07),
        "best, encoder moves freely": replace(
            BEST, finetune=replace(BEST.finetune, location_rate=1.0, learning_rate=2e-3)
        ),
    }


def score(name: str) -> dict[str, object]:
    torch.set_num_threads(1)
    preset = variants()[name]
    data = bluemarble()
    features = extract(EfficientNetLite0(pixels=64), data)
    places = torch.from_numpy(data.lonlat).float()
    labels = data.tasks["landcover"].labels
    held = SpatialBlocks().fold_of(data.lonlat) == VALIDATION_FOLD
    near = overlapping(data.corners, data.corners[held], TILE_PIXELS, TURN_PIXELS)
    train, held_rows = np.flatnonzero(~held & ~near), np.flatnonzero(held & (labels >= 0))
    calibrating = np.random.default_rng(1).random(len(held_rows)) < 0.3
    rows = TaskRows(
        labels=torch.from_numpy(labels),
        classes=len(data.tasks["landcover"].class_names),
        unlabelled=torch.from_numpy(train),
        train=torch.from_numpy(train[labels[train] >= 0]),
        validation=torch.from_numpy(held_rows[calibrating]),
        test=torch.from_numpy(held_rows[~calibrating]),
    )
    result: dict[str, object] = {"variant": name}
    runs = []
    for seed in SEEDS:
        model, image_features = None, features
        if preset.objective is not None:
            model = preset.build_model(features.shape[1], seed)
            if preset.standardise:
                model.standardise_by(features[train])
            objective = preset.build_objective(seed)
            pretrain(model, objective, features[train], places[train], preset.pretrain, seed=seed)
            image_features = model.embed_images(features) if preset.aligned_image else features
        for shot in SHOTS:
            subset = rows.subset(shot, seed)
            image = image_answers(image_features, rows, subset)
            prior = preset.build_prior(data.tasks["landcover"].class_names, seed, model)
            finetune(prior, places[subset], rows.labels[subset], preset.finetune, seed=seed)
            scores = [prior.class_scores(places[part]) for part in (rows.validation, rows.test)]
            accuracy = accuracy_of(
                (image["validation"], image["test"]),
                (scores[0], scores[1]),
                (rows.labels[rows.validation], rows.labels[rows.test]),
            )
            runs.append((shot.label, accuracy))
    for shot in SHOTS:
        mine = [accuracy for label, accuracy in runs if label == shot.label]
        for measure in ("image", "location", "fused"):
            result[f"{shot.label}, {measure}"] = mean(getattr(a, measure) for a in mine)
    return result


def main() -> None:
    extract(EfficientNetLite0(pixels=64), bluemarble())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        results = list(pool.map(score, variants()))
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"seeds": SEEDS, "rows": results}, indent=1))
    for row in results:
        print(" | ".join(v if isinstance(v, str) else f"{100 * v:.1f}" for v in row.values()))


if __name__ == "__main__":
    main()
