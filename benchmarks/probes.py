"""What location embeddings know: pre-trained on Blue Marble tiles, published, and untrained.

python benchmarks/probes.py                      writes benchmarks/probes.json
python benchmarks/probes.py MODEL...             probes saved models besides (folders or files)
python benchmarks/probes.py --images 2000 --points 500 --labels climate --epochs 2    a quick look

Rows: nothing ("constant"), degrees, points on the sphere, the untrained grid encoder of `best`,
GeoCLIP's published weights, CSP-MC-BLD with the paper's objective and `best`, both pre-trained here
on Blue Marble tiles without any label.

Probed places are not those of the tiles. "(all tiles)" is pre-trained on tiles from everywhere, so
that on blocks it has seen images, though no labels, of the blocks that are tested; "(outside)" is
pre-trained anew for each block fold, on tiles that do not reach into a tested block. GeoCLIP has
seen photos from everywhere. Every row is compared with `best (all tiles)`, and on blocks with
`best (outside)`, by the paired differences over the outer folds.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from timing import machine
from torch import Tensor

from geocsp.data.named.bluemarble import BlueMarble, bluemarble
from geocsp.data.splitters import Splitter
from geocsp.evaluate import interval
from geocsp.evaluate.bluemarble_rows import PAPER_ON_TILES
from geocsp.evaluate.probes import (
    LABELS,
    RAW,
    Folds,
    ProbedEncoder,
    ProbeResult,
    ProbeSettings,
    probe_fold,
    probed_encoder,
    run_probes,
    target_at,
)
from geocsp.evaluate.probes.run import result_facts
from geocsp.evaluate.rows import OURS, PAPER_MC
from geocsp.files import write_atomically
from geocsp.images import EfficientNetLite0, extract
from geocsp.model import GeoModel
from geocsp.presets import BEST, Preset, changed
from geocsp.train.pretrain import pretrain

EVERYWHERE, OUTSIDE = "all tiles", "outside"


def main() -> None:
    given = arguments()
    settings = ProbeSettings(points=given.points, labels=given.labels, seed=given.seed)
    tiles = bluemarble(given.images, given.seed)
    features = extract(EfficientNetLite0(pixels=64), tiles)
    rows = {
        name: changed(preset, {"pretrain.epochs": given.epochs})
        for name, preset in ((PAPER_MC, PAPER_ON_TILES), (OURS, BEST))
    }
    untrained = rows[OURS].build_location(given.seed).eval()
    encoders = [
        *(probed_encoder(name) for name in RAW),
        ProbedEncoder.of("grid (untrained)", untrained, trained=False),
        *(probed_encoder(name) for name in given.models),
    ]
    start = time.perf_counter()
    for name, preset in rows.items():
        model = pretrained(preset, tiles, features, np.arange(len(tiles)), given.seed)
        encoders.append(ProbedEncoder.of(f"{name} ({EVERYWHERE})", model))
    print(f"pre-trained on all tiles in {time.perf_counter() - start:.0f} s", flush=True)
    report = run_probes(encoders, settings, lambda now: print(now, flush=True))
    for name, preset in rows.items():
        report["results"] += outside(preset, f"{name} ({OUTSIDE})", tiles, features, settings)
    report["tiles"] = {"points": len(tiles), "fingerprint": tiles.fingerprint}
    report["epochs"], report["machine"] = given.epochs, machine()
    report["comparisons"] = list(comparisons(report["results"]))
    write_atomically(given.output, json.dumps(report, indent=1).encode())
    show(report)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=["geoclip"])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--points", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--labels", type=lambda text: tuple(text.split(",")), default=LABELS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    if "geoclip" not in given.models:
        given.models.insert(0, "geoclip")
    return given


def pretrained(
    preset: Preset, tiles: BlueMarble, features: Tensor, rows: np.ndarray, seed: int
) -> GeoModel:
    """A model after pre-training on some of the tiles."""
    images, places = features[torch.from_numpy(rows)], torch.from_numpy(tiles.lonlat[rows])
    model = preset.build_model(features.shape[1], seed)
    if preset.standardise:
        model.standardise_by(images)
    objective = preset.build_objective(seed)
    pretrain(model, objective, images, places.float(), preset.pretrain, seed=seed)
    return model.eval()


def outside(
    preset: Preset, name: str, tiles: BlueMarble, features: Tensor, settings: ProbeSettings
) -> Iterator[dict]:
    """Probes on block folds, each with a model that has seen no tile of the tested blocks."""
    lonlat = settings.places()
    outer, inner = settings.splitters(Folds.BLOCKS)
    embeddings = []
    for fold in range(settings.count):
        rows = np.flatnonzero(~reaching(outer, tiles, fold))
        print(f"{name}: fold {fold}, {len(rows)} of {len(tiles)} tiles", flush=True)
        model = pretrained(preset, tiles, features, rows, settings.seed)
        embeddings.append(model.embed(torch.from_numpy(lonlat)).double().numpy())
    splits = list(outer.split(lonlat))
    for label in settings.labels:
        target = target_at(label, lonlat)
        for head in settings.heads:
            folds = [
                probe_fold(embedding, target, lonlat, *split, inner=inner, head=head)
                for embedding, split in zip(embeddings, splits, strict=True)
            ]
            result = ProbeResult(label, head, tuple(folds))
            yield {"encoder": name, "folds": Folds.BLOCKS.value} | result_facts(result)


def reaching(blocks: Splitter, tiles: BlueMarble, fold: int) -> np.ndarray:
    """Which tiles reach into the blocks of a fold; a tile is smaller than a block."""
    half = tiles.tile_degrees / 2
    reaches = np.zeros(len(tiles), dtype=bool)
    for east in (-half, half):
        for north in (-half, half):
            corners = tiles.lonlat + np.array([east, north])
            corners[:, 0] = (corners[:, 0] + 180.0) % 360.0 - 180.0
            reaches |= blocks.fold_of(corners) == fold
    return reaches


def comparisons(results: list[dict]) -> Iterator[dict]:
    """Ours against every other row, by paired differences over the outer folds."""
    table = {(r["encoder"], r["label"], r["folds"], r["head"]): r for r in results}
    for (name, *cell), row in table.items():
        for regime in (EVERYWHERE, OUTSIDE):
            ours = table.get((f"{OURS} ({regime})", *cell))
            if ours is None or ours is row:
                continue
            first, second = (r["scores"][r["metric"]]["runs"] for r in (ours, row))
            gain = interval([a - b for a, b in zip(first, second, strict=True)])
            yield {
                "first": ours["encoder"],
                "second": name,
                **dict(zip(("label", "folds", "head"), cell, strict=True)),
                "metric": row["metric"],
                "difference": gain.mean,
                "low": gain.low,
                "high": gain.high,
            }


def show(report: dict) -> None:
    names = list(dict.fromkeys(row["encoder"] for row in report["results"]))
    for folds in report["settings"]["folds"]:
        for head in report["settings"]["heads"]:
            print(f"\n{folds} folds, {head}")
            for name in names:
                rows = [
                    row
                    for row in report["results"]
                    if (row["encoder"], row["folds"], row["head"]) == (name, folds, head)
                ]
                cells = (f"{r['label']} {r['scores'][r['metric']]['mean']:.3f}" for r in rows)
                if rows:
                    print(f"{name:24} " + ", ".join(cells))


if __name__ == "__main__":
    main()
