"""Curves in Weights & Biases."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geocsp.errors import DataError, MissingExtraError
from geocsp.files import write_atomically
from geocsp.train.watchers.curves import of_epoch, of_step
from geocsp.train.watching import StepReport, Watcher

ID_FILE = "wandb-run-id.txt"


class WandB(Watcher):
    """Logs to Weights & Biases; needs the extra ``wandb``.

    Curves have the names of :class:`~geocsp.train.watchers.TensorBoard`. The id of the run is kept
    in the folder, so that a run that goes on after an interruption is one run there, too; steps
    that are done again are not logged twice, as W&B leaves out those that it has. The environment
    variable ``WANDB_MODE=offline`` keeps everything in the folder, for ``wandb sync`` to send.

    Args:
        folder: of the run; made if it is not there.
        project: project of W&B.
        name: what to call the run there.
        settings: settings of the run to show there.
        every: log each so-many-th step.

    Raises:
        MissingExtraError: wandb is not installed.
        ValueError: every is below 1.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        project: str = "geocsp",
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        every: int = 10,
    ) -> None:
        if every < 1:
            raise ValueError(f"log every step or each so-many-th, not every {every}")
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("wandb", "wandb") from error
        self._wandb, self._folder, self._every = wandb, Path(folder), every
        self._project, self._name, self._settings = project, name, dict(settings or {})
        self._run: Any = None

    def on_start(self, step: int, steps: int) -> None:
        """Start a run of W&B, or go on with the one that the folder knows.

        Raises:
            DataError: W&B cannot start.
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        known = self._folder / ID_FILE
        if step == 0 or not known.exists():
            write_atomically(known, secrets.token_hex(8).encode())
        try:
            self._run = self._wandb.init(
                project=self._project,
                name=self._name,
                config=self._settings,
                dir=str(self._folder),
                id=known.read_text().strip(),
                resume="allow",
                settings=self._wandb.Settings(console="off"),
            )
        except self._wandb.Error as error:
            raise DataError(
                f"W&B cannot start: {error}; set WANDB_MODE=offline to keep its files here"
            ) from error

    def on_step(self, report: StepReport) -> None:
        """Log a step."""
        if report.step % self._every == 0:
            self._run.log(of_step(report), step=report.step)

    def on_epoch(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """Log means and validation."""
        self._run.log(of_epoch(means), step=step)

    def on_finish(self) -> None:
        """End the run of W&B, whose own process sends or writes what is left."""
        if self._run is not None:
            self._run.finish()
            self._run = None
