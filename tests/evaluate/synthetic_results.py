"""Small run folders of evaluations that were never run."""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import torch

from geocsp.evaluate.answers import Answers
from geocsp.evaluate.results import ANSWERS_FOLDER, PLACES_FILE, Measure, Regime, Results, Run

IMAGE, FUSED = (Measure.IMAGE,), (Measure.IMAGE, Measure.LOCATION, Measure.FUSED, Measure.GUARDED)
CLASSES = ("forest", "grassland", "cropland", "desert", "snow and ice")


@dataclass(frozen=True)
class SyntheticRow:
    """A row: how much its place knows, in nats."""

    name: str
    label: str
    regime: Regime = Regime.INDUCTIVE
    place: float = 1.0
    measures: tuple[Measure, ...] = FUSED


ROWS = (
    SyntheticRow("image", "Img.Only", Regime.NONE, measures=IMAGE),
    SyntheticRow("sup-grid", "Sup.Only (grid)", Regime.NONE, place=0.6),
    SyntheticRow("csp-mc-bld", "CSP-MC-BLD", place=1.0),
    SyntheticRow("best", "best (ours)", place=1.6),
)


@dataclass(frozen=True)
class Synthetic:
    """What a folder holds."""

    points: int = 400
    tasks: tuple[tuple[str, tuple[str, ...]], ...] = (("landcover", CLASSES),)
    rows: tuple[SyntheticRow, ...] = ROWS
    shots: tuple[str, ...] = ("3 per class", "5 %", "100 %")
    folds: tuple[str, ...] = ("1", "2")
    seeds: tuple[int, ...] = (0, 1)
    baseline: str = "sup-grid"
    placed: bool = True
    window: tuple[float, float, float, float] = (-180.0, -60.0, 180.0, 78.0)
    seed: int = 0
    fingerprint: str = "0123456789abcdef"


def write_results(folder, synthetic=Synthetic(), **changes):
    """Write a run folder and return its results as read."""
    plan = replace(synthetic, **changes)
    (folder / ANSWERS_FOLDER).mkdir(parents=True)
    generator = np.random.default_rng(plan.seed)
    lonlat, block, region, names = _places(plan, np.random.default_rng(7))
    np.savez_compressed(folder / PLACES_FILE, lonlat=lonlat, block=block, region=region)
    facts = _facts(plan, names)
    runs, cells = [], {}
    for task, classes in plan.tasks:
        truth = _truth(plan, len(classes))
        for fold in plan.folds:
            test = np.flatnonzero(block % len(plan.folds) == plan.folds.index(fold))
            for seed in plan.seeds:
                noise = generator.gumbel(size=(2, len(test), len(classes)))
                for row in plan.rows:
                    made = _run(plan, task, row, fold, seed, test, truth, noise, folder)
                    for run, answers in made:
                        runs.append(run)
                        cells.setdefault((task, run.shot, row.name, run.regime), {})[fold, seed] = (
                            run,
                            answers,
                        )
    facts["table"] = [_cell(key, found) for key, found in cells.items()]
    facts["comparisons"] = list(_comparisons(plan, cells))
    Results(folder, facts, tuple(runs)).write()
    return Results.read(folder)


def _places(plan, generator):
    west, south, east, north = plan.window
    lonlat = generator.uniform((west, south), (east, north), (plan.points, 2))
    if not plan.placed:
        none = np.full(plan.points, -1)
        return np.full((plan.points, 2), np.nan), np.arange(plan.points), none, []
    lonlat[0] = np.nan
    size = max(north - south, 1e-3) / 20
    cell = np.floor(np.nan_to_num(lonlat) / size).astype(int) @ np.array([1000, 1])
    _, block = np.unique(cell, return_inverse=True)
    block[0] = block.max() + 1
    region = np.where(np.isnan(lonlat[:, 0]), -1, lonlat[:, 0] > (west + east) / 2)
    return lonlat, block, region, ["western half", "eastern half"]


def _truth(plan, classes):
    return np.random.default_rng(3).choice(
        classes, plan.points, p=(weights := np.arange(classes, 0, -1.0)) / weights.sum()
    )


