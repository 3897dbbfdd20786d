"""The books of a run: losses, speed and memory, and a stop where a number is not finite."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from geocsp.errors import NotFiniteError
from geocsp.objectives.base import Views
from geocsp.process import Process
from geocsp.train.plan import Plan
from geocsp.train.state import Progress
from geocsp.train.watching import Audience, StepReport, Watcher

_EVERY = 20
"""Steps between two looks at the numbers of a GPU, each of which has to wait for it."""
_SHOWN = 10
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class _Entry:
    step: int
    names: tuple[str, ...]
    numbers: Tensor
    rate: float
    rows: Tensor


class Ledger:
    """Keeps the means of an epoch and tells the watchers.

    Args:
        plan: how many steps there are, and how large.
        process: this process.
        device: where the numbers are.
        watchers: who is told, in the first process.
        scaler: of the loss; while it has not given up, gradients may overflow now and then.
    """

    def __init__(
        self,
        plan: Plan,
        process: Process,
        device: torch.device,
        watchers: Sequence[Watcher],
        scaler: torch.amp.GradScaler,
    ) -> None:
        self._plan, self._process, self._device, self._scaler = plan, process, device, scaler
        self._audience = Audience(watchers if process.is_first else ())
        self._pending: list[_Entry] = []
        self._restart_clock()

    def start(self, progress: Progress) -> None:
        """Tell that the run starts or goes on."""
        self._audience.on_start(progress.step, self._plan.steps)
        self._restart_clock()

    def finish(self) -> None:
        """Tell that the run ends."""
        self._audience.on_finish()

    def waiting_for(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items, with an eye on how long each takes to come."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - start
            yield item

    def enter(
        self,
        progress: Progress,
        parts: Mapping[str, Tensor],
        norm: Tensor,
        rate: float,
        rows: Tensor,
        views: Views,
    ) -> None:
        """Enter a step before its gradient moves the weights.

        Args:
            progress: where the step stands, and where its numbers go.
            parts: loss and its parts in this process.
            norm: length of the gradient over all processes.
            rate: learning rate.
            rows: ``(B,)`` rows of the step over all processes.
            views: what the loss was made from.

        Raises:
            NotFiniteError: the loss or the gradient is not finite.
        """
        exact = torch.promote_types(parts["loss"].dtype, torch.float32)
        numbers = torch.stack([value.detach().to(exact) for value in (*parts.values(), norm)])
        entry = _Entry(progress.step, tuple(parts), self._process.mean(numbers), rate, rows)
        self._pending.append(entry)
        if self._device.type == "cpu":
            self.settle(progress, views)
        elif len(self._pending) == _EVERY:
            self.settle(progress)

    def settle(self, progress: Progress, views: Views | None = None) -> None:
        """Add what was entered to the sums, and tell of it.

        Args:
            progress: where the sums are.
            views: what the last loss was made from.

        Raises:
            NotFiniteError: the loss or the gradient of a step is not finite.
        """
        if not self._pending:
            return
        values = [entry.numbers.tolist() for entry in self._pending]
        passed = max(time.perf_counter() - self._since, 1e-9)
        speed, waited = len(values) * self._plan.batch / passed, min(1.0, self._waited / passed)
        memory = _peak_memory(self._device)
        for entry, (*numbers, norm) in zip(self._pending, values, strict=True):
            parts = dict(zip(entry.names, numbers, strict=True))
            self._check(entry, parts["loss"], norm, views)
            for name, value in parts.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value
            report = StepReport(
                step=entry.step + 1,
                steps=self._plan.steps,
                epoch=entry.step // self._plan.steps_per_epoch,
                parts=parts,
                learning_rate=entry.rate,
                gradient_norm=norm,
                images_per_second=speed,
                wait_share=waited,
                peak_memory=memory,
            )
            self._audience.on_step(report)
        self._pending.clear()
        self._restart_clock()

    def close_epoch(self, progress: Progress, measured: Mapping[str, float]) -> dict[str, float]:
        """Mean loss and parts of the epoch that the last step ended, and what was measured."""
        means = {name: s / self._plan.steps_per_epoch for name, s in progress.sums.items()}
        means |= measured
        progress.sums.clear()
        progress.history.append(means)
        self._audience.on_epoch(progress.step, len(progress.history) - 1, means)
        self._restart_clock()
        return means

    def close_for_saving(self, progress: Progress) -> None:
        """Settle, and tell that the state is about to be saved.

        Raises:
            NotFiniteError: the loss or the gradient of a step is not finite.
        """
        self.settle(progress)
        self._audience.on_save(progress.step)

    def _restart_clock(self) -> None:
        self._waited, self._since = 0.0, time.perf_counter()

    def _check(self, entry: _Entry, loss: float, norm: float, views: Views | None) -> None:
        if math.isfinite(loss) and (math.isfinite(norm) or self._may_overflow()):
            return
        culprits = entry.rows if views is None else _culprits(entry.rows, views)
        listed = ", ".join(str(row) for row in culprits[:_SHOWN].tolist())
        more = f" and {len(culprits) - _SHOWN} more" if len(culprits) > _SHOWN else ""
        epoch, step = divmod(entry.step, self._plan.steps_per_epoch)
        raise NotFiniteError(
            f"loss is {loss} and the gradient's length {norm} in epoch {epoch}, step {step}; "
            f"rows {listed}{more}; look at these rows, or try a lower learning rate",
            culprits.tolist(),
        )

    def _may_overflow(self) -> bool:
        return self._scaler.is_enabled() and self._scaler.get_scale() >= 1


def _culprits(rows: Tensor, views: Views) -> Tensor:
    """Rows of the batch that a number that is not finite comes from.

    Those with such a feature or embedding; if there are none, those whose embeddings have such a
    gradient; if there are none, all.

    Args:
        rows: ``(B,)`` over all processes.
        views: those of this process.
    """
    of_rows = [places.raw for places in views.extra.values() if places.raw.ndim == 3]
    embedded = [t for t in (views.raw_location, views.image, *of_rows) if t is not None]
    given = [*embedded, views.features] if views.features is not None else embedded
    gradients = [t.grad for t in embedded if t.is_leaf or t.retains_grad]
    for tensors in (given, gradients):
        bad = torch.zeros(len(views.lonlat))
        for tensor in (t for t in tensors if t is not None):
            bad += (~tensor.detach().isfinite()).flatten(1).any(1).cpu()
        everybody = views.process.gather(bad) > 0
        if bool(everybody.any()):
            return rows[everybody]
    return rows


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else 1024 * used
