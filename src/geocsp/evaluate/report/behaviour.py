"""How one row of the table behaves: how sure it is, where it is right and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from geocsp.evaluate.answers import Answers
from geocsp.evaluate.breakdown import Slice, by_confidence, by_distance, by_group
from geocsp.evaluate.reliability import Reliability, reliability
from geocsp.evaluate.report.drawing import (
    MEASURE_COLOURS,
    SOFT,
    Picture,
    data_uri,
    panel,
    shortened,
)
from geocsp.evaluate.report.grids import Grid, Value
from geocsp.evaluate.report.metrics import NONE, Metric
from geocsp.evaluate.report.pooled import Shown, pooled, runs_of
from geocsp.evaluate.report.source import settings_line
from geocsp.evaluate.report.view import MEASURE_TITLES, Estimate, Side, View
from geocsp.evaluate.results import Measure
from geocsp.evaluate.risk_coverage import RiskCoverage, risk_coverage

_BINS = 10
_POINTS = 300
"""Points of a curve."""
_MOST_GROUPS = 24
"""Groups of a figure; the table has all."""


@dataclass(frozen=True, eq=False)
class Behaviour:
    """One measure of the row that is shown, over all its test rows, folds and seeds.

    Attributes:
        reliability: accuracy against confidence.
        risk: error of the most confident answers.
        slices: accuracy of parts of the test rows, by what they are parted.
    """

    reliability: Reliability
    risk: RiskCoverage
    slices: dict[str, tuple[Slice, ...]]


REGION = "region"
DISTANCE = "distance to the nearest labelled image"
CONFIDENCE = "confidence of the image alone"


def behaviours(view: View, shown: Shown) -> dict[Measure, Behaviour]:
    """All measures of the row that is shown; answers are read one measure after the other."""
    results, found = view.results, {}
    image = pooled(view, shown, Side(shown.row, Measure.IMAGE))
    for measure in Measure:
        mine = pooled(view, shown, Side(shown.row, measure))
        if mine is None:
            continue
        answers, images = mine.answers, mine.rows
        runs = runs_of(view, shown, Side(shown.row, measure))
        km = np.concatenate([results.km(run) for run in runs])
        names = [str(name) for name in results.facts["data"].get("regions", [])]
        slices = {
            REGION: by_group(answers, results.region[images], names, images=images),
            DISTANCE: by_distance(answers, km, images=images),
        }
        if image is not None and np.array_equal(image.rows, images):
            confidence = image.answers.confidence
            slices[CONFIDENCE] = by_confidence(answers, confidence, images=images)
        known = {name: parts for name, parts in slices.items() if len(parts) > 1}
        found[measure] = Behaviour(binned(answers), risk_coverage(answers), known)
    return found


def binned(answers: Answers) -> Reliability:
    """Answers in the bins of the report's reliability plots."""
    return reliability(answers, _BINS)


def certainty_pictures(
    view: View, shown: Shown, found: dict[Measure, Behaviour]
) -> Iterator[Picture]:
    """A reliability plot of each measure, and the risk-coverage curves of all."""
    settings = settings_line(view, shown.task, shown.regime, shots=[shown.shot], rows=[shown.row])
    for measure, behaviour in found.items():
        what = MEASURE_TITLES[measure].capitalize()
        yield reliability_picture({measure: behaviour.reliability}, what, settings)
    if found:
        yield _risk_picture(found, settings)


def reliability_picture(found: dict[Measure, Reliability], what: str, settings: str) -> Picture:
    """Accuracy against confidence; the area of the dots shows how many answers are in a bin.

    Args:
        found: bins by measure.
        what: whose answers they are, for the caption.
        settings: what they were made from.
    """
    figure, axes = panel(4.3, 4.3)
    axes.plot([0, 100], [0, 100], color=SOFT, linewidth=1, linestyle="--")
    for measure, bins in found.items():
        _bins(axes, measure, bins)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_aspect("equal")
    axes.set_xlabel("mean confidence, %")
    axes.set_ylabel("right answers, %")
    axes.set_title("Reliability")
    figure.legend(loc="outside lower center")
    return Picture(
        data_uri(figure),
        alt=f"Reliability plot. {what}. {' '.join(map(_bins_in_words, found, found.values()))}",
        caption=f"{what}: right answers against confidence. On the dashed line confidence is "
        "what it says; above it answers are better than they claim. Larger dots stand for more "
        f"answers. {_BINS} bins of equal width; ECE is their mean distance from the line.",
        settings=settings,
    )


def _bins(axes: Axes, measure: Measure, bins: Reliability) -> None:
    filled, colour = bins.count > 0, MEASURE_COLOURS[measure]
    confidence, accuracy = 100 * bins.confidence[filled], 100 * bins.accuracy[filled]
    label = f"{MEASURE_TITLES[measure]}: ECE {100 * bins.ece:.1f} %"
    axes.vlines(confidence, confidence, accuracy, color=colour, linewidth=2, alpha=0.35)
    axes.plot(confidence, accuracy, color=colour, linewidth=1.2, label=label)
    sizes = 14 + 260 * bins.count[filled] / bins.count.sum()
    axes.scatter(confidence, accuracy, s=sizes, color=colour, zorder=3)


def _bins_in_words(measure: Measure, bins: Reliability) -> str:
    pairs = zip(100 * bins.confidence, 100 * bins.accuracy, bins.count, strict=True)
    words = (f"{c:.0f} % sure and {a:.0f} % right" for c, a, count in pairs if count)
    return f"{MEASURE_TITLES[measure]}: {', '.join(words)}; ECE {100 * bins.ece:.1f} %."


