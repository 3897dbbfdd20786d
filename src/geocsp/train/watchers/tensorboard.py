"""Curves in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geocsp.errors import MissingExtraError
from geocsp.train.watchers.curves import of_epoch, of_step
from geocsp.train.watching import StepReport, Watcher


class TensorBoard(Watcher):
    """Writes event files that ``tensorboard --logdir`` shows; needs the extra ``train``.

    Steps are under ``step/``, means of epochs under ``epoch/``, validation under ``validation/``;
    the horizontal axis is the number of steps in all of them. A run that goes on after an
    interruption hides the points of the steps that it does again.

    Args:
        folder: where to write; made if it is not there.
        every: show each so-many-th step.

    Raises:
        MissingExtraError: tensorboard is not installed.
        ValueError: every is below 1.
    """

    def __init__(self, folder: Path | str, *, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"show every step or each so-many-th, not every {every}")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "train") from error
        self._class, self._folder, self._every = SummaryWriter, str(folder), every
        self._writer: Any = None

    def on_start(self, step: int, steps: int) -> None:
        """Open a new event file, which takes the place of older ones from the next step on."""
        self._writer = self._class(self._folder, purge_step=step + 1)

    def on_step(self, report: StepReport) -> None:
        """Add a point to each curve."""
        if report.step % self._every == 0:
            self._add(report.step, of_step(report))

    def on_epoch(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """Add a point to each curve of means and validations."""
        self._add(step, of_epoch(means))
        self._writer.flush()

    def on_save(self, step: int) -> None:
        """Write what is still in memory."""
        self._writer.flush()

    def on_finish(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _add(self, step: int, points: Mapping[str, float]) -> None:
        for name, value in points.items():
            self._writer.add_scalar(name, value, step)
