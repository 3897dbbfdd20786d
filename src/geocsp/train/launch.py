"""Starting processes that train together, and joining those that are started already.

There is one process for each GPU, or there are several on a CPU. They are started here, or by
torchrun, SLURM's srun or mpirun, which Lightning Fabric recognises. In the function that they run,
:meth:`geocsp.process.Process.current` is the process it runs in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import torch
from torch import distributed as dist

from geocsp.train.group import echoes_held_back, environment, meet, strategy
from geocsp.train.spawn import start

_Result = TypeVar("_Result")
_SHARES = ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE", "OMPI_COMM_WORLD_LOCAL_SIZE")
"""Where torchrun, SLURM and mpirun say how many of the processes are on this machine."""
_MEETING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
"""What the processes of several machines have to be told where none of these programs does it."""


class Accelerator(StrEnum):
    """What to train on."""

    AUTO = "auto"
    """GPUs if there are any."""
    CPU = "cpu"
    CUDA = "cuda"

    def kind(self) -> str:
        """Type of the devices, "cpu" or "cuda".

        Raises:
            ValueError: there is no GPU.
        """
        available = torch.cuda.is_available()
        if self is Accelerator.CUDA and not available:
            raise ValueError("PyTorch finds no GPU here; train on the cpu")
        return "cuda" if available and self is not Accelerator.CPU else "cpu"


def launch(
    function: Callable[..., _Result],
    *arguments: Any,
    devices: int | None = None,
    nodes: int = 1,
    accelerator: Accelerator = Accelerator.AUTO,
) -> _Result:
    """Call ``function(device, *arguments)`` in every process of a ``torch.distributed`` group.

    A process that torchrun, SLURM or mpirun has started joins the others. Otherwise, for more than
    one device, processes are started here, each with its own copy of the arguments; large data is
    better opened inside the function. The function has to stand at the top of a module, and a
    script has to do what it does under ``if __name__ == "__main__":``. Several machines, each of
    which calls this, find each other by ``MASTER_ADDR``, ``MASTER_PORT`` and ``NODE_RANK``.

    Where one process fails, the others are ended. Each has its share of the CPU's cores, unless
    ``OMP_NUM_THREADS`` says how many.

    Args:
        function: what to do; its first argument is the device of the process.
        *arguments: what else it is given.
        devices: processes on this machine; by default one, or as many as there are already.
        nodes: number of machines; by default one, or as many as there are already.
        accelerator: what to train on.

    Returns:
        What the function returns; in the first process, where they are started here.

    Raises:
        ValueError: there are not that many GPUs, there are other numbers of processes already, or
            function and arguments cannot be copied.
        MissingExtraError: there are several processes, but Lightning Fabric is not installed.
        RuntimeError: a process was ended from outside.
        Exception: what the function raises in the process that fails first.
    """
    kind = Accelerator(accelerator).kind()
    started_by = environment()
    if started_by is not None:
        return _join(started_by, function, arguments, devices, nodes, kind)
    count = 1 if devices is None else devices
    if count < 1 or nodes < 1:
        raise ValueError(f"devices and nodes must be at least 1, got {count} and {nodes}")
    if count * nodes == 1:
        return function(torch.device(kind), *arguments)
    if nodes > 1 and not all(name in os.environ for name in _MEETING):
        raise ValueError(f"for several nodes, set {', '.join(_MEETING)}, or use torchrun or srun")
    return start(function, arguments, strategy(count, nodes, kind))


def _join(
    started_by: Any,
    function: Callable[..., _Result],
    arguments: tuple[Any, ...],
    devices: int | None,
    nodes: int,
    kind: str,
) -> _Result:
    """Call the function in this process and let the group end with it."""
    world = started_by.world_size()
    machines = int(os.environ.get("SLURM_NNODES") or 1)
    here = next(
        (int(os.environ[name]) for name in _SHARES if name in os.environ), world // machines
    )
    if devices not in (None, here) or nodes not in (1, world // here):
        raise ValueError(
            f"{here} processes on each of {world // here} nodes are started already, which does "
            f"not fit {devices} devices and {nodes} nodes; leave these out"
        )
    group = strategy(here, world // here, kind, started_by)
    with echoes_held_back():
        meet(group)
        result = function(group.root_device, *arguments)
        dist.destroy_process_group()
    return result