def _risk_picture(found: dict[Measure, Behaviour], settings: str) -> Picture:
    figure, axes = panel(5.2, 4.3)
    words = []
    for measure, behaviour in found.items():
        risk = behaviour.risk
        steps = np.unique(np.linspace(0, len(risk.risk) - 1, _POINTS).round().astype(np.int64))
        axes.plot(
            100 * risk.coverage[steps],
            100 * risk.risk[steps],
            color=MEASURE_COLOURS[measure],
            label=MEASURE_TITLES[measure],
        )
        words.append(f"{MEASURE_TITLES[measure]} {100 * (1 - risk.accuracy_at(0.5)):.1f} %")
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("answers given, the most confident first, %")
    axes.set_ylabel("wrong answers among them, %")
    axes.set_title("Risk and coverage")
    figure.legend(loc="outside lower center")
    areas = ", ".join(
        f"{MEASURE_TITLES[measure]} {100 * behaviour.risk.area:.1f} %"
        for measure, behaviour in found.items()
    )
    return Picture(
        data_uri(figure),
        alt=f"Risk-coverage curves. Wrong among the most confident half: {', '.join(words)}.",
        caption="Wrong answers if only the most confident are given; lower is better. Mean over "
        f"all coverages (AURC): {areas}.",
        settings=settings,
    )


def slice_pictures(view: View, shown: Shown, found: dict[Measure, Behaviour]) -> Iterator[Picture]:
    """Accuracy by region, by distance to the nearest label and by confidence of the image."""
    settings = settings_line(view, shown.task, shown.regime, shots=[shown.shot], rows=[shown.row])
    for kind in _kinds(found):
        yield _slice_picture(kind, found, settings)


def _kinds(found: dict[Measure, Behaviour]) -> list[str]:
    return list(dict.fromkeys(kind for behaviour in found.values() for kind in behaviour.slices))


def _slice_picture(kind: str, found: dict[Measure, Behaviour], settings: str) -> Picture:
    counts = {part.name: part.count for b in found.values() for part in b.slices.get(kind, ())}
    largest = sorted(counts, key=lambda name: -counts[name])[:_MOST_GROUPS]
    names = [name for name in counts if name in largest]
    figure, axes = panel(5.6, 2.0 + 0.34 * len(names))
    step = 0.62 / len(found)
    for number, (measure, behaviour) in enumerate(found.items()):
        parts = [part for part in behaviour.slices.get(kind, ()) if part.name in largest]
        where = [names.index(part.name) + (number - (len(found) - 1) / 2) * step for part in parts]
        _dots(axes, np.array(where), parts, measure)
    axes.set_yticks(range(len(names)), [f"{shortened(n, 30)} ({counts[n]:,})" for n in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("Top-1, %")
    axes.set_title(f"By {kind}")
    figure.legend(loc="outside lower center")
    rest = len(counts) - len(names)
    return Picture(
        data_uri(figure),
        alt=f"Top-1 accuracy by {kind}: {_in_words(kind, names, found)}.",
        caption=f"Top-1 accuracy by {kind}, with the number of test images, and 95 % intervals "
        "for images taken as independent."
        + (f" The {rest} smallest are left out." if rest else ""),
        settings=settings,
    )


def _dots(axes: Axes, where: NDArray[np.float64], parts: Sequence[Slice], measure: Measure) -> None:
    top1, low, high = (
        100 * np.array([getattr(part, name) for part in parts]) for name in ("top1", "low", "high")
    )
    colour = MEASURE_COLOURS[measure]
    axes.hlines(where, low, high, color=colour, alpha=0.45, linewidth=1.6)
    axes.plot(top1, where, "o", color=colour, markersize=4.2, label=MEASURE_TITLES[measure])


def _in_words(kind: str, names: list[str], found: dict[Measure, Behaviour]) -> str:
    by_measure = {
        measure: {part.name: part.top1 for part in behaviour.slices.get(kind, ())}
        for measure, behaviour in found.items()
    }
    return "; ".join(
        f"{name}: "
        + ", ".join(
            f"{MEASURE_TITLES[measure]} {100 * top1[name]:.0f} %"
            for measure, top1 in by_measure.items()
            if name in top1
        )
        for name in names
    )


def slice_grids(shown: Shown, label: str, found: dict[Measure, Behaviour]) -> Iterator[Grid]:
    """The numbers of the breakdowns as tables."""
    for kind in _kinds(found):
        rows: dict[str, dict[Measure, Slice]] = {}
        for measure, behaviour in found.items():
            for part in behaviour.slices.get(kind, ()):
                rows.setdefault(part.name, {})[measure] = part
        yield Grid(
            f"Top-1 by {kind}: {shown.task}, {label}; labels {shown.shot}",
            (kind, "images", *(MEASURE_TITLES[measure] for measure in found)),
            tuple(
                (
                    name,
                    f"{next(iter(parts.values())).count:,}",
                    *(_value(parts.get(measure)) for measure in found),
                )
                for name, parts in rows.items()
            ),
        )


def _value(part: Slice | None) -> Value:
    if part is None:
        return Value(NONE)
    found = Estimate(part.top1, part.low, part.high)
    return Value(Metric.TOP1.text(found.mean), Metric.TOP1.range(found.low, found.high))
