"""Which rows every step shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from geocsp.data.samplers import Sampler
from geocsp.errors import DataError
from geocsp.process import Process
from geocsp.train.randomness import Stream, generator


@dataclass(frozen=True, eq=False)
class Plan:
    """Batches of all epochs, each split among the processes without loss or repeat.

    Attributes:
        sampler: which rows an epoch shows.
        batch: rows of a step, over all processes.
        epochs: passes over all rows.
        seed: fixes the order of every epoch.
    """

    sampler: Sampler
    batch: int
    epochs: int
    seed: int

    @classmethod
    def of(
        cls, sampler: Sampler, rows: int, batch: int, epochs: int, process: Process, seed: int
    ) -> Plan:
        """A plan for so many rows.

        Raises:
            DataError: the sampler is not fitted to these rows, or a batch cannot be split.
        """
        if sampler.rows != rows or len(sampler) < 2:
            raise DataError(
                f"need a sampler fitted to the {rows} images that shows at least 2 an epoch: "
                f"{sampler} is fitted to {sampler.rows} and shows {len(sampler)}"
            )
        world, fitting = process.world, batch
        if len(sampler) < batch:
            fitting = len(sampler) - len(sampler) % world
        if fitting % world or fitting < world:
            raise DataError(
                f"a batch of {fitting} images cannot be split among {world} processes; choose a "
                f"batch_size that is a multiple of {world}"
            )
        return cls(sampler, fitting, epochs, seed)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return len(self.sampler) // self.batch

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.epochs * self.steps_per_epoch

    def order(self, epoch: int) -> Tensor:
        """Rows of an epoch: ``(len(sampler),)`` int64."""
        return self.sampler.order(generator(self.seed, Stream.ORDER, epoch))

    def batches(self, start: int) -> Iterator[Tensor]:
        """Rows of each step from ``start`` on, ``(B,)``; the rest of an epoch is left out."""
        first, offset = divmod(start, self.steps_per_epoch)
        for epoch in range(first, self.epochs):
            order = self.order(epoch)[: self.steps_per_epoch * self.batch]
            yield from order.split(self.batch)[offset if epoch == first else 0 :]
