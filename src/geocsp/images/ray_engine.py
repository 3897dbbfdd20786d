"""Extraction on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import MissingExtraError
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
        DataError: as for the local engine.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    missing = plan.start(encoder)
    meter = Meter(plan.store, missing, on_progress)
    if not missing:
        return
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
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
            compute=ray.data.ActorPoolStrategy(size=min(count, len(missing))),
        )
        for row in done.iter_rows():
            meter.advance(row["images"], row["failed"], 0.0)
    finally:
        if started_here:
            ray.shutdown()


class _Worker:
    """One process of the cluster: an encoder, and the shards it is given."""

    def __init__(self, plan: ExtractionPlan, encoder: Any, source: Any) -> None:
        import ray

        self.plan, self.encoder, self.source = plan, ray.get(encoder), ray.get(source)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        shards = [int(shard) for shard in batch["shard"]]
        with quiet():
            self.plan.fill(shards, self.encoder, self.source, workers=1)
        spans = [self.plan.store.span(shard) for shard in shards]
        failed = self.plan.store.failures()
        return {
            "images": np.array([len(span) for span in spans]),
            "failed": np.array([sum(row in failed for row in span) for span in spans]),
        }
