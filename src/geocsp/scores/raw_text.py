"""Scores in CSV and its kin."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from geocsp.data.columns.numerals import numerals
from geocsp.data.quarantine import Problem
from geocsp.data.readers.delimited import Delimited, Ragged
from geocsp.scores.blocks import Report, rows_per_block
from geocsp.scores.raw import RawBlock, RawScores, matrix


class TextScores(RawScores):
    """Scores in a column for every class, the first line naming the columns.

    Args:
        source: path or URL.

    Raises:
        DataError: it cannot be read, is not UTF-8, or is binary.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.file = Delimited.open(source)
        self.names, self.decimals = self.file.names, frozenset()
        self.rows = None

    def blocks(
        self, classes: Sequence[str], beside: Sequence[str], report: Report
    ) -> Iterator[RawBlock]:
        """All rows that have as many cells as the heading."""
        ragged: list[Ragged] = []
        start = told = 0
        wanted = list(dict.fromkeys([*classes, *beside]))
        for whole in self.file.blocks(wanted, ragged):
            numbers = _numbered(ragged, start, len(whole))
            start += len(whole)
            for first in range(0, len(whole), rows_per_block(len(classes))):
                block = whole.slice(first, rows_per_block(len(classes)))
                cells = [numerals(block.column(name), name) for name in classes]
                unreadable = {
                    row: f"the score of {name!r} is {cell}, not a number"
                    for name, column in zip(classes, cells, strict=True)
                    for row, cell in column.unreadable.items()
                }
                yield RawBlock(
                    self.source,
                    numbers[first : first + len(block)],
                    0,
                    matrix([column.values for column in cells], len(block)),
                    {name: block.column(name) for name in beside},
                    unreadable,
                )
            report(self._problem(row) for row in ragged[told:])
            told = len(ragged)
        report(self._problem(row) for row in ragged[told:])

    def _problem(self, ragged: Ragged) -> Problem:
        cells = "1 cell" if ragged.cells == 1 else f"{ragged.cells} cells"
        reason = f"has {cells} where the heading has {len(self.names)}"
        return Problem(self.source, ragged.row, reason)


def _numbered(ragged: Sequence[Ragged], start: int, count: int) -> np.ndarray:
    """Numbers of good rows in the file, where broken ones count too."""
    before = [found.row - number for number, found in enumerate(ragged)]  # good ones before each
    return np.array([row + bisect_right(before, row) for row in range(start, start + count)], int)