def _run(plan, task, row, fold, seed, test, truth, noise, folder):
    made, arrays = [], {"rows": test}
    labels = torch.from_numpy(truth[test])
    right = torch.nn.functional.one_hot(labels, len(dict(plan.tasks)[task])).numpy()
    for number, shot in enumerate(plan.shots):
        image = 0.8 * noise[0] + (0.7 + 0.5 * number) * right
        place = 0.9 * noise[1] + row.place * right
        logits = {
            Measure.IMAGE: image,
            Measure.LOCATION: place if plan.placed else 0 * place,
            Measure.PRODUCT: image + 1.5 * place,
            Measure.FUSED: image + place,
            Measure.GUARDED: image + 0.9 * place,
        }
        run = Run(
            task=task,
            shot=shot,
            row=row.name,
            regime=row.regime,
            fold=fold,
            seed=seed,
            labels=10 * 4**number,
            measures=row.measures,
            parameters=0 if row.measures == IMAGE else 123_456,
            pretrain_seconds=0.0 if row.regime is Regime.NONE else 75.0,
            seconds=1.5 + number,
            fusion={},
        )
        km = np.linspace(0, 3000, len(test), dtype=np.float32)
        arrays[f"{shot}/km"] = km if plan.placed else np.full_like(km, np.nan)
        answers = {m: Answers.of(torch.from_numpy(logits[m]), labels) for m in row.measures}
        for measure, said in answers.items():
            arrays |= {f"{shot}/{measure}/{name}": a for name, a in said.arrays().items()}
        made.append((run, answers))
    np.savez_compressed(folder / ANSWERS_FOLDER / made[0][0].file, **arrays)
    return made


def _facts(plan, regions):
    return {
        "settings": {"seeds": len(plan.seeds), "shots": list(plan.shots)},
        "seed": plan.seeds[0],
        "versions": {"geocsp": "0.0.test", "numpy": "2"},
        "data": {
            "name": "synthetic",
            "fingerprint": plan.fingerprint,
            "points": plan.points,
            "tasks": {task: list(classes) for task, classes in plan.tasks},
            "regions": regions,
            "shots": list(plan.shots),
            "folds": list(plan.folds),
        },
        "rows": {row.name: {"label": row.label, "place": row.place} for row in plan.rows},
        "baseline": plan.baseline,
        "times": {"total": 12.5},
    }


def _cell(key, found):
    runs = [run for run, _ in found.values()]
    cell = dict(zip(("task", "shot", "row", "regime"), key, strict=True))
    for name in ("labels", "parameters", "seconds", "pretrain_seconds"):
        cell[name] = float(np.mean([getattr(run, name) for run in runs]))
    for measure in runs[0].measures:
        values = [_metrics(answers[measure]) for _, answers in found.values()]
        cell[measure] = {name: _interval([v[name] for v in values]) for name in values[0]}
    return cell


def _metrics(said):
    right = said.predicted == said.labels
    recalls = [right[said.labels == c].mean() for c in np.unique(said.labels)]
    return {
        **{f"top{count}": float(said.hits(count).mean()) for count in (1, 3, 5, 10)},
        "mrr": float((1 / said.rank()).mean()),
        "macro_f1": float(np.mean(recalls)),
        "balanced_accuracy": float(np.mean(recalls)),
        "nll": float(-np.log(said.truth).mean()),
        "ece": float(abs(said.confidence.mean() - right.mean())),
    }


def _interval(values):
    mean, count = float(np.mean(values)), len(values)
    half = 1.96 * float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    return {"mean": mean, "low": mean - half, "high": mean + half, "runs": count}


def _comparisons(plan, cells):
    measures = {row.name: row.measures for row in plan.rows}
    for (task, shot, row, regime), found in cells.items():
        pairs = [(plan.baseline, m, m) for m in measures[row]] if row != plan.baseline else []
        pairs += [(row, m, Measure.IMAGE) for m in measures[row][1:] if m != Measure.LOCATION]
        for other, measure, against in pairs:
            rivals = [f for k, f in cells.items() if k[:3] == (task, shot, other)]
            if rivals and against in measures[other]:
                yield {
                    "task": task,
                    "shot": shot,
                    "regime": regime,
                    "measure": measure,
                    "first": row,
                    "second": other,
                    "against": against,
                    **_paired(found, measure, rivals[0], against),
                }


def _paired(found, measure, rival, against):
    differences = [found[run][1][measure].hits(1) - rival[run][1][against].hits(1) for run in found]
    joined = np.concatenate(differences)
    mean, error = float(joined.mean()), float(joined.std() / math.sqrt(len(joined)))
    p = 2 * NormalDist().cdf(-abs(mean) / error) if error else 1.0
    return {
        "difference": mean,
        "low": mean - 1.96 * error,
        "high": mean + 1.96 * error,
        "p": p,
        "p_corrected": min(1.0, 3 * p),
        "significant": 3 * p < 0.05,
        "folds_won": sum(float(d.mean()) > 0 for d in differences),
        "folds": len(differences),
    }
