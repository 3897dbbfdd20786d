"""Files of scores: their columns and rows, before anything is made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geocsp.data.images import Integers
from geocsp.scores.blocks import Report

Scored = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RawBlock:
    """Some rows of a file.

    Attributes:
        file: where they are.
        rows: ``(n,)`` their numbers in the file, from 0.
        before: rows of the files before this one.
        scores: ``(n, Q)`` numbers, NaN where there is none.
        beside: columns of n cells of what else was asked for.
        unreadable: what is wrong with cells that are no numbers, by row of the block.
    """

    file: str
    rows: Integers
    before: int
    scores: Scored
    beside: Mapping[str, pa.Array]
    unreadable: Mapping[int, str] = field(default_factory=dict)


class RawScores(ABC):
    """A file of scores, or several with the same columns.

    Attributes:
        source: what was opened.
        names: all columns.
        decimals: those of them that the file itself says hold decimal numbers.
        rows: how many rows there are; None where only reading them tells.
    """

    source: str
    names: tuple[str, ...]
    decimals: frozenset[str]
    rows: int | None

    @abstractmethod
    def blocks(
        self, classes: Sequence[str], beside: Sequence[str], report: Report
    ) -> Iterator[RawBlock]:
        """All rows.

        Args:
            classes: the columns of scores, in the order that they are wanted in.
            beside: other columns that are wanted.
            report: told of rows that are broken.

        Raises:
            DataError: the file cannot be read any further, or a column does not hold numbers.
        """


def matrix(columns: Sequence[NDArray[np.floating]], rows: int) -> Scored:
    """Columns of numbers side by side, ``(n, Q)``."""
    whole = np.empty((rows, len(columns)), dtype=np.float32)
    with np.errstate(over="ignore"):  # what is too large is infinite, and told as such
        for number, column in enumerate(columns):
            whole[:, number] = column
    return whole
