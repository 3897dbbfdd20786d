"""What an evaluation found, in sentences made from its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from geocsp.evaluate.report.metrics import p_text, percent
from geocsp.evaluate.report.pooled import Shown
from geocsp.evaluate.report.view import MEASURE_TITLES, Compared, Estimate, Side, View
from geocsp.evaluate.results import Measure, Regime

_PLACED = (Measure.GUARDED, Measure.FUSED, Measure.PRODUCT)


def winners(view: View, task: str, regime: Regime) -> Iterator[str]:
    """Which row wins how often, then for each amount of labels by how much, and how sure it is."""
    best = {shot: sides for shot in view.shots(task) if (sides := view.sides(task, shot, regime))}
    wins = Counter(sides[0].row for sides in best.values())
    counts = ", ".join(f"{view.rows[row]} {count}" for row, count in wins.most_common())
    if wins:
        yield f"Highest Top-1, by number of columns of the tables (of {len(best)}): {counts}."
    for shot, sides in best.items():
        yield _winner(view, task, shot, regime, sides)


def _winner(view: View, task: str, shot: str, regime: Regime, sides: list[Side]) -> str:
    first = sides[0]
    best = _estimate(view, task, shot, first, regime)
    base = view.base(task, first.measure)
    rival = next((side for side in sides if side.row != first.row), None)
    text = (
        f"{shot} ({view.labels(task, shot):,.0f} labels): {view.name(first)} is highest with "
        f"{percent(best.mean)}{_interval(best)}."
    )
    if base is not None and base.row == first.row:
        text += " It is the baseline row itself."
    elif base is not None:
        text += _against(view, task, shot, regime, first, base, "the baseline row")
    if rival is not None and rival != base:
        text += _against(view, task, shot, regime, first, rival, "the next row")
    return text


def _against(
    view: View, task: str, shot: str, regime: Regime, first: Side, second: Side, what: str
) -> str:
    other = view.estimate(task, shot, second, regime)
    if other is None:
        return ""
    apart = _estimate(view, task, shot, first, regime).mean - other.mean
    return (
        f" That is {100 * apart:.1f} points above {what}, {view.name(second)}: "
        f"{_verdict(view.compared(task, shot, regime, first, second))}."
    )


def _verdict(found: Compared | None) -> str:
    """Whether a difference is significant, in words."""
    if found is None or found.p is None:
        return "this was not tested"
    folds = (
        f", better on {found.folds_won} of {found.folds} folds"
        if found.folds_won is not None and found.folds is not None
        else ""
    )
    return f"{'significant' if found.significant else 'not significant'} ({p_text(found.p)}{folds})"


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" (95 % interval {100 * found.low:.1f} to {100 * found.high:.1f})"


def _estimate(view: View, task: str, shot: str, side: Side, regime: Regime) -> Estimate:
    found = view.estimate(task, shot, side, regime)
    assert found is not None  # sides are those that were measured
    return found


def harm(view: View, task: str, regime: Regime) -> Iterator[str]:
    """Whether the place has hurt: each fused measure against the image alone of the same row."""
    for measure in _PLACED:
        counts: Counter[str] = Counter()
        for shot in view.shots(task):
            for row in view.rows:
                found = view.compared(
                    task, shot, regime, Side(row, measure), Side(row, Measure.IMAGE)
                )
                if found is not None and found.p is not None:
                    counts[_kind(found)] += 1
        if counts:
            yield (
                f"{MEASURE_TITLES[measure].capitalize()}, against the image alone of the same row, "
                f"in {sum(counts.values())} cells: {counts['better']} significantly better, "
                f"{counts['even']} without a significant difference, {counts['worse']} "
                "significantly worse."
            )


def _kind(found: Compared) -> str:
    if not found.significant:
        return "even"
    return "better" if found.difference > 0 else "worse"


def chosen(
    view: View, task: str, regime: Regime, row: str | None = None, shot: str | None = None
) -> Shown:
    """What the figures of a task show.

    Left to itself, the amount of labels in the middle, and the row that is highest there; of rows
    with a place if there are any.
    """
    shots = view.shots(task)
    shot = (
        shot
        if shot in shots
        else sorted(shots, key=lambda s: view.labels(task, s))[(len(shots) - 1) // 2]
    )
    if row not in view.rows or view.cell(task, shot, str(row), regime) is None:
        sides = view.sides(task, shot, regime)
        placed = [side for side in sides if side.measure in _PLACED]
        row = (placed or sides)[0].row
    assert row is not None
    return Shown(task, regime, shot, row, view.leading(task, row))
