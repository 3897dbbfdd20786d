"""A progress bar on the terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console as Terminal
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from geocsp.train.watching import StepReport, Watcher

_PAUSE = 0.2
"""Seconds between two drawings, each of which takes some milliseconds."""
_VALIDATION = "validation."


class Console(Watcher):
    """Shows how a run does, on stderr: a bar on a terminal, and a line for each epoch anywhere.

    Under the bar are the loss and its parts, images per second, the share of time spent waiting
    for images, and the most memory used.

    Args:
        terminal: where to show it instead.
    """

    def __init__(self, terminal: Terminal | None = None) -> None:
        self._terminal = Terminal(stderr=True) if terminal is None else terminal
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
            TimeRemainingColumn(),
            expand=True,
        )
        self._live: Live | None = None
        self._drawn = 0.0

    def on_start(self, step: int, steps: int) -> None:
        """Show the bar."""
        if self._terminal.is_terminal:
            self._task = self._bar.add_task("", total=steps, completed=step, epoch="")
            self._live = Live(self._bar, console=self._terminal, auto_refresh=False, transient=True)
            self._live.start(refresh=True)

    def on_step(self, report: StepReport) -> None:
        """Move the bar, a few times a second at most."""
        now = time.monotonic()
        if self._live is not None and now - self._drawn >= _PAUSE:
            self._bar.update(self._task, completed=report.step, epoch=report.epoch)
            self._live.update(Group(self._bar, Text(described(report))), refresh=True)
            self._drawn = now

    def on_epoch(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        """Print a line of means, and one of validation if there was one."""
        losses: dict[str, float] = {}
        found: dict[str, float] = {}
        for name, value in means.items():
            kind = found if name.startswith(_VALIDATION) else losses
            kind[name.removeprefix(_VALIDATION)] = value
        validation = f"\n  validation: {_listed(found)}" if found else ""
        text = f"epoch {epoch}: {_listed(losses)}{validation}"
        self._terminal.print(Text(text), soft_wrap=True)

    def on_finish(self) -> None:
        """Take the bar away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def described(report: StepReport) -> str:
    """A step in a line."""
    return (
        f"{_listed(report.parts)}; {report.images_per_second:,.0f} images/s, "
        f"{report.wait_share:.0%} waiting, {report.peak_memory / 2**30:.2f} GiB"
    )


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
