"""The processes that train together: who started them, which device each has, how they meet.

Lightning Fabric knows the programs that start processes on several machines, and forms the group.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from geocsp.errors import MissingExtraError

_SIZES = ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "LSB_DJOB_NUMPROC")
"""Where torchrun, SLURM, mpirun and LSF say how many processes there are."""
_ECHO = 2.0
"""Seconds that an error is held back that may only follow from the end of another process."""


def environment() -> Any:
    """The program that has started this process among others, as Fabric sees it; None if none."""
    if not any(int(os.environ.get(name) or 1) > 1 for name in _SIZES):
        return None
    programs = fabric().plugins.environments
    known = ("TorchElasticEnvironment", "SLURMEnvironment", "LSFEnvironment", "MPIEnvironment")
    return next((getattr(programs, k)() for k in known if getattr(programs, k).detect()), None)


def strategy(devices: int, nodes: int, kind: str, environment: Any = None) -> Any:
    """Fabric's strategy for so many processes; it knows the device of each and forms the group.

    Args:
        devices: processes on this machine.
        nodes: number of machines.
        kind: "cpu" or "cuda".
        environment: what has started the processes; None if it is this one.

    Raises:
        ValueError: there are not that many GPUs.
        MissingExtraError: Lightning Fabric is not installed.
    """
    package = fabric()
    found = torch.cuda.device_count() if kind == "cuda" else 1
    bound = environment is not None and found == 1  # SLURM can show each process its own GPU alone
    if kind == "cuda" and found < devices and not bound:
        raise ValueError(f"{devices} GPUs are wanted, but there are {found}")
    cuda, accelerators = kind == "cuda", package.accelerators
    strategy = package.strategies.DDPStrategy(
        accelerators.CUDAAccelerator() if cuda else accelerators.CPUAccelerator(),
        parallel_devices=[
            torch.device("cuda", number % found) if cuda else torch.device("cpu")
            for number in range(devices)
        ],
        cluster_environment=environment or package.plugins.environments.LightningEnvironment(),
    )
    strategy.num_nodes = nodes
    return strategy


def meet(strategy: Any) -> None:
    """Wait for the other processes, form a group, and share the cores."""
    with quiet():
        strategy.setup_environment()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // strategy.num_processes))


@contextmanager
def echoes_held_back() -> Iterator[None]:
    """Let another process's own error be seen before the loss of the connection to it.

    Whoever sees the first error ends this process in the meantime.
    """
    try:
        yield
    except RuntimeError:
        time.sleep(_ECHO)
        raise


@contextmanager
def quiet() -> Iterator[None]:
    """No news of starting and ending processes; they tell when something goes wrong."""
    logs = [logging.getLogger(n) for n in ("lightning_fabric", "torch.multiprocessing.spawn")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def fabric() -> Any:
    """The package, which is optional."""
    try:
        import lightning_fabric
        import lightning_fabric.accelerators
        import lightning_fabric.plugins.environments
        import lightning_fabric.strategies
    except ImportError as error:
        raise MissingExtraError("lightning-fabric", "train") from error
    return lightning_fabric
