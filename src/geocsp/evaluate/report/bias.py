"""Geo-bias scores of the rows of a table."""

from __future__ import annotations

import math

from geocsp.evaluate.geo_bias import geo_bias
from geocsp.evaluate.intervals import interval
from geocsp.evaluate.report.grids import Grid, GridRow, Value, label_value
from geocsp.evaluate.report.pooled import Shown, runs_of
from geocsp.evaluate.report.view import MEASURE_TITLES, Side, View
from geocsp.evaluate.results import Measure, Run

_RADIUS_KM = 100.0
_CENTRES = 300


def bias_grid(view: View, shown: Shown) -> Grid | None:
    """Marked and unmarked scores of each row's leading measure and of the image alone.

    Means over folds, with the first seed of each. None if no row has failures with a place.
    """
    rows: list[GridRow] = []
    sides = [Side(row, view.leading(shown.task, row)) for row in view.rows_of(shown.task)]
    for side in dict.fromkeys((Side(shown.row, Measure.IMAGE), *sides)):
        scores = _scores(view, shown, side)
        if scores:
            values = [_value([score[n] for score in scores]) for n in range(2)]
            rows.append((label_value(view, side.row), MEASURE_TITLES[side.measure], *values))
    if not rows:
        return None
    return Grid(
        f"Geo-bias scores, nats: {shown.task}; labels {shown.shot}",
        ("row", "answers of", "marked", "unmarked"),
        tuple(rows),
        texts=(0, 1),
        note="How far from chance right and wrong answers (marked), or test images (unmarked), lie "
        f"around the places of wrong answers, within {_RADIUS_KM:g} km, after TorchSpatial (Wu et "
        f"al., NeurIPS 2024); lower is better. At most {_CENTRES} wrong answers of each fold, "
        "drawn at random, first seed; 95 % intervals over folds.",
    )


def _scores(view: View, shown: Shown, side: Side) -> list[tuple[float, float]]:
    """Marked and unmarked score of each fold in which there are any."""
    results = view.results
    folds: dict[str, Run] = {}
    for run in runs_of(view, shown, side):
        folds.setdefault(run.fold, run)
    found = []
    for run in folds.values():
        hits, places = (
            results.answers(run, side.measure).hits(1),
            results.lonlat[results.test_rows(run)],
        )
        bias = geo_bias(hits, places, radius_km=_RADIUS_KM, centres=_CENTRES)
        found.append((bias.marked, bias.unmarked))
    return [scores for scores in found if not any(map(math.isnan, scores))]


def _value(scores: list[float]) -> Value:
    found = interval(scores)
    small = "" if found.half_width is None else f"{found.low:.2f} to {found.high:.2f}"
    return Value(f"{found.mean:.2f}", small)
