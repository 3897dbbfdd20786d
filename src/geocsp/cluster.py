"""Work that is shared out among the workers of a Ray cluster (extra "ray")."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Sequence
from typing import Any

from geocsp.errors import DataError, MissingExtraError


def require_ray() -> Any:
    """The package Ray, with Ray Data.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    return ray


def shared_out(
    items: Sequence[dict[str, Any]],
    worker: type,
    arguments: Sequence[Any],
    *,
    workers: int | None,
    on_gpu: bool,
) -> Generator[dict[str, Any], None, None]:
    """Do items with Ray Data, one at a time for each worker.

    Joins the cluster that ``RAY_ADDRESS`` names or this process is connected to, else starts one
    on this machine. Ray starts a worker that dies anew and gives its item out again.

    Args:
        items: at least one.
        worker: made once for each process from references to the arguments, for ``ray.get``; called
            with a batch of one item, it returns a batch with "error", a text, empty if all is well.
        arguments: what every worker gets a copy of.
        workers: number of workers; None: as many as the cluster has CPU cores.
        on_gpu: whether each worker needs a GPU.

    Yields:
        What the worker returned for an item.

    Raises:
        MissingExtraError: Ray is not installed.
        DataError: a worker's error, or no cluster can be joined.
        RuntimeError: the workers failed in another way.
    """
    ray = require_ray()
    started_here = not ray.is_initialized()
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if started_here:
        _connect(ray, workers)
    try:
        count = workers or int(ray.cluster_resources().get("CPU", 1))
        ray.data.DataContext.get_current().enable_progress_bars = False
        done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            worker,
            fn_constructor_args=tuple(ray.put(argument) for argument in arguments),
            batch_size=1,
            num_gpus=1 if on_gpu else 0,
            compute=ray.data.ActorPoolStrategy(size=min(count, len(items))),
        )
        for row in done.iter_rows():
            if row["error"]:
                raise DataError(row["error"])
            yield row
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise RuntimeError(f"a Ray worker failed: {reason}") from error
    finally:
        if started_here:
            ray.shutdown()


def _connect(ray: Any, workers: int | None) -> None:
    """Join the cluster of ``RAY_ADDRESS``, or start one on this machine."""
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
