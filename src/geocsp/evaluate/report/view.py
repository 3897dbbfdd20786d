"""What stands in results.json, found by task, amount of labels, row, regime and measure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from geocsp.evaluate.report.metrics import Metric
from geocsp.evaluate.results import Measure, Regime, Results, Run

Cell = dict[str, Any]

MEASURE_TITLES = {
    Measure.IMAGE: "image alone",
    Measure.LOCATION: "place alone",
    Measure.PRODUCT: "image and place, plain product",
    Measure.FUSED: "image and place, calibrated",
    Measure.GUARDED: "image and place, calibrated and guarded",
}
"""What the measures are called for people."""
REGIME_TITLES = {
    Regime.INDUCTIVE: "pre-trained on training images alone",
    Regime.TRANSDUCTIVE: "pre-trained on all images without labels, test images included",
    Regime.NONE: "without pre-training",
}
"""What the regimes are called for people."""
_LEADING = (Measure.GUARDED, Measure.FUSED, Measure.PRODUCT, Measure.IMAGE, Measure.LOCATION)


@dataclass(frozen=True)
class Estimate:
    """A metric of a cell.

    Attributes:
        mean: over runs.
        low: lower end of its 95 % interval, None without one, as of a single run.
        high: upper end.
    """

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Compared:
    """A paired comparison of two rows, or of two measures of one, on Top-1.

    Attributes:
        difference: first minus second, a share.
        low: lower end of its 95 % interval, None without one.
        high: upper end.
        p: corrected for the comparisons made with it, None if it was not tested.
        significant: whether that is below the level.
        folds_won: folds in which the first is better.
        folds: of so many.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    significant: bool
    folds_won: int | None
    folds: int | None

    def swapped(self) -> Compared:
        """The same seen from the second; folds may be even, so none are counted."""
        low, high = self.high, self.low
        return replace(
            self,
            difference=-self.difference,
            low=None if low is None else -low,
            high=None if high is None else -high,
            folds_won=None,
        )


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a row by its short name, and a measure."""

    row: str
    measure: Measure


class View:
    """Results by key.

    Attributes:
        results: the results.
        rows: labels of the rows by short name, in order.
        baseline: short name of the row that relative gains refer to, None without one.
    """

    def __init__(self, results: Results) -> None:
        facts = results.facts
        self.results = results
        self._cells: dict[tuple[str, str, str, str], Cell] = {
            (cell["task"], cell["shot"], cell["row"], cell["regime"]): cell
            for cell in facts.get("table", [])
        }
        named = {name: str(row.get("label", name)) for name, row in facts.get("rows", {}).items()}
        self.rows = named | {key[2]: key[2] for key in self._cells if key[2] not in named}
        baseline = facts.get("baseline")
        self.baseline: str | None = baseline if baseline in self.rows else None
        self._compared = _by_key(facts.get("comparisons", []))

    @property
    def tasks(self) -> list[str]:
        """Tasks with numbers, in order."""
        named = list(self.results.facts["data"]["tasks"])
        return sorted({key[0] for key in self._cells}, key=named.index)

    def shots(self, task: str) -> list[str]:
        """Amounts of labels of a task, in order."""
        named = list(self.results.facts["data"].get("shots", []))
        found = list(dict.fromkeys(key[1] for key in self._cells if key[0] == task))
        return [shot for shot in named if shot in found] + [s for s in found if s not in named]

    def regimes(self, task: str) -> list[Regime]:
        """Regimes of a task that have tables of their own; rows without one are in all of them."""
        found = {Regime(key[3]) for key in self._cells if key[0] == task}
        return [regime for regime in Regime if regime in found - {Regime.NONE}] or [Regime.NONE]

    def measures(self, task: str) -> list[Measure]:
        """Measures of a task, in order."""
        cells = [cell for key, cell in self._cells.items() if key[0] == task]
        return [measure for measure in Measure if any(measure in cell for cell in cells)]

    def cell(self, task: str, shot: str, row: str, regime: Regime) -> Cell | None:
        """The cell of a row in the tables of a regime."""
        own = self._cells.get((task, shot, row, regime))
        return own or self._cells.get((task, shot, row, Regime.NONE))

    def rows_of(self, task: str) -> list[str]:
        """Rows with numbers for a task, in order."""
        found = {key[2] for key in self._cells if key[0] == task}
        return [row for row in self.rows if row in found]

    def cells_of(self, row: str) -> list[Cell]:
        """All cells of a row."""
        return [cell for key, cell in self._cells.items() if key[2] == row]

    def has_place(self, task: str, row: str) -> bool:
        """Whether a row says anything but what the image alone says."""
        cells = [cell for key, cell in self._cells.items() if (key[0], key[2]) == (task, row)]
        return any(m in cell for cell in cells for m in Measure if m is not Measure.IMAGE)

    def shown(self, task: str, row: str, measure: Measure) -> Measure | None:
        """Which measure of a row stands in the table of a measure.

        Rows that look at the image alone stand in all tables but that of the place alone.
        """
        if self.has_place(task, row) or measure is Measure.IMAGE:
            return measure
        return None if measure is Measure.LOCATION else Measure.IMAGE

    def estimate(
        self, task: str, shot: str, side: Side, regime: Regime, metric: Metric = Metric.TOP1
    ) -> Estimate | None:
        """A metric of a row and measure in the tables of a regime, None if it was not measured."""
        cell = self.cell(task, shot, side.row, regime) or {}
        value = cell.get(side.measure, {}).get(metric)
        if value is None or value.get("mean") is None:
            return None
        if value.get("runs") == 1:
            return Estimate(value["mean"], None, None)
        return Estimate(value["mean"], value.get("low"), value.get("high"))

    def compared(
        self, task: str, shot: str, regime: Regime, first: Side, second: Side
    ) -> Compared | None:
        """The comparison of two sides, whichever came first when it was made; None without one."""
        for kind in dict.fromkeys((regime, self._own_regime(task, shot, first, second, regime))):
            found = self._compared.get((task, shot, kind, first, second))
            if found is not None:
                return found
            found = self._compared.get((task, shot, kind, second, first))
            if found is not None:
                return found.swapped()
        return None

    def _own_regime(
        self, task: str, shot: str, first: Side, second: Side, regime: Regime
    ) -> Regime:
        """No regime where comparisons of two rows say nothing of pre-training on test images."""
        kinds = {
            cell["regime"]
            for side in (first, second)
            if (cell := self.cell(task, shot, side.row, regime)) is not None
        }
        return regime if Regime.TRANSDUCTIVE in kinds else Regime.NONE

    def gain(
        self, task: str, shot: str, side: Side, base: Side | None, regime: Regime
    ) -> float | None:
        """Relative gain in Top-1 against another row, None without one or for that row itself."""
        if base is None or base.row == side.row:
            return None
        own = self.estimate(task, shot, side, regime)
        other = self.estimate(task, shot, base, regime)
        return own.mean / other.mean - 1 if own and other and other.mean else None

    def base(self, task: str, measure: Measure) -> Side | None:
        """What the baseline row shows in the table of a measure."""
        if self.baseline is None:
            return None
        shown = self.shown(task, self.baseline, measure)
        return None if shown is None else Side(self.baseline, shown)

    def runs(self, task: str, shot: str, row: str, regime: Regime) -> list[Run]:
        """Runs behind a cell."""
        cell = self.cell(task, shot, row, regime)
        if cell is None:
            return []
        key = (task, shot, row, cell["regime"])
        return [r for r in self.results.runs if (r.task, r.shot, r.row, r.regime) == key]

    def sides(self, task: str, shot: str, regime: Regime) -> list[Side]:
        """All rows and measures with a Top-1, best first; of equal ones the first in the table."""
        measured = [
            (side, found.mean)
            for row in self.rows
            for side in (Side(row, measure) for measure in Measure)
            if (found := self.estimate(task, shot, side, regime)) is not None
        ]
        return [side for side, _ in sorted(measured, key=lambda pair: -pair[1])]

    def leading(self, task: str, row: str) -> Measure:
        """The measure that stands for a row: guarded, or the next best thing it has."""
        cells = [cell for key, cell in self._cells.items() if (key[0], key[2]) == (task, row)]
        return next(m for m in _LEADING if any(m in cell for cell in cells))

    def name(self, side: Side) -> str:
        """A side for people."""
        return f"{self.rows[side.row]} ({MEASURE_TITLES[side.measure]})"

    def labels(self, task: str, shot: str) -> float:
        """Mean number of labelled images."""
        cells = [cell for key, cell in self._cells.items() if key[:2] == (task, shot)]
        return sum(float(cell["labels"]) for cell in cells) / len(cells)


def kind_of(shot: str) -> str:
    """What an amount of labels counts, as "%" or "per class": its label without the number."""
    return " ".join(re.sub(r"[\d.]+", "", shot).split())


def _by_key(records: Iterable[Cell]) -> dict[tuple[str, str, Regime, Side, Side], Compared]:
    return {
        (
            record["task"],
            record["shot"],
            Regime(record["regime"]),
            Side(record["first"], Measure(record["measure"])),
            Side(record["second"], Measure(record["against"])),
        ): Compared(
            difference=record["difference"],
            low=record.get("low"),
            high=record.get("high"),
            p=record.get("p_corrected"),
            significant=bool(record.get("significant")),
            folds_won=record.get("folds_won"),
            folds=record.get("folds"),
        )
        for record in records
    }
