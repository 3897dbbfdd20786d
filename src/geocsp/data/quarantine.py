"""What could not be used and why: bad rows go here, the rest goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from geocsp.files import replacing, write_atomically

QUARANTINE_FILE = "quarantine.csv"
"""What the report is called in an output folder."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One row that was left out.

    Attributes:
        file: the image, or the file that the row is in.
        row: number of the row in that file, from 0; None where the file is the row.
        reason: what is wrong, in words that say what to do.
    """

    file: str
    row: int | None
    reason: str

    def __str__(self) -> str:
        """One line: "places.csv row 7: no coordinates"."""
        place = self.file if self.row is None else f"{self.file} row {self.row}"
        return " ".join(f"{place}: {self.reason}".split())


def write_quarantine(path: Path, problems: Iterable[Problem]) -> Path:
    """Write ``quarantine.csv``: file, row, reason; with the heading alone if all is well.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    Quarantine(text).add(problems)
    # File names that are no text (undecodable bytes) are written with escapes.
    return write_atomically(path, text.getvalue().encode("utf-8", "backslashreplace"))


class Quarantine:
    """A report that is written row by row, however many rows there are.

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
