"""Searching for better settings with Optuna (Akiba et al., KDD 2019), trial after trial."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geocsp.config import values_of, write_config
from geocsp.errors import DataError, MissingExtraError, NotFiniteError
from geocsp.files import write_atomically
from geocsp.presets import Preset, Range, changed, value_at
from geocsp.process import Process
from geocsp.train.examples import Examples
from geocsp.train.folder import CHECKPOINT_FOLDER, alone, different
from geocsp.train.run import run_pretraining
from geocsp.train.validation import Metric
from geocsp.train.watchers.json_lines import METRICS_FILE
from geocsp.train.watching import Watcher

STUDY_FILE, TRIALS_FOLDER, TABLE_FILE, BEST_FILE = "tune.db", "trials", "tune.csv", "best.yaml"
_NAME = "tune"


class Ending(StrEnum):
    """How a trial came to its end."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    """It was worse than the median of the others so far, or its loss was no longer finite."""


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes:
        number: of the trial, from 0.
        values: what was tried, by the paths of the settings.
        score: what validation measured in the end, None of a trial that was pruned.
        ending: how it ended.
    """

    number: int
    values: dict[str, Any]
    score: float | None
    ending: Ending


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        trials: all trials that ended, in order.
        metric: what they are compared by.
        best: the preset with the values of the best trial.
    """

    trials: tuple[Trial, ...]
    metric: Metric
    best: Preset

    @property
    def winner(self) -> Trial | None:
        """The best trial, the first of equals; None if none was completed."""
        return _winner(self.trials, self.metric)


def tune(
    preset: Preset,
    examples: Examples,
    output: str | Path,
    trials: int,
    *,
    device: torch.device | str = "cpu",
    watchers: Sequence[Watcher] = (),
    on_trial: Callable[[Trial], None] | None = None,
) -> Search:
    """Try settings until so many trials have ended, each a whole run of pre-training.

    What is tried are the ranges of ``preset.tune``; the preset's own values come first, then what
    a tree-structured Parzen estimator suggests. Trials are compared by how held-out images find
    their places, and given up after an epoch that is worse than the median of the others.

    The folder gets ``tune.db`` (the study), ``trials/`` (run folders), ``tune.csv`` (a table) and
    ``best.yaml`` (a preset). Called again, ended trials are kept and one that was interrupted goes
    on; suggestions follow from the seed and the trials before alone.

    Args:
        preset: settings and what to try instead.
        examples: what to train on.
        output: folder of the search, made if needed.
        trials: how many trials are to end, counting those in the folder.
        device: what to train on.
        watchers: are told of every step and epoch of every trial.
        on_trial: called with every trial that ends.

    Raises:
        MissingExtraError: Optuna is not installed.
        DataError: there is nothing to try or to compare by, the folder holds another search, or as
            :func:`run_pretraining`.
    """
    output, process = Path(output), Process.current()
    _check(preset, process)
    with alone(output, process):
        study = _Study.open(output, preset, examples.fingerprint)
        while len(study.ended()) < trials:
            study.try_next(examples, device, watchers)
            study.write()
            if on_trial:
                on_trial(study.found().trials[-1])
    return study.found()


def _check(preset: Preset, process: Process) -> None:
    if process.world > 1:
        raise DataError("a search runs in one process; leave devices and nodes at 1")
    if not preset.tune:
        raise DataError("there is nothing to search: the settings have no ranges under tune")
    if not preset.hold_out.share:
        raise DataError("a search compares by images that are held out; give a share to hold out")
    if preset.hold_out.every > preset.pretrain.epochs:
        raise DataError("no epoch is validated; train for more epochs, or validate more often")
    for path in preset.tune:
        value_at(preset, path)


@dataclass(frozen=True, eq=False)
class _Study:
    output: Path
    preset: Preset
    optuna: Any
    study: Any

    @classmethod
    def open(cls, output: Path, preset: Preset, data: str) -> _Study:
        """The study in a folder, begun or gone on with."""
        try:
            import optuna
        except ImportError as error:
            raise MissingExtraError("optuna", "tune") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        higher = preset.hold_out.metric.better(1, 0)
        with _readable(output / STUDY_FILE):
            study = optuna.create_study(
                storage=f"sqlite:///{output / STUDY_FILE}",
                study_name=_NAME,
                direction="maximize" if higher else "minimize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(),
            )
            known = dict(study.user_attrs)
        for name, value in {"settings": values_of(preset), "data": data}.items():
            if name not in known:
                study.set_user_attr(name, value)
        if differing := different(known.get("settings", values_of(preset)), values_of(preset)):
            raise DataError(
                f"{output} holds a search from other settings ({differing}); use another folder"
            )
        if known.get("data", data) != data:
            raise DataError(f"{output} holds a search on other data; use another folder")
        return cls(output, preset, optuna, study)

    def ended(self) -> list[Any]:
        """Optuna's trials that came to an end, in order."""
        states = self.optuna.trial.TrialState
        return list(self.study.get_trials(False, states=(states.COMPLETE, states.PRUNED)))

    def try_next(
        self, examples: Examples, device: torch.device | str, watchers: Sequence[Watcher]
    ) -> None:
        """Run the next trial, or the one that was interrupted, to its end."""
        states, number = self.optuna.trial.TrialState, len(self.ended())
        for stopped in self.study.get_trials(False, states=(states.RUNNING,)):
            self.study.tell(stopped.number, state=states.FAIL)
        trial = self._ask(number)
        values = {path: _suggested(trial, path, r) for path, r in self.preset.tune.items()}
        folder = self.output / TRIALS_FOLDER / f"{number:04d}"
        settings = replace(changed(self.preset, values), tune={})
        reporter = _Reporter(trial, f"validation.{settings.hold_out.metric.value}")
        try:
            reporter.again(folder / METRICS_FILE)
            report = run_pretraining(
                settings, examples, folder, device=device, watchers=watchers, on_epoch=reporter
            )
            self.study.tell(trial, report.metrics[reporter.name])
        except (NotFiniteError, self.optuna.TrialPruned):
            self.study.tell(trial, state=states.PRUNED)
        shutil.rmtree(folder / CHECKPOINT_FOLDER, ignore_errors=True)

    def _ask(self, number: int) -> Any:
        """A trial whose suggestions follow from the seed and the trials before."""
        states = self.optuna.trial.TrialState
        if number == 0 and not self.study.get_trials(False, states=(states.WAITING,)):
            self.study.enqueue_trial(_own_values(self.preset))
        entropy = np.random.SeedSequence([self.preset.seed, number]).generate_state(1)
        self.study.sampler = self.optuna.samplers.TPESampler(seed=int(entropy[0]))
        return self.study.ask()

    def found(self) -> Search:
        """What the search found so far."""
        pruned = self.optuna.trial.TrialState.PRUNED
        trials = tuple(
            Trial(
                number,
                dict(trial.params),
                None if trial.state == pruned else trial.value,
                Ending.PRUNED if trial.state == pruned else Ending.COMPLETE,
            )
            for number, trial in enumerate(self.ended())
        )
        winner = _winner(trials, self.preset.hold_out.metric)
        best = self.preset if winner is None else changed(self.preset, winner.values)
        return Search(trials, self.preset.hold_out.metric, best)

    def write(self) -> None:
        """Write table and best settings."""
        found = self.found()
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["trial", "ending", found.metric.value, *self.preset.tune])
        for t in found.trials:
            score = "" if t.score is None else t.score
            values = [t.values[path] for path in self.preset.tune]
            writer.writerow([t.number, t.ending.value, score, *values])
        try:
            write_atomically(self.output / TABLE_FILE, text.getvalue().encode())
            write_atomically(self.output / BEST_FILE, write_config(found.best).encode())
        except OSError as error:
            raise DataError(f"cannot write to {self.output}: {error.strerror}") from error


