"""The audit: look at everything, decide nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array

from geocsp.data.audit.classes import Classes, classes_of, findings_of_classes
from geocsp.data.audit.contents import (
    ImageFacts,
    OnProgress,
    facts_of_images,
    findings_of_images,
    look_at_all,
)
from geocsp.data.audit.coordinates import Places, findings_of_places, has_place, places_of
from geocsp.data.audit.duplicates import (
    Duplicates,
    findings_of_duplicates,
    likes_of,
    same_files,
    same_pictures,
)
from geocsp.data.audit.findings import Finding, Severity, Topic, worst_first
from geocsp.data.audit.leakage import Leakage, findings_of_splits, leakage_of
from geocsp.data.audit.reasons import Reason, reasons_of
from geocsp.data.images import Integers
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories, GeoTable


@dataclass(frozen=True)
class Counts:
    """How many images, and how much is known of them.

    Attributes:
        images: images that can be used.
        quarantined: rows whose place or image cannot.
        with_place: images with a place.
        with_time: images with a date, an hour or both.
        with_label: images with a class.
        groups: number of groups.
        splits: images of each split.
    """

    images: int
    quarantined: int
    with_place: int
    with_time: int
    with_label: int
    groups: int
    splits: dict[str, int]


@dataclass(frozen=True, eq=False)
class Audit:
    """What is known of a table, and what is wrong with it.

    Attributes:
        counts: how many images.
        reasons: quarantined rows, by reason.
        places: where the images are; None without places.
        images: what they are; None if they were not read.
        duplicates: the same file in several rows, and the same picture; empty if not read.
        classes: balance of the classes; None without labels.
        leakage: held-out splits against what is trained on.
        findings: what a user should know, the worst first.
        notes: what the reader guessed or repaired.
        quarantine: all rows with a problem, those of the reader first.
        rows: rows of the table that can be used; the facts above are about these.
        fingerprint: of the table.
        seed: of what is random in here.
    """

    counts: Counts
    reasons: tuple[Reason, ...]
    places: Places | None
    images: ImageFacts | None
    duplicates: tuple[Duplicates, ...]
    classes: Classes | None
    leakage: tuple[Leakage, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    quarantine: tuple[Problem, ...] = field(repr=False)
    rows: Integers = field(repr=False)
    fingerprint: str
    seed: int

    @property
    def errors(self) -> int:
        """Number of serious findings."""
        return sum(finding.severity is Severity.ERROR for finding in self.findings)


def audit(
    table: GeoTable,
    *,
    images: bool = True,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
    seed: int = 0,
) -> Audit:
    """Check a table: places, images, duplicates, classes, and leaks between splits.

    Every image is decoded once, in threads; those that cannot be are quarantined and take no
    part in the rest.

    Args:
        table: the images.
        images: open them; without, nothing is known about unreadable and duplicate images.
        workers: threads; by default one per CPU core.
        on_progress: called with (done, all) images.
        seed: which images a random split would hold out.
    """
    contents = look_at_all(table.images, workers, on_progress) if images else None
    rows = contents.rows if contents else np.arange(len(table))
    used = table.take(rows)
    file = contents.file if contents else None
    likes = likes_of(contents) if contents else None
    copies = _duplicates(used, file, likes, rows)
    places = places_of(used.lonlat, seed)
    classes = classes_of(used.label)
    leakage = leakage_of(used, file, likes, seed)
    quarantine = (*table.problems, *(contents.problems if contents else ()))
    findings = [
        *_findings_of_rows(table),
        *findings_of_places(places, table.problems),
        *(findings_of_images(contents) if contents else ()),
        *(finding for some in copies for finding in findings_of_duplicates(some)),
        *findings_of_classes(classes, len(used)),
        *findings_of_splits(used, leakage),
    ]
    return Audit(
        counts=_counts(used, len(quarantine)),
        reasons=reasons_of(quarantine),
        places=places,
        images=facts_of_images(contents) if contents else None,
        duplicates=copies,
        classes=classes,
        leakage=leakage,
        findings=worst_first(findings),
        notes=table.notes,
        quarantine=quarantine,
        rows=rows,
        fingerprint=table.fingerprint,
        seed=seed,
    )


def _duplicates(
    used: GeoTable, file: Integers | None, likes: csr_array | None, rows: Integers
) -> tuple[Duplicates, ...]:
    if file is None or likes is None:
        return ()
    found = same_files(used, file), same_pictures(used, file, likes)
    return tuple(duplicates.renumbered(rows) for duplicates in found)


def _findings_of_rows(table: GeoTable) -> list[Finding]:
    if not table.problems:
        return []
    message = "quarantined by the reader: see quarantine.csv"
    return [Finding(Severity.WARNING, Topic.ROWS, len(table.problems), message)]


def _counts(table: GeoTable, quarantined: int) -> Counts:
    timed = 0 if table.time is None else int((~np.isnan(table.time)).any(axis=1).sum())
    return Counts(
        images=len(table),
        quarantined=quarantined,
        with_place=int(has_place(table.lonlat).sum()),
        with_time=timed,
        with_label=int((table.labels >= 0).sum()),
        groups=_used(table.group),
        splits=_sizes(table.split),
    )


def _used(column: Categories | None) -> int:
    return 0 if column is None else len(np.unique(column.codes[column.codes >= 0]))


def _sizes(column: Categories | None) -> dict[str, int]:
    if column is None:
        return {}
    sizes = np.bincount(column.codes[column.codes >= 0], minlength=len(column.names))
    return {name: int(size) for name, size in zip(column.names, sizes, strict=True) if size}
