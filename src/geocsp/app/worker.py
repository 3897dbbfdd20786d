"""One thread that asks the model, and answers together what was asked together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class BusyError(RuntimeError):
    """More is waiting than the app holds; ask again."""


@dataclass(frozen=True, eq=False)
class _Job:
    function: Callable[[Sequence[Any]], Sequence[Any]]
    item: Any
    alone: bool
    future: Future[Any] = field(default_factory=Future)


class Worker:
    """Calls functions of many items in one thread.

    What arrives while the thread is busy waits, and items of the same function are then handed to
    it in one call. Nothing waits for company: a lone item is answered at once. Items that are
    asked for alone, which take long, come after the others.

    Args:
        waiting: so many items may wait.
        together: so many are handed over at once.
    """

    def __init__(self, *, waiting: int = 256, together: int = 64) -> None:
        self._waiting, self._together = waiting, together
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="geocsp-model", daemon=True)
        self._thread.start()

    def submit(
        self,
        function: Callable[[Sequence[_In]], Sequence[_Out]],
        item: _In,
        *,
        alone: bool = False,
    ) -> Future[_Out]:
        """Ask for the answer to one item.

        Args:
            function: one answer for each item, in order; what it says of an item must not depend
                on the others.
            item: the item.
            alone: hand it over without others.

        Raises:
            BusyError: too many wait already, or the worker is closed.
        """
        job = _Job(function, item, alone)
        with self._changed:
            if self._closing or len(self._jobs) >= self._waiting:
                raise BusyError("the app has too much to do; try again in a moment")
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while jobs := self._next():
            _answer([job for job in jobs if job.future.set_running_or_notify_cancel()])

    def _next(self) -> list[_Job]:
        """The oldest job of those to hand over first, and others of its kind; none at the end."""
        with self._changed:
            while not self._jobs and not self._closing:
                self._changed.wait()
            if not self._jobs:
                return []
            first = min(self._jobs, key=lambda job: job.alone)
            kind = [job for job in self._jobs if job.function == first.function]
            chosen = [first] if first.alone else kind[: self._together]
            for job in chosen:
                self._jobs.remove(job)
        return chosen


def _answer(jobs: list[_Job]) -> None:
    if not jobs:
        return
    try:
        answers = jobs[0].function([job.item for job in jobs])
    except Exception as error:
        if len(jobs) == 1:
            jobs[0].future.set_exception(error)
            return
        for job in jobs:  # so that one bad item spoils no other
            _answer([job])
        return
    for job, answer in zip(jobs, answers, strict=True):
        job.future.set_result(answer)
