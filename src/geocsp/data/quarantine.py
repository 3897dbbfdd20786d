"""What could not be used and why: bad rows go here, the rest goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from geocsp.files import write_atomically

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
    writer = csv.writer(text)
    writer.writerow(["file", "row", "reason"])
    for problem in problems:
        row = "" if problem.row is None else problem.row
        writer.writerow([problem.file, row, " ".join(problem.reason.split())])
    # File names that are no text (undecodable bytes) are written with escapes.
    return write_atomically(path, text.getvalue().encode("utf-8", "backslashreplace"))
