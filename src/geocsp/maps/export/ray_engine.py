"""Blocks on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geocsp.cluster import shared_out
from geocsp.errors import DataError
from geocsp.maps.export.work import BlockWork, OnBlock


def run_on_ray(work: BlockWork, missing: Sequence[int], workers: int | None, told: OnBlock) -> None:
    """Do blocks with Ray Data, one at a time for each worker.

    Joins the cluster that ``RAY_ADDRESS`` names or this process is connected to, else starts one
    on this machine. Workers write into the work folder, which all of them have to see. Ray starts
    a worker that dies anew and gives its block out again.

    Args:
        work: what is done; every worker gets a copy of the model.
        missing: the blocks.
        workers: number of workers; None: as many as the cluster has CPU cores.
        told: told of every block that is on the disk.

    Raises:
        MissingExtraError: Ray is not installed.
        DataError: values that cannot be written, or no cluster can be joined.
        RuntimeError: the workers failed in another way.
    """
    items = [{"block": block} for block in missing]
    on_gpu = work.cells.device.type == "cuda"
    with closing(shared_out(items, _Worker, (work,), workers=workers, on_gpu=on_gpu)) as done:
        for row in done:
            told(int(row["block"]), int(row["clipped"]))


class _Worker:
    """One process of the cluster."""

    def __init__(self, work: Any) -> None:
        import ray

        torch.set_num_threads(1)
        self.work: BlockWork = ray.get(work)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        clipped, error = 0, ""
        try:
            for block in batch["block"].tolist():
                clipped = self.work.do(block)
        except DataError as problem:  # Ray would take it for a fault of the worker
            error = str(problem)
        return {
            "block": batch["block"],
            "clipped": np.array([clipped]),
            "error": np.array([error]),
        }
