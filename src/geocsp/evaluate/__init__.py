"""Evaluation: few-shot protocol, metrics and intervals."""

from geocsp.evaluate.fewshot import SHOTS, Accuracy, Shot, accuracy_of
from geocsp.evaluate.intervals import Interval, interval

__all__ = ["SHOTS", "Accuracy", "Interval", "Shot", "accuracy_of", "interval"]
