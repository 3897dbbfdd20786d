"""A quarantine report that is written row by row, however many rows there are."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from geocsp.data.quarantine import Problem
from geocsp.embed.atomic import replacing


class Quarantine:
    """Lists rows that were left out, in the form of :mod:`geocsp.data.quarantine`.

    Attributes:
        count: how many so far.
        first: the first of them.
    """

    def __init__(self, file: IO[str]) -> None:
        self.count = 0
        self.first: Problem | None = None
        self._rows = csv.writer(file)
        self._rows.writerow(["file", "row", "reason"])

    def add(self, problems: Iterable[Problem]) -> None:
        """List some more rows."""
        for problem in problems:
            self.count += 1
            self.first = self.first or problem
            row = "" if problem.row is None else problem.row
            self._rows.writerow([problem.file, row, " ".join(problem.reason.split())])


def quarantine_path(output: Path) -> Path:
    """Where the report about an output is: ``out.parquet`` has ``out.quarantine.csv``."""
    return output.with_suffix(".quarantine.csv")


@contextmanager
def quarantine_beside(output: Path) -> Iterator[Quarantine]:
    """A report beside an output, which is there only if some row was left out.

    Raises:
        OSError: the folder cannot be written.
    """
    path = quarantine_path(output)
    with replacing(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            listed = Quarantine(file)
            yield listed
        if not listed.count:
            temporary.unlink()
            path.unlink(missing_ok=True)  # of an earlier run
