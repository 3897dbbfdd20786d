"""Evaluation: few-shot protocol, metrics and intervals."""

from geocsp.evaluate.answers import Answers, Ties
from geocsp.evaluate.fewshot import SHOTS, Shot
from geocsp.evaluate.intervals import Interval, interval
from geocsp.evaluate.results import Measure, Regime, Results

__all__ = [
    "SHOTS",
    "Answers",
    "Interval",
    "Measure",
    "Regime",
    "Results",
    "Shot",
    "Ties",
    "interval",
]
