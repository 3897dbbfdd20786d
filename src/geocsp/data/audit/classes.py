"""How many images each class has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocsp.data.audit.findings import Finding, Severity, Topic
from geocsp.data.table import Categories

FEW_ROWS = 5
"""A class with fewer images than this can hardly be split, learned and tested."""
_SHOWN = 5
_UNEVEN = 100
_TOO_MANY = 0.5
_ENOUGH = 20


@dataclass(frozen=True)
class ClassSize:
    """One class.

    Attributes:
        name: its name.
        rows: its images.
    """

    name: str
    rows: int


@dataclass(frozen=True)
class Classes:
    """Balance of the classes that have images.

    Attributes:
        count: number of classes.
        unlabelled: images without a class.
        smallest: images of the smallest class.
        median: images of the class in the middle.
        largest: images of the largest class.
        rare: classes with fewer than five images.
        rare_rows: images of these.
        imbalance: largest over smallest.
        most: the largest classes.
        least: the smallest classes that are not among the largest.
    """

    count: int
    unlabelled: int
    smallest: int
    median: float
    largest: int
    rare: int
    rare_rows: int
    imbalance: float
    most: tuple[ClassSize, ...]
    least: tuple[ClassSize, ...]


def classes_of(label: Categories | None) -> Classes | None:
    """Count the images of every class; None if no image has one."""
    if label is None or not (label.codes >= 0).any():
        return None
    sizes = np.bincount(label.codes[label.codes >= 0], minlength=len(label.names))
    order = [int(n) for n in np.argsort(-sizes, kind="stable") if sizes[n]]
    ranked = [ClassSize(label.names[n], int(sizes[n])) for n in order]
    present = sizes[order]
    return Classes(
        count=len(order),
        unlabelled=int((label.codes < 0).sum()),
        smallest=int(present.min()),
        median=float(np.median(present)),
        largest=int(present.max()),
        rare=int((present < FEW_ROWS).sum()),
        rare_rows=int(present[present < FEW_ROWS].sum()),
        imbalance=float(present.max() / present.min()),
        most=tuple(ranked[:_SHOWN]),
        least=tuple(ranked[max(_SHOWN, len(ranked) - _SHOWN) :]),
    )


def findings_of_classes(classes: Classes | None, rows: int) -> list[Finding]:
    """What is wrong with the classes of so many rows."""
    if classes is None:
        return []
    labelled = rows - classes.unlabelled
    found = []
    if classes.count == 1:
        message = f"all of one class, {classes.most[0].name!r}: there is nothing to tell apart"
        found.append(Finding(Severity.WARNING, Topic.CLASSES, labelled, message))
    if labelled >= _ENOUGH and classes.count > _TOO_MANY * labelled:
        message = f"of {classes.count:,} classes: is the label column really one of classes?"
        found.append(Finding(Severity.WARNING, Topic.CLASSES, labelled, message))
    if classes.rare:
        which = "1 class that has" if classes.rare == 1 else f"{classes.rare:,} classes that have"
        message = f"in the {which} fewer than {FEW_ROWS} images"
        found.append(Finding(Severity.WARNING, Topic.CLASSES, classes.rare_rows, message))
    if classes.imbalance >= _UNEVEN:
        message = f"in classes of {classes.smallest:,} to {classes.largest:,} images: uneven"
        found.append(Finding(Severity.INFO, Topic.CLASSES, labelled, message))
    if classes.unlabelled:
        message = "without a label: of use for pre-training alone"
        found.append(Finding(Severity.INFO, Topic.CLASSES, classes.unlabelled, message))
    return found
