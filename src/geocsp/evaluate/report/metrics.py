"""The metrics of a table: what they are called, which way is better, how they are written."""

from __future__ import annotations

from enum import StrEnum

NONE = "–"
"""Stands where there is no number."""


class Metric(StrEnum):
    """A metric of a cell, in the order of the tables."""

    TOP1 = "top1"
    TOP3 = "top3"
    TOP5 = "top5"
    TOP10 = "top10"
    MRR = "mrr"
    MACRO_F1 = "macro_f1"
    BALANCED_ACCURACY = "balanced_accuracy"
    NLL = "nll"
    ECE = "ece"

    @property
    def name_shown(self) -> str:
        """What people call it."""
        return _TITLES[self]

    @property
    def is_percent(self) -> bool:
        """Whether it is a share, and written in percent."""
        return self not in (Metric.MRR, Metric.NLL)

    @property
    def heading(self) -> str:
        """Its title with the unit."""
        return f"{self.name_shown}, %" if self.is_percent else self.name_shown

    @property
    def lower_is_better(self) -> bool:
        """Whether less of it is better."""
        return self in (Metric.NLL, Metric.ECE)

    def text(self, value: float | None) -> str:
        """A value as it stands in a table."""
        if value is None:
            return NONE
        return f"{100 * value:.1f}" if self.is_percent else f"{value:.3f}"

    def range(self, low: float | None, high: float | None) -> str:
        """An interval as it stands in a table, "" if there is none."""
        return "" if low is None or high is None else f"{self.text(low)} to {self.text(high)}"


_TITLES = {
    Metric.TOP1: "Top-1",
    Metric.TOP3: "Top-3",
    Metric.TOP5: "Top-5",
    Metric.TOP10: "Top-10",
    Metric.MRR: "MRR",
    Metric.MACRO_F1: "macro F1",
    Metric.BALANCED_ACCURACY: "balanced accuracy",
    Metric.NLL: "NLL",
    Metric.ECE: "ECE",
}


def seconds_text(seconds: float | None) -> str:
    """Wall time, such as 0.4 s, 12 s, 3 min 20 s or 2 h 5 min."""
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, noun: str) -> str:
    """A number of things, such as 1 fold or 2 folds."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(value: float) -> str:
    """A share in percent with one digit, such as 63.1 %."""
    return f"{100 * value:.1f} %"


def points(difference: float) -> str:
    """A difference of shares in percentage points, such as +4.2; never -0.0."""
    value = round(100 * difference, 1) + 0.0
    return "0.0" if value == 0 else f"{value:+.1f}"


def p_text(p: float | None) -> str:
    """A p value, such as p = 0.03 or p < 0.001."""
    if p is None:
        return "no p value"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
