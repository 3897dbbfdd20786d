"""Rows of scores, block by block, from wherever they come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from torch import Tensor

from geocsp.data.quarantine import Problem
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoPrior

Report = Callable[[Iterable[Problem]], None]
"""Takes what is wrong with rows that are left out."""
_CELLS = 2**22


@dataclass(frozen=True, eq=False)
class ScoreBlock:
    """What an image classifier says of n images, and where these are.

    Attributes:
        ids: n names or numbers of the rows.
        image: ``(n, Q)`` float32 probabilities, each row summing to one.
        lonlat: ``(n, 2)`` float64 degrees, NaN where unknown.
        time: ``(n, 2)`` date and hour; None where the prior takes none or nothing is known.
        labels: ``(n,)`` int64 right classes, -1 where unknown; None where there is no column.
        seen: how many rows of the source this block stands for, those left out among them.
    """

    ids: pa.Array
    image: Tensor
    lonlat: Tensor
    time: Tensor | None
    labels: Tensor | None
    seen: int

    def __len__(self) -> int:
        return len(self.image)

    @property
    def placed(self) -> Tensor:
        """Which rows have a place, ``(n,)``."""
        return ~self.lonlat.isnan().any(dim=1)


class Scores(ABC):
    """A source of scores.

    Attributes:
        rows: how many rows it has; None where that shows at the end.
    """

    rows: int | None

    @property
    @abstractmethod
    def notes(self) -> list[str]:
        """What was guessed or repaired; complete after the last block."""

    @abstractmethod
    def blocks(self, report: Report) -> Iterator[ScoreBlock]:
        """All usable rows; the others are reported.

        Raises:
            DataError: the source cannot be read any further.
        """


def rows_per_block(classes: int) -> int:
    """How many rows of scores to hold at once."""
    return max(1, min(65_536, _CELLS // max(classes, 1)))


def takes_time(prior: GeoPrior | LinearPrior) -> bool:
    """Whether a prior knows seasons or hours."""
    return bool(prior.location.time.dim)


def labels_of(names: tuple[str, ...], classes: tuple[str, ...]) -> list[int]:
    """Number of each name among the classes, -1 where it is none of them."""
    place = {name: number for number, name in enumerate(classes)}
    return [place.get(name, -1) for name in names]
