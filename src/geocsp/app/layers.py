"""Layers of the map: what is shown, and in which colours."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geocsp.app import colours
from geocsp.app.answers import Legend
from geocsp.maps.quantities import Colours, Quantity

_LEGEND_STEPS = 9
_NICE = (1.0, 0.5, 0.2)
_LEAST = 1e-6
_COLOUR_STEPS = 2.0
"""Colours are whole numbers, so that what lies between two of them is off by one anyway."""


@dataclass(frozen=True, eq=False)
class Painted:
    """A layer.

    Attributes:
        title: what it shows, for people.
        of: numbers at ``(N, 2)`` places, ``(N,)``, or their colours ``(N, 3)`` uint8.
        limits: ends of the scale; None for colours.
        unit: of the numbers.
        scale: ``(256, 4)`` RGBA from one end to the other; None for colours.
    """

    title: str
    of: Callable[[Tensor], NDArray[Any]]
    limits: tuple[float, float] | None = None
    unit: str = ""
    scale: NDArray[np.uint8] | None = None

    @property
    def tolerance(self) -> float:
        """What the eye does not see: one step of the scale."""
        if self.limits is None:
            return _COLOUR_STEPS
        return (self.limits[1] - self.limits[0]) / (colours.STEPS - 1)

    def paint(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """RGBA ``(height, width, 4)`` of values ``(height, width)``, or of colours."""
        if self.scale is None or self.limits is None:
            return colours.with_alpha(np.rint(values).astype(np.uint8))
        painted: NDArray[np.uint8] = self.scale[colours.levels(values, *self.limits)]
        return painted

    def legend(self) -> Legend:
        """What the colours mean."""
        low, high = self.limits or (None, None)
        shown = []
        if self.scale is not None:
            steps = np.linspace(0, colours.STEPS - 1, _LEGEND_STEPS).round().astype(int)
            shown = [colours.hexadecimal(self.scale[step]) for step in steps]
        return Legend(title=self.title, low=low, high=high, unit=self.unit, colours=shown)


def class_layer(quantity: Quantity, peak: float) -> Painted:
    """Where a class is likely.

    Args:
        quantity: its probability.
        peak: the highest one anywhere; the scale ends at the next round number.
    """
    high = nice_above(peak)
    return _numbers(quantity, (0.0, high), colours.fading())


def uncertainty_layer(quantity: Quantity) -> Painted:
    """Where the model is undecided."""
    return _numbers(quantity, quantity.limits, colours.opaque())


def embedding_layer(found: Colours) -> Painted:
    """Embeddings as colours."""
    return Painted(found.title, lambda lonlat: found.of(lonlat).numpy())


def similar_layer(quantity: Quantity, usual: float) -> Painted:
    """How much places are like one.

    Args:
        quantity: the similarity.
        usual: of any two places, where the scale begins.
    """
    low = min(math.floor(usual * 20) / 20, 0.95)
    return _numbers(quantity, (low, 1.0), colours.fading())


def _numbers(quantity: Quantity, limits: tuple[float, float], scale: NDArray[np.uint8]) -> Painted:
    def of(lonlat: Tensor) -> NDArray[Any]:
        return quantity.of(lonlat).numpy()

    return Painted(quantity.title, of, limits, quantity.unit, scale)


def nice_above(peak: float) -> float:
    """The least of 1, 0.5, 0.2, 0.1, 0.05 and so on that is not below a probability."""
    found, power = 1.0, 1.0
    while power > _LEAST:
        for nice in _NICE:
            if nice * power < peak:
                return found
            found = nice * power
        power /= 10
    return found
