"""Extraction on the workers of a Ray cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError, MissingExtraError
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
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    missing = plan.start(encoder, source)
    meter = Meter(plan.store, missing, on_progress)
    if not missing:
        return
    started_here = not ray.is_initialized()
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if started_here:
        connect(workers)
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        count = workers or int(resources.get("CPU", 1))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        items = [{"shard": shard} for shard in missing]
        done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Worker,
            fn_constructor_args=(plan, ray.put(encoder), ray.put(source)),
            batch_size=1,
            num_gpus=1 if encoder.mean.device.type == "cuda" else 0,
            compute=ray.data.ActorPoolStrategy(size=min(count, len(missing))),
        )
        for row in done.iter_rows():
            if row["error"]:
                raise DataError(row["error"])
            meter.advance(row["images"], row["failed"], 0.0)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise RuntimeError(f"a Ray worker failed: {reason}") from error
    finally:
        if started_here:
            ray.shutdown()


def connect(workers: int | None) -> None:
    """Join the cluster of ``RAY_ADDRESS``, or start one on this machine."""
    import ray

    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            address=address or "local",
            num_cpus=None if address else workers,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"cannot join the Ray cluster at {address or 'home'}: {reason}") from error


class _Worker:
    """One process of the cluster: an encoder, and the shards it is given."""

    def __init__(self, plan: ExtractionPlan, encoder: Any, source: Any) -> None:
        import ray

        self.plan, self.encoder, self.source = plan, ray.get(encoder), ray.get(source)

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
