"""What a run tells those who watch it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """One step.

    Attributes:
        step: steps done, counted from 1.
        steps: steps of the whole run.
        epoch: current epoch, from 0.
        parts: loss and its parts, means over all processes.
        learning_rate: of this step.
        gradient_norm: length of the gradient before clipping.
        images_per_second: over all processes, since the last report.
        wait_share: share of that time spent waiting for images, in [0, 1].
        peak_memory: most bytes used so far: of the GPU, or of the process where there is none.
    """

    step: int
    steps: int
    epoch: int
    parts: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    wait_share: float
    peak_memory: int


class Watcher:
    """Gets told what happens in a run, in the first process only; all methods do nothing."""

    def on_start(self, step: int, steps: int) -> None:
        """The run starts, or goes on, after ``step`` of ``steps`` steps.

        What was told of later steps, before an interruption, is going to be told again.
        """

    def on_step(self, report: StepReport) -> None:
        """A step is done."""

    def on_epoch(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """An epoch is done.

        Args:
            step: steps done.
            epoch: its number, from 0.
            means: mean loss and parts; ``validation.*`` if validation was due.
        """

    def on_save(self, step: int) -> None:
        """The state after ``step`` steps is about to be saved: nothing up to it is told again."""

    def on_finish(self) -> None:
        """The run ends, also by an error."""


class Audience(Watcher):
    """Several watchers as one, none of which can stop a run that is under way.

    A watcher that cannot start stops the run before its first step. One that fails later (a full
    disk, a lost connection) is let go with a warning that says so, and the run goes on.

    Args:
        watchers: who is told, in this order.
    """

    def __init__(self, watchers: Iterable[Watcher]) -> None:
        self._watchers = list(watchers)

    def on_start(self, step: int, steps: int) -> None:
        """Start all, or none: where one cannot, those before it are told that the run ends."""
        started: list[Watcher] = []
        try:
            for watcher in self._watchers:
                watcher.on_start(step, steps)
                started.append(watcher)
        except BaseException:
            self._watchers = started
            self.on_finish()
            raise

    def on_step(self, report: StepReport) -> None:
        """Tell all of a step."""
        self._tell(lambda watcher: watcher.on_step(report))

    def on_epoch(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """Tell all of an epoch."""
        self._tell(lambda watcher: watcher.on_epoch(step, epoch, means))

    def on_save(self, step: int) -> None:
        """Tell all that the state is about to be saved."""
        self._tell(lambda watcher: watcher.on_save(step))

    def on_finish(self) -> None:
        """Tell all that the run ends."""
        self._tell(lambda watcher: watcher.on_finish())

    def _tell(self, news: Callable[[Watcher], None]) -> None:
        for watcher in list(self._watchers):
            try:
                news(watcher)
            except Exception as error:
                self._watchers.remove(watcher)
                warnings.warn(
                    f"{type(watcher).__name__} failed and watches no longer, the run goes on: "
                    f"{type(error).__name__}: {error}",
                    stacklevel=3,
                )
