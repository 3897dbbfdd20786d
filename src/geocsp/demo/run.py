"""Run the demo: data, features, three stages of work, then the table, figures and report."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import geocsp
from geocsp.data.cache import cache_folder
from geocsp.demo.methods import IMAGE_ONLY, methods
from geocsp.demo.settings import VALIDATION_FOLD, DemoSettings
from geocsp.demo.summary import summarise
from geocsp.demo.work import (
    IMAGE_PENALTY,
    INDUCTIVE,
    SUPERVISED_ONLY,
    TRANSDUCTIVE,
    Unit,
    Workspace,
    finetune_unit,
    image_heads,
    pretrain_unit,
    tower_of,
)
from geocsp.errors import DataError, MissingExtraError
from geocsp.files import write_atomically
from geocsp.images import EfficientNetLite0, extract
from geocsp.images.extract import ExtractProgress, has_bfloat16

RESULTS_FILE = "results.json"


def run_demo(
    settings: DemoSettings,
    output: Path,
    *,
    workers: int = 2,
    cache: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run the demo and leave ``results.json``, ``report.html`` and PNGs in ``output``.

    A run that was interrupted goes on where it was when called again with the same settings.

    Args:
        settings: how large a demo.
        output: run folder, made if needed.
        workers: processes side by side; the numbers do not depend on it.
        cache: folder of the feature caches; by default the user's cache folder.
        console: where progress is shown; standard error if left out.

    Returns:
        What ``results.json`` holds.

    Raises:
        MissingExtraError: a package of the extra "demo" is not installed.
        DataError: settings that cannot work, or another run is working in ``output``.
    """
    write_report = _report_writer()
    console = console or Console(stderr=True)
    with _locked(output):
        start = time.perf_counter()
        features = cache or cache_folder() / "features"
        workspace = Workspace(settings, output / "work", features)
        with _progress(console) as progress:
            facts = _facts(workspace, progress)
            workspace = replace(workspace, folder=output / "work" / _key(facts))
            _prepare(workspace.folder)
            seconds = {"features": time.perf_counter() - start}
            records = _work(workspace, workers, progress, seconds)
            results = facts | summarise(records) | {"records": records}
            task = progress.add_task("figures and report", total=1)
            begin = time.perf_counter()
            write_report(results, workspace, output)
            seconds["report"] = time.perf_counter() - begin
            progress.advance(task)
        seconds["total"] = time.perf_counter() - start
        results["times"] = {"workers": workers, "seconds": seconds}
        write_atomically(output / RESULTS_FILE, json.dumps(results, indent=1).encode())
    return results


def _report_writer() -> Callable[[dict[str, Any], Workspace, Path], Path]:
    """Import what draws the report, which the extra brings, before the long work."""
    try:
        from geocsp.demo.report import write_report
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("jinja2", "matplotlib"):
            raise
        raise MissingExtraError(package, "demo") from error
    return write_report


def _work(
    workspace: Workspace, workers: int, progress: Progress, seconds: dict[str, float]
) -> list[dict[str, Any]]:
    settings = workspace.settings
    seeds = range(settings.seed, settings.seed + settings.seeds)
    folds, tasks = settings.test_folds, settings.tasks
    units = [
        Unit(method.name, regime, fold, seed)
        for seed in seeds
        for fold in folds
        for method in methods(settings, EfficientNetLite0.dim)
        for regime in _regimes(method.preset.objective is not None, settings.transductive)
    ]
    towers = {tower_of(unit): None for unit in units if unit.regime != SUPERVISED_ONLY}
    largest_first = sorted(towers, key=lambda unit: unit.fold is not None)
    stages: tuple[tuple[str, Callable[..., float], list[tuple[Any, ...]]], ...] = (
        ("image heads", image_heads, [(t, f, s) for s in seeds for f in folds for t in tasks]),
        ("pre-training", pretrain_unit, [(unit,) for unit in largest_first]),
        ("fine-tuning", finetune_unit, [(unit,) for unit in units]),
    )
    with _pool(workers) as pool:
        for name, function, calls in stages:
            task = progress.add_task(name, total=len(calls))
            futures = [pool.submit(function, workspace, *call) for call in calls]
            spent = 0.0
            for future in as_completed(futures):
                spent += future.result()
                progress.advance(task)
            seconds[f"{name} (summed over workers)"] = spent
    return [
        asdict(unit) | record
        for unit in units
        for record in json.loads(workspace.records(unit).read_text())
    ]


def _regimes(pretrains: bool, transductive: bool) -> tuple[str, ...]:
    if not pretrains:
        return (SUPERVISED_ONLY,)
    return (INDUCTIVE, TRANSDUCTIVE) if transductive else (INDUCTIVE,)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that end with this one, however it ends."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        _start_all(pool, workers)
        yield pool
        pool.shutdown()
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process died, perhaps for lack of memory; run the same command again to go "
            "on, with fewer --workers"
        ) from None
    finally:
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)


def _start_all(pool: ProcessPoolExecutor, workers: int) -> None:
    """Start every worker deaf to Ctrl-C, on which this process alone decides."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # processes started now inherit it
    try:
        for _ in range(workers):
            pool.submit(os.getpid)
    finally:
        signal.signal(signal.SIGINT, handler)


def _start_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    signal.raise_signal(signal.SIGKILL)


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


def _facts(workspace: Workspace, progress: Progress) -> dict[str, Any]:
    """Build the data, extract its features, and state what the results will depend on."""
    settings = workspace.settings
    data = workspace.data()
    encoder = EfficientNetLite0(pixels=settings.pixels)
    task = progress.add_task("image features", total=len(data))

    def show(state: ExtractProgress) -> None:
        progress.update(task, completed=state.done, total=state.total)

    extract(encoder, data, cache=workspace.features, on_progress=show)
    splits = {fold: data.split(fold, VALIDATION_FOLD) for fold in settings.test_folds}
    sizes = {
        str(fold): {
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "dropped_train": split.dropped_train,
            "dropped_validation": split.dropped_validation,
        }
        for fold, split in splits.items()
    }
    labelled = {name: int((data.tasks[name].labels >= 0).sum()) for name in settings.tasks}
    return {
        "settings": asdict(settings),
        "seed": settings.seed,
        "versions": _versions(),
        "data": {
            "name": "bluemarble",
            "fingerprint": data.fingerprint,
            "points": len(data),
            "labelled": labelled,
            "classes": {name: list(data.tasks[name].class_names) for name in settings.tasks},
            "splits": sizes,
        },
        "image": {
            "name": IMAGE_ONLY,
            "encoder": type(encoder).__name__,
            "pixels": encoder.pixels,
            "fingerprint": encoder.fingerprint(),
            "bfloat16": has_bfloat16(),
            "penalty": IMAGE_PENALTY,
        },
        "methods": {
            method.name: {"label": method.label} | asdict(method.preset)
            for method in methods(settings, encoder.dim)
        },
    }


def _versions() -> dict[str, str]:
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


def _key(facts: dict[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _prepare(folder: Path) -> None:
    """Make the work folder and drop those of other settings beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other)
