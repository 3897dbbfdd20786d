"""The work of an export: blocks that are computed and written one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from numpy.typing import NDArray

from geocsp.maps.export.blocks import Blocks
from geocsp.maps.export.cells import Cells
from geocsp.maps.grid import Grid

OnBlock = Callable[[int, int], None]
"""Told of every block that is on the disk: its number, and how many values were cut."""
_MOST_THREADS = 16
"""By default; each holds a block in memory."""
_THREADS_OF_A_GPU = 2
"""One computes while the other writes."""


class BlockWriter(Protocol):
    """Puts blocks where they belong."""

    def write(self, block: int, values: NDArray[Any]) -> None:
        """Write ``(height, width, bands)``, and wait until it is on the disk."""
        ...


@dataclass(frozen=True, eq=False)
class BlockWork:
    """Computes a block and writes it; travels to other processes.

    Attributes:
        grid: all cells.
        blocks: how they are cut.
        cells: how their numbers are made.
        writer: where they go.
    """

    grid: Grid
    blocks: Blocks
    cells: Cells
    writer: BlockWriter

    def do(self, block: int) -> int:
        """Compute and write a block; how many values were cut to the range of 8-bit numbers."""
        rows, columns = self.blocks.window(block)
        values, clipped = self.cells.compute(self.grid.centres(rows, columns))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        self.writer.write(block, values.reshape(height, width, -1))
        return clipped


def run_here(work: BlockWork, missing: Sequence[int], workers: int | None, told: OnBlock) -> None:
    """Do blocks in threads of this process.

    On a CPU each computes with one thread, so that the numbers do not depend on how many there
    are, and none waits for others.
    """
    device = work.cells.device
    threads = torch.get_num_threads()
    if device.type == "cpu":
        count, start = workers or min(threads, _MOST_THREADS), partial(torch.set_num_threads, 1)
    else:
        count, start = workers or _THREADS_OF_A_GPU, None
    pool = ThreadPoolExecutor(count, "geocsp-grid", initializer=start)
    try:
        for block, clipped in zip(missing, pool.map(work.do, missing), strict=True):
            told(block, clipped)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