class _Reporter:
    """Tells a trial what validation measures, and gives the trial up if it is not worth going on.

    Args:
        trial: Optuna's trial.
        name: of the measure.
    """

    def __init__(self, trial: Any, name: str) -> None:
        self.trial, self.name = trial, name
        self._known: set[int] = set()

    def __call__(self, epoch: int, means: Mapping[str, float]) -> None:
        if self.name not in means or epoch in self._known:
            return
        from optuna import TrialPruned

        self._known.add(epoch)
        self.trial.report(means[self.name], epoch)
        if self.trial.should_prune():
            raise TrialPruned

    def again(self, metrics: Path) -> None:
        """Tell what an interrupted run of the same trial has measured."""
        if not metrics.exists():
            return
        for line in metrics.read_text(encoding="utf-8").splitlines():
            try:
                means = json.loads(line)
            except ValueError:  # half a line, of a kill
                continue
            if means.get("kind") == "epoch" and means.get(self.name) is not None:
                self(means["epoch"], means)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OptunaError, SQLAlchemyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path} is damaged ({reason}); use another folder") from error


def _suggested(trial: Any, path: str, values: Range) -> Any:
    if values.choices is not None:
        return trial.suggest_categorical(path, list(values.choices))
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(path, values.low, values.high, log=values.log)
    return trial.suggest_float(path, values.low, values.high, log=values.log)


def _own_values(preset: Preset) -> dict[str, Any]:
    """The preset's values of what is searched, where they are in range."""
    own = {path: value_at(preset, path) for path in preset.tune}
    return {path: value for path, value in own.items() if preset.tune[path].includes(value)}


def _winner(trials: Sequence[Trial], metric: Metric) -> Trial | None:
    best: Trial | None = None
    for trial in trials:
        if trial.score is None:
            continue
        if best is None or best.score is None or metric.better(trial.score, best.score):
            best = trial
    return best
