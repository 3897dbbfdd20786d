"""One of the processes that train a model together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class Process:
    """This process among those of a ``torch.distributed`` group that is already running.

    Every process holds its own, equally many rows of a batch; process r holds rows
    ``own(batch)``.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls) -> Process:
        """This process in the running group; alone if there is none."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def own(self, batch: int) -> slice:
        """Rows of a batch of this size that belong to this process."""
        share = batch // self.world
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all processes in order of rank, with gradient: ``(b, ...)`` to ``(B, ...)``.

        Together with gradients averaged over processes (:meth:`average_gradients`), this gives
        the gradient of the mean of all processes' losses exactly.
        """
        if self.world == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self.rank, self.world)  # type: ignore[no-untyped-call]
        return gathered

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace the gradients by their mean over all processes, all in one message.

        The same parameters have to have a gradient in every process.
        """
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over all processes."""
        if self.world == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.world

    @torch.no_grad()
    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of the first process, so that all start from the same."""
        if self.world == 1:
            return
        for tensor in tensors:
            value = tensor.contiguous()
            dist.broadcast(value, src=0)
            tensor.copy_(value)

    def share(self, value: Any) -> Any:
        """What the first process has, in every process; numbers, texts and containers of them."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


ALONE = Process()
"""A process without others."""


class _Gather(torch.autograd.Function):
    """Gather forward, sum and own share backward."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, world: int) -> Tensor:
        ctx.rank, ctx.count = rank, len(rows)
        parts = [torch.empty_like(rows) for _ in range(world)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.rank * ctx.count : (ctx.rank + 1) * ctx.count], None, None
