"""Paired timings: two functions in turns, so that a busy moment hits both."""

import os
import platform
import statistics
import time
from collections.abc import Callable

import torch

from geocsp.images.extract import has_bfloat16

ROUNDS = 5


def paired(*functions: Callable[[], object], rounds: int = ROUNDS) -> list[list[float]]:
    """Seconds of some functions, taken in turns after a warm-up."""
    times: list[list[float]] = [[] for _ in functions]
    for round_number in range(rounds + 1):
        for function, into in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if round_number:
                into.append(time.perf_counter() - start)
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median of the ratios of neighbouring runs."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def machine() -> dict[str, object]:
    """What the timings were taken on."""
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "bfloat16 instructions": has_bfloat16(),
        "torch": torch.__version__,
    }
