"""Label efficiency out of the run folder of an evaluation."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from geocsp.app.answers import Curve, CurvePoint, Report, TaskCurves
from geocsp.evaluate.results import Measure, Regime, Results

_METRIC = "top1"


def curves_of(folder: Path) -> Report:
    """Top-1 against the number of labels, for each task and measure.

    Raises:
        DataError: the folder holds no finished evaluation.
    """
    facts = Results.read(folder).facts
    rows = {name: str(row.get("label", name)) for name, row in facts.get("rows", {}).items()}
    points: dict[tuple[str, str], dict[tuple[str, str], list[CurvePoint]]] = defaultdict(dict)
    for cell in facts.get("table", []):
        for measure in Measure:
            found = cell.get(measure, {}).get(_METRIC)
            if found is None:
                continue
            key = cell["row"], cell["regime"]
            points[cell["task"], measure].setdefault(key, []).append(
                CurvePoint(
                    shot=cell["shot"],
                    labels=cell["labels"],
                    mean=found["mean"],
                    low=found["low"],
                    high=found["high"],
                )
            )
    return Report(
        tasks=[
            TaskCurves(
                task=task,
                measure=measure,
                curves=[
                    Curve(
                        row=f"{row}{_told(regime)}",
                        label=f"{rows.get(row, row)}{_told(regime)}",
                        points=sorted(found, key=lambda point: point.labels),
                    )
                    for (row, regime), found in curves.items()
                ],
            )
            for (task, measure), curves in points.items()
        ]
    )


def _told(regime: str) -> str:
    """What tells the rows of a regime from those of the usual one."""
    return f" ({regime})" if regime == Regime.TRANSDUCTIVE else ""
