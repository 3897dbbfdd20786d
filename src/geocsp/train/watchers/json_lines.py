"""Every number of a run as lines of JSON."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

from geocsp.files import write_atomically
from geocsp.train.watching import StepReport, Watcher

METRICS_FILE = "metrics.jsonl"


class JsonLines(Watcher):
    """Writes ``metrics.jsonl``: one line for a step, one for an epoch.

    A line is written at once and whole, so that a killed run loses none. A run that goes on after
    an interruption drops the lines of the steps that it does again; in the end the file has the
    lines of a run never interrupted, except for speed, memory and time. Numbers are exact; one
    that is not finite is null.

    A line has "kind", "step" or "epoch"; "step", how many are done; "epoch", from 0; the loss and
    its parts by their names, and for an epoch their means and what validation measured. That of a
    step has learning_rate, gradient_norm, images_per_second, wait_share and peak_memory, too, as
    in :class:`StepReport`; "time" is in seconds since 1970.

    Args:
        folder: of the run; made if it is not there.
        every: write each so-many-th step.

    Raises:
        ValueError: every is below 1.
    """

    def __init__(self, folder: Path | str, *, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"write every step or each so-many-th, not every {every}")
        self._path, self._every = Path(folder) / METRICS_FILE, every
        self._file: int | None = None

    def on_start(self, step: int, steps: int) -> None:
        """Drop lines of later steps, and half a line at the end.

        Raises:
            OSError: the file cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            lines = self._path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if _within(line, step)]
            if len(kept) < len(lines):
                write_atomically(self._path, b"".join(kept))
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def on_step(self, report: StepReport) -> None:
        """Write a line."""
        if report.step % self._every == 0:
            self._write(
                {
                    "kind": "step",
                    "step": report.step,
                    "epoch": report.epoch,
                    **report.parts,
                    "learning_rate": report.learning_rate,
                    "gradient_norm": report.gradient_norm,
                    "images_per_second": report.images_per_second,
                    "wait_share": report.wait_share,
                    "peak_memory": report.peak_memory,
                }
            )

    def on_epoch(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """Write a line."""
        self._write({"kind": "epoch", "step": step, "epoch": epoch, **means})

    def on_finish(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, values: Mapping[str, str | float]) -> None:
        assert self._file is not None, "the run has not started"
        line = json.dumps({name: _finite(v) for name, v in values.items()} | {"time": time.time()})
        whole = f"{line}\n".encode()
        if os.write(self._file, whole) < len(whole):
            raise OSError(f"no space left for {self._path}")


def _finite(value: str | float) -> str | float | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _within(line: bytes, step: int) -> bool:
    """Whether a line is whole and of no later step."""
    try:
        return line.endswith(b"\n") and int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError, TypeError):
        return False
