"""Quarantined rows, counted by reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from geocsp.data.quarantine import Problem

_DETAILS = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?\d[\d.,]*(?:e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Reason:
    """Rows with reasons that differ in numbers and quoted words alone.

    Attributes:
        rows: how many.
        reason: the reason of the first of them.
        file: the file of the first of them.
    """

    rows: int
    reason: str
    file: str


def reasons_of(problems: Iterable[Problem]) -> tuple[Reason, ...]:
    """Count rows by reason, the most frequent first."""
    first: dict[str, Problem] = {}
    count: dict[str, int] = {}
    for problem in problems:
        kind = _DETAILS.sub("#", problem.reason)
        first.setdefault(kind, problem)
        count[kind] = count.get(kind, 0) + 1
    return tuple(
        Reason(rows, first[kind].reason, first[kind].file)
        for kind, rows in sorted(count.items(), key=lambda item: -item[1])
    )
