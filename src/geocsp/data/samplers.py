"""Samplers: which rows an epoch shows, and in which order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Sampler as TorchSampler

from geocsp.data.splitters.base import checked_places
from geocsp.data.splitters.healpix import check_nside, healpix_cells
from geocsp.errors import DataError
from geocsp.registry import register

_SLICE = 1 << 16


class Sampler(TorchSampler[int], ABC):
    """Orders of row numbers, one for every epoch.

    :meth:`fit` it to the rows, then hand it to :func:`geocsp.pretrain`, or to a
    ``torch.utils.data.DataLoader`` as ``sampler``. The order of an epoch depends on nothing but the
    seed and the epoch, which every pass moves on by one; ``set_epoch`` goes to any other.

    Subclasses are dataclasses of their settings.

    Attributes:
        seed: another seed gives other orders.
        epoch: the epoch of the next pass.
        rows: how many rows it was fitted to.
    """

    seed: int
    epoch = 0
    rows = 0

    @abstractmethod
    def fit(self, lonlat: ArrayLike, labels: ArrayLike | None = None) -> Self:
        """Get to know the rows; returns the sampler itself.

        Args:
            lonlat: ``(N, 2)`` degrees.
            labels: ``(N,)`` classes, -1 where unknown; only some samplers look at them.

        Raises:
            DataError: what the sampler goes by is missing or out of range.
        """

    @abstractmethod
    def order(self, generator: torch.Generator) -> Tensor:
        """Rows of one epoch, drawn from a generator: ``(len(self),)`` int64."""

    @abstractmethod
    def __len__(self) -> int:
        """Rows of an epoch."""

    def __iter__(self) -> Iterator[int]:
        """The rows of the next epoch."""
        if self.rows == 0:
            raise DataError(f"{self} knows no rows: call its fit() with places first")
        entropy = [self.seed % 2**64, self.epoch]
        state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
        order = self.order(torch.Generator().manual_seed(int(state[0])))
        self.epoch += 1
        return (row for part in order.split(_SLICE) for row in part.tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass."""
        self.epoch = epoch


@dataclass(frozen=True, eq=False)
class _Piles:
    """Row numbers in piles, one for each class or cell.

    Attributes:
        members: ``(M,)`` rows, pile after pile.
        sizes: ``(P,)`` rows of each pile, none of them empty.
    """

    members: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, keys: NDArray[np.integer[Any]]) -> _Piles:
        """A pile for every key that occurs; rows with a key below zero are in none."""
        most = int(keys.max(initial=0))
        rows = np.flatnonzero(keys >= 0)
        small = keys[rows].astype(np.min_scalar_type(most))  # 16 bits are sorted by counting
        order = np.argsort(small, kind="stable")
        ordered = small[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(rows)])
        sizes = np.diff(np.append(starts, len(rows)))
        return cls(torch.from_numpy(rows[order]), torch.from_numpy(sizes))

    def draw(self, takes: Tensor, generator: torch.Generator) -> Tensor:
        """A random subset of every pile, all mixed: ``(takes.sum(),)`` rows.

        All subsets of a size are equally likely. Of more than half a pile, those left out are
        drawn; draws that hit the same row are repeated, of which there are ever fewer.

        Args:
            takes: ``(P,)`` rows to take from each pile, at most its size.
            generator: where the random numbers come from.
        """
        inverted = takes > self.sizes // 2
        pile = torch.repeat_interleave(torch.where(inverted, self.sizes - takes, takes))
        starts, sizes = (self.sizes.cumsum(0) - self.sizes)[pile], self.sizes[pile]
        place, again = torch.empty_like(pile), torch.arange(len(pile))
        while len(again):
            share = torch.rand(len(again), generator=generator, dtype=torch.float64)
            place[again] = starts[again] + (share * sizes[again]).long()
            ordered, index = place.sort(stable=True)
            again = index[1:][ordered[1:] == ordered[:-1]]
        chosen = torch.from_numpy(np.repeat(inverted.numpy(), self.sizes.numpy()))
        chosen[place] = ~chosen[place]
        rows = self.members[chosen]
        return rows[torch.randperm(len(rows), generator=generator)]


