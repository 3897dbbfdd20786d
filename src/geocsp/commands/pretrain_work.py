"""What every process of ``geocsp pretrain`` does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import typer
from rich import box
from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from geocsp.commands.sources import read_source
from geocsp.config import values_of
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import QUARANTINE_FILE, write_quarantine
from geocsp.errors import DataError
from geocsp.images.extract import ExtractProgress
from geocsp.presets import Preset
from geocsp.process import Process
from geocsp.train.examples import Examples
from geocsp.train.folder import MODEL_FOLDER, PRIOR_FOLDER, RunReport, is_finished
from geocsp.train.run import run_pretraining
from geocsp.train.sources import Extraction, read_examples
from geocsp.train.tune import BEST_FILE, TABLE_FILE, Search, Trial, tune
from geocsp.train.watchers import Console, TensorBoard, WandB
from geocsp.train.watching import Watcher

FEATURES_FOLDER, _CURVES = "features", "tensorboard"


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        source: what to read.
        options: how to read it.
        preset: how to train.
        output: run folder, or folder of the search.
        extraction: how features are computed.
        trials: of a search; None: train once.
        tensorboard: write curves.
        wandb: log to Weights & Biases.
        as_json: print JSON.
        strict: whether rows left out are an error.
    """

    source: str
    options: ReadOptions
    preset: Preset
    output: Path
    extraction: Extraction
    trials: int | None
    tensorboard: bool
    wandb: bool
    as_json: bool
    strict: bool


@contextmanager
def one_line() -> Iterator[None]:
    """One line for settings that cannot be, full memory, and a disk or network that failed."""
    try:
        yield
    except DataError:
        raise
    except ValueError as error:
        raise DataError(" ".join(str(error).split())) from error
    except torch.OutOfMemoryError as error:
        raise RuntimeError(
            "the memory of the GPU is full; try --micro-batch, --precision bfloat16 or a smaller "
            "--batch-size"
        ) from error
    except OSError as error:
        raise RuntimeError(f"reading or writing failed: {error}") from error


def work(device: torch.device, job: Job) -> None:
    """Read, train, and tell what was done, in the first process.

    Raises:
        DataError: the source cannot be used, settings do not fit it, or rows were left out and
            that is to be an error.
    """
    first = Process.current().is_first
    watchers = _watchers(job) if first else []
    with ImagesBar() as bar:
        examples = read_examples(
            job.source,
            lambda: read_source(job.source, job.options, job.output),
            job.preset,
            replace(job.extraction, on_progress=bar),
            device,
        )
    listed = job.output / QUARANTINE_FILE
    if first and examples.problems:
        write_quarantine(listed, examples.problems)
    told = _search if job.trials is not None else _train
    lines = list(told(job, examples, device, watchers))
    if not first:
        return
    typer.echo("\n".join(lines))
    left_out = f"images and rows left out: {len(examples.problems):,}; see {listed}"
    if examples.problems and job.strict:
        raise DataError(left_out)
    if examples.problems and not job.as_json:
        typer.echo(left_out)


def _watchers(job: Job) -> list[Watcher]:
    watchers: list[Watcher] = [Console()]
    if job.tensorboard:
        watchers.append(TensorBoard(job.output / _CURVES))
    if job.wandb:
        settings = values_of(job.preset)
        watchers.append(WandB(job.output, name=job.output.name, settings=settings))
    return watchers


class ImagesBar:
    """Shows on a terminal how far the images are, once there is something to show."""

    def __init__(self) -> None:
        columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        quiet = not sys.stderr.isatty()
        console = Terminal(stderr=True)
        self._bar = Progress(*columns, console=console, transient=True, disable=quiet)
        self._task = self._bar.add_task("images", total=None)

    def __enter__(self) -> ImagesBar:
        return self

    def __call__(self, state: ExtractProgress) -> None:
        """Show the state of an extraction."""
        self._bar.start()
        self._bar.update(self._task, completed=state.done, total=state.total)

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


def _train(
    job: Job, examples: Examples, device: torch.device, watchers: list[Watcher]
) -> Iterator[str]:
    before = is_finished(job.output)
    report = run_pretraining(job.preset, examples, job.output, device=device, watchers=watchers)
    if job.as_json:
        yield json.dumps({"folder": str(job.output)} | asdict(report))
    else:
        yield from _told(job, report, examples, before)


def _told(job: Job, report: RunReport, examples: Examples, before: bool) -> Iterator[str]:
    if before:
        yield f"{job.output} is finished; there was nothing left to do"
    held = f", {report.held_out:,} held out" if report.held_out else ""
    yield f"{report.epochs} epochs of {report.images:,} rows{held}, {report.seconds:,.0f} s"
    if report.metrics:
        yield ", ".join(f"{name} {value:.4g}" for name, value in report.metrics.items())
    names = (name for name in (MODEL_FOLDER, PRIOR_FOLDER) if (job.output / name).exists())
    yield f"in {job.output}: {', '.join(names)}"
    yield from (f"note: {note}" for note in examples.notes)


def _search(
    job: Job, examples: Examples, device: torch.device, watchers: list[Watcher]
) -> Iterator[str]:
    assert job.trials is not None
    terminal = Terminal(stderr=True)
    found = tune(
        job.preset,
        examples,
        job.output,
        job.trials,
        device=device,
        watchers=watchers,
        on_trial=lambda trial: terminal.print(Text(_line(trial)), soft_wrap=True),
    )
    if job.as_json:
        yield json.dumps({"folder": str(job.output)} | _plain(found))
        return
    Terminal().print(_table(found))
    yield f"in {job.output}: {BEST_FILE} has the best settings, {TABLE_FILE} this table"


def _line(trial: Trial) -> str:
    values = ", ".join(f"{path} {_short(value)}" for path, value in trial.values.items())
    return f"trial {trial.number}: {_scored(trial)} with {values}"


def _table(found: Search) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading in ("trial", found.metric.value, *found.best.tune):
        table.add_column(heading.rpartition(".")[2])
    for trial in found.trials:
        values = [_short(trial.values[path]) for path in found.best.tune]
        style = "bold" if trial is found.winner else None
        table.add_row(str(trial.number), _scored(trial), *values, style=style)
    return table


def _scored(trial: Trial) -> str:
    return trial.ending.value if trial.score is None else f"{trial.score:.4g}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(found: Search) -> dict[str, Any]:
    winner = found.winner
    return {
        "metric": found.metric.value,
        "best": None if winner is None else winner.number,
        "trials": [asdict(trial) for trial in found.trials],
    }
