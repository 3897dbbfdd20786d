"""From single runs to the table: means, intervals and paired comparisons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from geocsp.demo.methods import IMAGE_ALIGNED, IMAGE_ONLY, OURS, PAPER_MC, SUPERVISED
from geocsp.demo.work import INDUCTIVE, SUPERVISED_ONLY
from geocsp.evaluate import interval

MEASURES = ("location", "product", "fused")
"""The place alone, the plain product with the image, the calibrated product."""

Record = dict[str, Any]
_Key = tuple[str, str, str, str]
_Cells = dict[_Key, dict[tuple[int, int], Record]]


def summarise(records: list[Record]) -> dict[str, Any]:
    """Return ``{"table": [...], "comparisons": [...]}`` of the records of all runs."""
    cells: _Cells = defaultdict(dict)
    for record in records:
        key = (record["task"], record["shot"], record["method"], record["regime"])
        cells[key][record["fold"], record["seed"]] = record
    table = [_row(key, cells) for key in cells]
    names = {SUPERVISED: IMAGE_ONLY, OURS: IMAGE_ALIGNED}
    table += [
        _image_row(task, shot, names[method], regime, cells)
        for task, shot, method, regime in cells
        if method in names
    ]
    return {"table": table, "comparisons": list(_comparisons(cells))}


def _row(key: _Key, cells: _Cells) -> Record:
    task, shot, method, regime = key
    row: Record = {"task": task, "shot": shot, "method": method, "regime": regime}
    row["labels"] = _mean_labels(cells[key])
    for measure in MEASURES:
        found = interval([run[measure] for run in cells[key].values()])
        base = cells[task, shot, SUPERVISED, SUPERVISED_ONLY].values()
        reference = interval([run[measure] for run in base])
        gain = found.mean / reference.mean - 1 if reference.mean else None
        row[measure] = asdict(found) | {"relative_gain": gain}
    return row


def _image_row(task: str, shot: str, name: str, regime: str, cells: _Cells) -> Record:
    method = SUPERVISED if name == IMAGE_ONLY else OURS
    runs = cells[task, shot, method, regime]
    return {
        "task": task,
        "shot": shot,
        "method": name,
        "regime": regime,
        "labels": _mean_labels(runs),
        "image": asdict(interval([run["image"] for run in runs.values()])),
    }


def _mean_labels(runs: dict[tuple[int, int], Record]) -> float:
    return sum(float(run["labels"]) for run in runs.values()) / len(runs)


def _comparisons(cells: _Cells) -> Iterable[Record]:
    """Paired differences over folds and seeds, inductive pre-training."""
    for task, shot in dict.fromkeys(key[:2] for key in cells):
        supervised = cells[task, shot, SUPERVISED, SUPERVISED_ONLY]
        paper = cells[task, shot, PAPER_MC, INDUCTIVE]
        ours = cells[task, shot, OURS, INDUCTIVE]
        for measure in MEASURES:
            for first, second in ((paper, supervised), (ours, supervised), (ours, paper)):
                yield _paired(task, shot, measure, first, second, measure)
        yield _paired(task, shot, "image", ours, supervised, "image")
        for runs in (supervised, paper, ours):
            for alone in ("image", "location"):
                yield _paired(task, shot, "fused", runs, runs, alone)


def _paired(
    task: str,
    shot: str,
    measure: str,
    first: dict[tuple[int, int], Record],
    second: dict[tuple[int, int], Record],
    against: str,
) -> Record:
    differences = {key: first[key][measure] - second[key][against] for key in first}
    folds: dict[int, list[float]] = defaultdict(list)
    for (fold, _), difference in differences.items():
        folds[fold].append(difference)
    one, other = next(iter(first.values())), next(iter(second.values()))
    return {
        "task": task,
        "shot": shot,
        "first": f"{one['method']} {measure}",
        "second": f"{other['method']} {against}",
        "difference": asdict(interval(list(differences.values()))),
        "folds_won": sum(sum(values) > 0 for values in folds.values()),
        "folds": len(folds),
    }
