"""How far an export is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """What is being done."""

    CELLS = "cells"
    """Values are computed."""
    OVERVIEWS = "overviews"
    """Coarser copies for small scales are made."""
    FILE = "file"
    """The file is put together; it is not known how far that is."""


@dataclass(frozen=True)
class ExportProgress:
    """How far an export is.

    Attributes:
        stage: what is being done.
        done: cells, or tiles of overviews, that are done, those of earlier runs included.
        total: all of them; 0 if it is not known how far the stage is.
        rate: per second in this run, 0 before the first.
    """

    stage: Stage
    done: int
    total: int
    rate: float = 0.0


OnProgress = Callable[[ExportProgress], None]


class Meter:
    """Counts, and reports.

    Args:
        stage: what is counted.
        done: what earlier runs did.
        total: all there is.
        report: called at once, and whenever it advances.
    """

    def __init__(self, stage: Stage, done: int, total: int, report: OnProgress | None) -> None:
        self.stage, self.first, self.done, self.total = stage, done, done, total
        self.report = report or (lambda progress: None)
        self.start = time.perf_counter()
        self.report(ExportProgress(stage, done, total))

    def advance(self, count: int) -> None:
        """Count some more."""
        self.done += count
        rate = (self.done - self.first) / max(time.perf_counter() - self.start, 1e-9)
        self.report(ExportProgress(self.stage, self.done, self.total, rate))
