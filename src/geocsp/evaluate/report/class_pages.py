"""A page for each of the most frequent classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.evaluate.report.behaviour import binned, reliability_picture
from geocsp.evaluate.report.classes import accuracies, confusions, most_frequent, support
from geocsp.evaluate.report.drawing import Picture, data_uri
from geocsp.evaluate.report.grids import Grid, GridRow, Value, estimate_value, label_value
from geocsp.evaluate.report.maps import hits_map
from geocsp.evaluate.report.metrics import NONE, Metric
from geocsp.evaluate.report.pooled import Pooled, Shown, pooled
from geocsp.evaluate.report.source import settings_line
from geocsp.evaluate.report.view import MEASURE_TITLES, Estimate, Side, View
from geocsp.evaluate.results import Measure

CLASSES_FOLDER = "classes"
_CONFUSIONS = 10
_FEWEST = 20
"""Answers that a reliability plot needs."""

Render = Callable[[str, dict[str, Any]], bytes]


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a task that get a page.

    Attributes:
        numbers: most frequent first.
        total: number of classes with test images.
        images: ``(Q,)`` test images of each class.
        accuracy: of each row and measure, by number of the class.
        answers: of the row that is shown, and of its image alone.
    """

    numbers: list[int]
    total: int
    images: NDArray[np.int64]
    accuracy: dict[Side, dict[int, Estimate]]
    answers: dict[Side, Pooled]


def classes_of(view: View, shown: Shown, most: int) -> Classes | None:
    """What the pages of at most so many classes need, None if nothing was tested."""
    sides = dict.fromkeys((shown.side, Side(shown.row, Measure.IMAGE)))
    answers = {s: said for s in sides if (said := pooled(view, shown, s)) is not None}
    if shown.side not in answers:
        return None
    images = support(answers[shown.side])
    numbers = most_frequent(images, most)
    accuracy = {
        side: found
        for row in view.rows
        for side in (Side(row, measure) for measure in Measure)
        if (found := accuracies(view, shown, side, numbers))
    }
    return Classes(numbers, int((images > 0).sum()), images, accuracy, answers)


def index_grid(view: View, shown: Shown, found: Classes, folder: str) -> Grid:
    """All classes with a page, with links to them."""
    names = view.results.facts["data"]["tasks"][shown.task]
    sides = [side for side in found.answers if side in found.accuracy]
    rows: tuple[GridRow, ...] = tuple(
        (
            Value(str(names[number]), href=f"{CLASSES_FOLDER}/{folder}/{number}.html"),
            f"{found.images[number]:,}",
            *(_accuracy(found.accuracy[side].get(number)) for side in sides),
        )
        for number in found.numbers
    )
    few = (
        f"Only the {len(rows):,} most frequent of {found.total:,} classes with test images are "
        "shown and have a page. "
        if len(rows) < found.total
        else ""
    )
    return Grid(
        f"Top-1 by class, %: {view.rows[shown.row]}; labels {shown.shot}",
        ("class", "test images", *(MEASURE_TITLES[side.measure] for side in sides)),
        rows,
        note=f"{few}Intervals take spatial blocks as the units that were sampled.",
    )


def _accuracy(found: Estimate | None) -> Value:
    return Value(NONE) if found is None else estimate_value(found)


def class_pages(
    view: View, shown: Shown, found: Classes, folder: Path, render: Render
) -> Iterator[tuple[Path, bytes]]:
    """Path and content of the page of each class."""
    names = [str(name) for name in view.results.facts["data"]["tasks"][shown.task]]
    settings = settings_line(view, shown.task, shown.regime, shots=[shown.shot])
    for number in found.numbers:
        context = {
            "title": f"{names[number]}: {shown.task}",
            "name": names[number],
            "back": "../../report.html",
            "about": f"Class {number} of {shown.task}: {found.images[number]:,} of "
            f"{int(found.images.sum()):,} test images.",
            "accuracy": _accuracy_grid(view, shown, found, number),
            "pictures": list(_pictures(view, shown, found, number, names[number])),
            "confusions": [
                _confusion_grid(view, shown, side, answers, number, names)
                for side, answers in found.answers.items()
            ],
            "settings": settings,
        }
        yield folder / f"{number}.html", render("class.html.j2", context)


def _accuracy_grid(view: View, shown: Shown, found: Classes, number: int) -> Grid:
    measures = [m for m in Measure if any(side.measure is m for side in found.accuracy)]
    rows: list[GridRow] = [
        (
            label_value(view, row),
            *(_accuracy(found.accuracy.get(Side(row, m), {}).get(number)) for m in measures),
        )
        for row in dict.fromkeys(side.row for side in found.accuracy)
    ]
    return Grid(
        f"Top-1 on this class, %; labels {shown.shot}",
        ("row", *(MEASURE_TITLES[measure] for measure in measures)),
        tuple(rows),
        note="Means over test images and seeds; 95 % intervals take spatial blocks as the units "
        "that were sampled.",
    )


def _confusion_grid(
    view: View, shown: Shown, side: Side, found: Pooled, number: int, names: Sequence[str]
) -> Grid:
    rows: tuple[GridRow, ...] = tuple(
        (
            "no answer" if one.number < 0 else names[one.number],
            Metric.TOP1.text(one.share),
            "right" if one.number == number else "",
        )
        for one in confusions(found, number, _CONFUSIONS)
    )
    return Grid(
        f"What it is taken for: {view.name(side)}; labels {shown.shot}",
        ("class", "share of its test images, %", ""),
        rows,
        texts=(0, 2),
    )


def _pictures(
    view: View, shown: Shown, found: Classes, number: int, name: str
) -> Iterator[Picture]:
    settings = settings_line(view, shown.task, shown.regime, shots=[shown.shot], rows=[shown.row])
    mine = found.answers[shown.side]
    rows, member = np.unique(mine.rows[mine.answers.labels == number], return_inverse=True)
    hits = mine.answers.hits(1)[mine.answers.labels == number]
    share = np.bincount(member, weights=hits) / np.bincount(member)
    placed = np.isfinite(view.results.lonlat[rows]).all(axis=1)
    if placed.any():
        right, count = int((share[placed] > 0.5).sum()), int(placed.sum())
        yield Picture(
            data_uri(hits_map(view.results.lonlat[rows[placed]], share[placed])),
            alt=f"Map of the test images of {name}: {right:,} of {count:,} right.",
            caption=f"Test images of {name}: blue where {view.name(shown.side)} is right, orange "
            f"where it is wrong, grey where seeds differ. {right:,} of {count:,} are right "
            "in more than half of the runs.",
            settings=settings,
            is_wide=True,
        )
    said = {
        side.measure: answers.answers.rows(answers.answers.predicted == number)
        for side, answers in found.answers.items()
    }
    bins = {measure: binned(rows) for measure, rows in said.items() if len(rows) >= _FEWEST}
    if bins:
        yield reliability_picture(bins, f"Where the answer is {name}", settings)
