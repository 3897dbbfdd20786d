"""Blocks on the workers of a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geocsp.errors import DataError, MissingExtraError
from geocsp.images import ray_engine
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
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    started_here = not ray.is_initialized()
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if started_here:
        ray_engine.connect(workers)
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        count = workers or int(resources.get("CPU", 1))
        ray.data.DataContext.get_current().enable_progress_bars = False
        items = [{"block": block} for block in missing]
        done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Worker,
            fn_constructor_args=(ray.put(work),),
            batch_size=1,
            num_gpus=1 if work.cells.device.type == "cuda" else 0,
            compute=ray.data.ActorPoolStrategy(size=min(count, len(missing))),
        )
        for row in done.iter_rows():
            if row["error"]:
                raise DataError(row["error"])
            told(int(row["block"]), int(row["clipped"]))
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise RuntimeError(f"a Ray worker failed: {reason}") from error
    finally:
        if started_here:
            ray.shutdown()


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