@register("sampler", "uniform")
@dataclass(eq=False)
class Uniform(Sampler):
    """All rows in random order.

    Attributes:
        seed: another seed gives other orders.
    """

    seed: int = 0

    def fit(self, lonlat: ArrayLike, labels: ArrayLike | None = None) -> Self:
        """Count the rows."""
        self.rows = np.shape(lonlat)[0]
        return self

    def order(self, generator: torch.Generator) -> Tensor:
        """A random permutation: ``(N,)``."""
        return torch.randperm(self.rows, generator=generator)

    def __len__(self) -> int:
        return self.rows


@register("sampler", "balanced")
@dataclass(eq=False)
class Balanced(Sampler):
    """At most ``per_class`` random rows of every class, in random order.

    What the released code of CSP (Mai et al., ICML 2023) does in both stages. Mind that it looks
    at the labels of all rows: pre-training with it is no longer unsupervised, because the classes
    of the images decide which are seen how often. Rows with a class below zero are never shown.

    Attributes:
        per_class: most rows of a class in an epoch.
        seed: another seed gives other orders.
    """

    per_class: int = 100
    seed: int = 0
    _piles: _Piles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.per_class < 1:
            raise DataError(f"need at least 1 row per class, got {self.per_class}")

    def fit(self, lonlat: ArrayLike, labels: ArrayLike | None = None) -> Self:
        """Sort the rows by class.

        Raises:
            DataError: no labels, not one integer a row, or none that is known.
        """
        if labels is None:
            raise DataError("balanced sampling needs labels")
        classes, rows = np.asarray(labels), np.shape(lonlat)[0]
        if classes.shape != (rows,) or not np.issubdtype(classes.dtype, np.integer):
            raise DataError(
                f"need one integer class a row: got {rows} rows and {classes.dtype} labels of "
                f"shape {classes.shape}"
            )
        if not (classes >= 0).any():
            raise DataError(f"balanced sampling needs labels, but none of {rows} rows has one")
        self._piles, self.rows = _Piles.of(classes), rows
        return self

    def order(self, generator: torch.Generator) -> Tensor:
        """Rows of all classes mixed: ``(len(self),)``."""
        return self._piles.draw(self._piles.sizes.clamp(max=self.per_class), generator)

    def __len__(self) -> int:
        return int(self._piles.sizes.clamp(max=self.per_class).sum()) if self.rows else 0


@register("sampler", "geographic")
@dataclass(eq=False)
class Geographic(Sampler):
    """Fewer rows where there are many, so that crowded places do not drown out the rest.

    A row is in an epoch with probability n^-strength, where n rows share its equal-area HEALPix
    cell: with strength 0 all rows are, with 1 one row of every cell that has any, with 0.5 the
    square root of the rows of every cell. An epoch is ``len(sampler)`` rows, shorter than the
    data (and rounded down, at the cost of all rows alike). Rows are drawn without replacement: an
    image twice in a batch would be its own negative.

    Attributes:
        strength: in [0, 1].
        nside: size of the cells, each as large as a square of 6,520 km / nside.
        seed: another seed gives other orders.
    """

    strength: float = 0.5
    nside: int = 32
    seed: int = 0
    _piles: _Piles = field(init=False, repr=False)
    _ends: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise DataError(f"the strength must be in [0, 1], got {self.strength:g}")
        check_nside(self.nside)

    def fit(self, lonlat: ArrayLike, labels: ArrayLike | None = None) -> Self:
        """Sort the rows by cell.

        Raises:
            DataError: a place is missing or out of range, or there is none at all.
        """
        cells = healpix_cells(checked_places(lonlat), self.nside)
        if len(cells) == 0:
            raise DataError("geographic sampling needs at least one place")
        self._piles, self.rows = _Piles.of(cells), len(cells)
        ends = (self._piles.sizes.double() ** (1 - self.strength)).cumsum(0)
        self._ends = ends * (ends[-1].floor() / ends[-1])
        self._ends[-1] = ends[-1].floor()
        return self

    def order(self, generator: torch.Generator) -> Tensor:
        """Rows of all cells mixed: ``(len(self),)``."""
        return self._piles.draw(self._takes(generator), generator)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.rows else 0

    def _takes(self, generator: torch.Generator) -> Tensor:
        """Rows to take from each cell: whole numbers of the right mean, by systematic sampling."""
        offset = torch.rand(1, generator=generator, dtype=torch.float64)
        ends = (self._ends + offset).floor().long()
        return ends.diff(prepend=ends.new_zeros(1)).minimum(self._piles.sizes)
