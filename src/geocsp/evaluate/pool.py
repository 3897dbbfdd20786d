"""Worker processes that end with this one, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait

import torch


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, each of which computes on one thread.

    Raises:
        RuntimeError: a worker died.
    """
    others = multiprocessing.active_children()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        _start_all(pool, workers)
        yield pool
        pool.shutdown()
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process died, perhaps for lack of memory; run the same command again to go "
            "on, with fewer --workers"
        ) from None
    finally:
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)


def _start_all(pool: ProcessPoolExecutor, workers: int) -> None:
    """Start every worker deaf to Ctrl-C, on which this process alone decides."""
    with _deaf():  # processes started now inherit it
        for _ in range(workers):
            pool.submit(os.getpid)


@contextmanager
def _deaf() -> Iterator[None]:
    """Leave Ctrl-C unheard; other threads than the main one have no say in that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _start_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    signal.raise_signal(signal.SIGKILL)
