"""Run an evaluation: image heads, pre-training, every row; then the table and comparisons."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import geocsp
from geocsp.config import values_of
from geocsp.errors import DataError
from geocsp.evaluate.benchmark import REGION_DEGREES, Benchmark, Source
from geocsp.evaluate.pool import worker_pool
from geocsp.evaluate.results import (
    ANSWERS_FOLDER,
    PLACES_FILE,
    PRIORS_FOLDER,
    RESULTS_FILE,
    SUBSETS_FOLDER,
    Regime,
    Results,
    run_of,
)
from geocsp.evaluate.rows import Row
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.summary import summarise
from geocsp.evaluate.units import Unit, Workspace, evaluate_unit, pretrain_unit, train_heads
from geocsp.files import write_atomically

PLAN_FILE, WORK_FOLDER = "plan.json", "work"


def evaluate(
    source: Source,
    rows: tuple[Row, ...],
    settings: EvaluateSettings,
    output: Path,
    *,
    workers: int | None = None,
    console: Console | None = None,
    replace: bool = False,
) -> Results:
    """Train and test every row of a table with every amount of labels on every fold.

    A run that was interrupted goes on where it was when called again with the same arguments; one
    that has ended only computes its tables anew.

    Args:
        source: makes the benchmark.
        rows: rows of the table.
        settings: amounts of labels, seeds and comparisons.
        output: run folder, made if needed.
        workers: processes side by side, by default one for each core; the numbers do not depend
            on it.
        console: where progress is shown; standard error if left out.
        replace: remove another evaluation that the folder holds.

    Raises:
        DataError: the folder holds another evaluation, another process works in it, a fold has no
            labelled rows with a place, or a row cannot be trained on this.
    """
    with _locked(output), _progress(console or Console(stderr=True)) as progress:
        start = time.perf_counter()
        benchmark = source.load()
        _check_folds(benchmark)
        _check_rows(benchmark, rows)
        facts = _facts(benchmark, source, rows, settings)
        _claim(output, facts, replace)
        _write_places(benchmark, output)
        workspace = Workspace(settings, source, rows, output)
        seconds: dict[str, float] = {}
        records = _work(workspace, benchmark, workers or os.cpu_count() or 1, progress, seconds)
        runs = tuple(run_of(record["run"]) for record in records)
        results = Results(output, facts, runs)
        task = progress.add_task("tables and intervals", total=None)
        table, comparisons = summarise(results, [record["metrics"] for record in records], settings)
        progress.update(task, total=1, completed=1)
        seconds["total"] = time.perf_counter() - start
        facts |= {"table": table, "comparisons": comparisons, "times": seconds}
        results.write()
    return results


def _work(
    workspace: Workspace,
    benchmark: Benchmark,
    workers: int,
    progress: Progress,
    seconds: dict[str, float],
) -> list[dict[str, Any]]:
    seeds, folds = workspace.settings.every_seed, benchmark.folds
    units = [
        Unit(row.name, regime, fold, seed)
        for seed in seeds
        for fold in folds
        for row in workspace.rows
        for regime in _regimes(row, workspace.settings.transductive)
    ]
    towers = {
        workspace.tower(unit): unit.pretraining
        for unit in units
        if workspace.row(unit.row).pretrains
    }
    largest_first = sorted(towers.values(), key=lambda unit: unit.fold is not None)
    stages: tuple[tuple[str, Callable[..., float], list[tuple[Any, ...]]], ...] = (
        (
            "image heads",
            train_heads,
            [(t, f, s) for s in seeds for f in folds for t in benchmark.tasks],
        ),
        ("pre-training", pretrain_unit, [(unit,) for unit in largest_first]),
        ("rows", evaluate_unit, [(unit,) for unit in units]),
    )
    with worker_pool(workers) as pool:
        for name, function, calls in stages:
            task = progress.add_task(name, total=len(calls))
            futures = [pool.submit(function, workspace, *call) for call in calls]
            spent = 0.0
            for future in as_completed(futures):
                spent += future.result()
                progress.advance(task)
            seconds[f"{name} (summed over workers)"] = spent
    return [
        record for unit in units for record in json.loads(workspace.record_file(unit).read_text())
    ]


def _regimes(row: Row, transductive: bool) -> tuple[Regime, ...]:
    if not row.pretrains:
        return (Regime.NONE,)
    return (Regime.INDUCTIVE, Regime.TRANSDUCTIVE) if transductive else (Regime.INDUCTIVE,)


def _check_folds(benchmark: Benchmark) -> None:
    """Raise a DataError unless every fold has labelled rows to train, calibrate and test on."""
    for task, labels in benchmark.tasks.items():
        for name, fold in benchmark.folds.items():
            for part in ("train", "validation", "test"):
                rows = fold.labelled(getattr(fold, part), labels)
                if len(rows) == 0:
                    raise DataError(f"no {part} row of fold {name} has a label of {task}")
                if part != "test" and not benchmark.placed[rows].any():
                    raise DataError(
                        f"no {part} row of fold {name} with a label of {task} has a place"
                    )


def _check_rows(benchmark: Benchmark, rows: tuple[Row, ...]) -> None:
    """Raise a DataError unless every row can be trained on what there is."""
    names = [row.name for row in rows]
    if len(set(names)) < len(names) or not names:
        raise DataError(f"name at least one row, and none twice, got {', '.join(names) or 'none'}")
    for row in rows:
        if row.simclr is not None and benchmark.views is None:
            raise DataError(
                f"row {row.name} needs features of changed images, which {benchmark.name} has not; "
                "leave it out, or evaluate on bluemarble"
            )
        row.check(benchmark.features.shape[1])


def _facts(
    benchmark: Benchmark, source: Source, rows: tuple[Row, ...], settings: EvaluateSettings
) -> dict[str, Any]:
    """What the results depend on."""
    sizes = {
        name: {part: len(getattr(fold, part)) for part in ("train", "validation", "test")}
        | {"dropped": fold.dropped}
        for name, fold in benchmark.folds.items()
    }
    return {
        "settings": values_of(settings),
        "seed": settings.seed,
        "versions": versions(),
        "source": {"kind": type(source).__name__} | _plain(vars(source)),
        "data": {
            "name": benchmark.name,
            "fingerprint": benchmark.fingerprint,
            "points": len(benchmark),
            "features": benchmark.features.shape[1],
            "unplaced": int((~benchmark.placed).sum()),
            "labelled": {name: int((t.codes >= 0).sum()) for name, t in benchmark.tasks.items()},
            "tasks": {name: list(task.names) for name, task in benchmark.tasks.items()},
            "regions": list(benchmark.cells(REGION_DEGREES)[1]),
            "shots": [shot.label for shot in settings.shots],
            "folds": list(benchmark.folds),
            "splits": sizes,
        },
        "rows": {row.name: _plain(asdict(row)) for row in rows},
        "baseline": settings.baseline,
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON holds them."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values), default=_text))
    return plain


def _text(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def versions() -> dict[str, str]:
    """Versions of this library, with a digest of its sources, and of what it computes with."""
    packages = ("numpy", "scipy", "torch")
    root = Path(geocsp.__file__).parent
    sources = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sources.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return {
        "geocsp": geocsp.__version__,
        "geocsp_sources": sources.hexdigest()[:16],
        "python": platform.python_version(),
        "machine": platform.machine(),
    } | {package: version(package) for package in packages}


def _claim(output: Path, facts: dict[str, Any], replace: bool) -> None:
    """Note what the folder is for, or see that it is for this."""
    path = output / PLAN_FILE
    plan = json.dumps(facts, indent=1, sort_keys=True).encode()
    if path.is_file() and path.read_bytes() != plan:
        if not replace:
            raise DataError(
                f"{output} holds an evaluation with other {_changed(path, facts)}; choose another "
                "folder or delete this one"
            )
        (output / RESULTS_FILE).unlink(missing_ok=True)
        for name in (WORK_FOLDER, ANSWERS_FOLDER, SUBSETS_FOLDER, PRIORS_FOLDER):
            shutil.rmtree(output / name, ignore_errors=True)
    write_atomically(path, plan)


def _changed(path: Path, facts: dict[str, Any]) -> str:
    """What differs from the plan in a file."""
    try:
        before = json.loads(path.read_bytes())
        return " and ".join(name for name in facts if facts[name] != before.get(name))
    except (ValueError, AttributeError):
        return "plans, which cannot be read"


def _write_places(benchmark: Benchmark, output: Path) -> None:
    buffer = BytesIO()
    block, _ = benchmark.cells(benchmark.block_degrees)
    alone = block < 0
    block[alone] = block.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    region, _ = benchmark.cells(REGION_DEGREES)
    np.savez_compressed(
        buffer, allow_pickle=False, lonlat=benchmark.lonlat, block=block, region=region
    )
    write_atomically(output / PLACES_FILE, buffer.getvalue())


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """The run folder, made if needed, for this run alone."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write to {output}: {error.strerror}") from error
    try:
        with FileLock(output / ".lock", timeout=0):
            yield
    except Timeout:
        raise DataError(f"another run is working in {output}; choose another --output") from None


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )
