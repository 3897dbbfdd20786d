"""What an audit says: how serious, about what, how many images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters.

    An error makes results wrong or work pointless; a warning may; an info is good to know.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Topic(StrEnum):
    """What a finding is about."""

    ROWS = "rows"
    PLACES = "places"
    IMAGES = "images"
    DUPLICATES = "duplicates"
    CLASSES = "classes"
    SPLITS = "splits"


@dataclass(frozen=True)
class Finding:
    """One thing that a user of the data should know.

    Attributes:
        severity: how much it matters.
        topic: what it is about.
        rows: how many images it concerns.
        message: what these images are, and what to do.
    """

    severity: Severity
    topic: Topic
    rows: int
    message: str


def worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """Errors, then warnings, then infos; else in the order they came."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))
