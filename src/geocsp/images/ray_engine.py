"""Extraction on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.cluster import require_ray, shared_out
from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.extract import ExtractionPlan, ExtractProgress, FallibleSource, Meter
from geocsp.images.pictures import quiet


def run_on_ray(
    plan: ExtractionPlan,
    encoder: ImageEncoder,
    source: FallibleSource,
    *,
    workers: int | None = None,
    on_progress: Callable[[ExtractProgress], None] | None = None,
) -> None:
    """Fill what is missing in the cache with Ray Data, one shard at a time for each worker.

    Joins the cluster that ``RAY_ADDRESS`` names or this process is connected to, else starts one
    on this machine. Workers write into the cache folder, which all of them have to see. Ray starts
    a worker that dies anew and gives its shard out again; shards that are done stay done.

    Args:
        plan: the cache to fill.
        encoder: frozen image encoder; every worker gets a copy.
        source: the images.
        workers: number of workers; None: as many as the cluster has CPU cores.
        on_progress: called after every shard.

    Raises:
        MissingExtraError: Ray is not installed.
        DataError: as for the local engine, or no cluster can be joined.
        RuntimeError: the workers failed in another way.
    """
    require_ray()
    missing = plan.start(encoder, source)
    meter = Meter(plan.store, missing, on_progress)
    if not missing:
        return
    items = [{"shard": shard} for shard in missing]
    on_gpu = encoder.mean.device.type == "cuda"
    given = (plan, encoder, source)
    with closing(shared_out(items, _Worker, given, workers=workers, on_gpu=on_gpu)) as done:
        for row in done:
            meter.advance(row["images"], row["failed"], 0.0)


class _Worker:
    """One process of the cluster: an encoder, and the shards it is given."""

    def __init__(self, plan: Any, encoder: Any, source: Any) -> None:
        import ray

        self.plan, self.encoder, self.source = ray.get([plan, encoder, source])

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        shards = [int(shard) for shard in batch["shard"]]
        try:
            with quiet():
                self.plan.fill(shards, self.encoder, self.source, workers=1)
            errors = [""] * len(shards)
        except DataError as error:  # Ray would take it for a fault of the worker
            errors = [str(error)] * len(shards)
        spans = [self.plan.store.span(shard) for shard in shards]
        failed = self.plan.store.failures()
        return {
            "images": np.array([len(span) for span in spans]),
            "failed": np.array([sum(row in failed for row in span) for span in spans]),
            "error": np.array(errors),
        }
