"""Checkpoints of a run: whole or not at all, checked when read, the last good one wins."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

from geocsp.errors import DataError
from geocsp.process import Process
from geocsp.train.identity import differences
from geocsp.train.snapshot import Snapshot, temporary_of
from geocsp.train.state import TrainingState

_NAMES = "step-*.safetensors"
_SHARE = 0.05
"""Most of the time that goes into saving where it is done at intervals of time."""


@dataclass
class Checkpoints:
    """A folder of checkpoints of one run: ``step-00001200.safetensors`` and so on.

    The first process writes them. When it does so has no influence on the numbers of the run.

    Attributes:
        folder: where they are; made if needed.
        every: save after each so-many-th step; None: go by the time alone.
        every_seconds: save when so much time has passed, or more where saving takes long; None: go
            by the steps alone. The last step of a run is always saved.
        keep: how many of the newest ones to keep, in case one gets damaged.

    Raises:
        ValueError: a setting is out of range.
    """

    folder: Path
    every: int | None = None
    every_seconds: float | None = 60.0
    keep: int = 3
    _identity: Mapping[str, str] = field(default_factory=dict, init=False, repr=False)
    _saved: int = field(default=0, init=False, repr=False)
    _next: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        if self.keep < 1 or (self.every is not None and self.every < 1):
            raise ValueError(f"keep and every must be at least 1, got {self.keep} and {self.every}")
        if self.every_seconds is not None and not self.every_seconds >= 0:
            raise ValueError(f"every_seconds must be at least 0, got {self.every_seconds}")

    def resume(self, state: TrainingState, identity: Mapping[str, str], process: Process) -> None:
        """Bring the state to the newest good checkpoint, if there is one; every process calls it.

        Args:
            state: of a run that starts.
            identity: of the run, see :func:`geocsp.train.identity.identity_of`.
            process: this process.

        Raises:
            DataError: the checkpoints are of another run, or the folder cannot be written.
        """
        found = self._newest() if process.is_first else None
        step = process.share(None if found is None else found[0])
        if step is not None:
            snapshot = found[1] if found else Snapshot.read(self._path(step))
            if other := differences(snapshot.identity, identity):
                raise DataError(
                    f"{self._path(step)} is of another run: {other}; go back to what that run "
                    "was started with, or choose another folder"
                )
            state.restore(snapshot.tensors, snapshot.facts)
        self._identity, self._saved = identity, state.progress.step
        self._wait(0.0)

    def due(self, step: int, *, last: bool = False) -> bool:
        """Whether to save after so many steps; the last one always is, unless it is saved."""
        by_step = self.every is not None and step % self.every == 0
        by_time = self.every_seconds is not None and time.monotonic() >= self._next
        return step != self._saved and (last or by_step or by_time)

    def save(self, state: TrainingState, process: Process) -> None:
        """Save the state, and remove the oldest checkpoints.

        Raises:
            DataError: the folder cannot be written, or the disk is full.
        """
        start, step = time.monotonic(), state.progress.step
        if process.is_first:
            snapshot = Snapshot(state.tensors(), state.facts(), self._identity)
            snapshot.write(self._path(step))
            past = [number for number in self._steps() if number <= step]
            for number in past[self.keep :]:
                self._path(number).unlink(missing_ok=True)
        self._saved = step
        self._wait(time.monotonic() - start)

    def _newest(self) -> tuple[int, Snapshot] | None:
        """The newest good checkpoint; warns of damaged ones and removes unfinished ones."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for unfinished in self.folder.glob(temporary_of(self.folder / _NAMES).name):
                unfinished.unlink()
            with TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise DataError(
                f"cannot write checkpoints into {self.folder}: {error}; choose another folder"
            ) from error
        for step in self._steps():
            try:
                return step, Snapshot.read(self._path(step))
            except DataError as error:
                warnings.warn(f"{error}; going on from the one before it, if any", stacklevel=4)
        return None

    def _steps(self) -> list[int]:
        """Steps with a checkpoint, the last one first."""
        names = [path.stem.removeprefix("step-") for path in self.folder.glob(_NAMES)]
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08}.safetensors"

    def _wait(self, took: float) -> None:
        self._next = time.monotonic() + max(self.every_seconds or 0.0, took / _SHARE)
