"""Results that are kept, within so many bytes, and made once however many ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from geocsp.app.worker import BusyError


@dataclass(eq=False)
class _Making:
    future: Future[bytes] = field(default_factory=Future)
    waiting: int = 0


class ByteCache:
    """Bytes by key, made by a pool of threads; what was used least recently goes first.

    Args:
        pool: where they are made.
        limit: bytes kept.
        waiting: so many may be in the making.
    """

    def __init__(self, pool: Executor, limit: int, waiting: int = 512) -> None:
        self._pool, self._limit, self._waiting = pool, limit, waiting
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._making: dict[Hashable, _Making] = {}
        self._lock = threading.Lock()
        self.size = 0

    def ask(self, key: Hashable, make: Callable[[], bytes]) -> Future[bytes]:
        """The bytes, now or later; :meth:`leave` when they are no longer wanted.

        Args:
            key: names the bytes.
            make: makes them, the same ones each time.

        Raises:
            BusyError: too many are in the making.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                found: Future[bytes] = Future()
                found.set_result(self._kept[key])
                return found
            under_way = self._making.get(key)
            if under_way is not None:
                under_way.waiting += 1
                return under_way.future
            if len(self._making) >= self._waiting:
                raise BusyError("the app has too much to do; try again in a moment")
            making = self._making[key] = _Making(waiting=1)
        try:
            self._pool.submit(self._make, key, making, make)
        except RuntimeError as error:  # the pool is shut down
            with self._lock:
                del self._making[key]
            raise BusyError("the app is ending") from error
        return making.future

    def leave(self, key: Hashable, future: Future[bytes]) -> None:
        """One who got this future waits no longer; what nobody waits for is not begun."""
        with self._lock:
            making = self._making.get(key)
            if making is not None and making.future is future:
                making.waiting -= 1

    def _make(self, key: Hashable, making: _Making, make: Callable[[], bytes]) -> None:
        with self._lock:
            unwanted = making.waiting <= 0
            if unwanted:
                del self._making[key]
        if unwanted:
            making.future.cancel()
            return
        try:
            content = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            making.future.set_exception(error)
            return
        with self._lock:
            del self._making[key]
            self._keep(key, content)
        making.future.set_result(content)

    def _keep(self, key: Hashable, content: bytes) -> None:
        self._kept[key] = content
        self.size += len(content)
        while self.size > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self.size -= len(oldest)
