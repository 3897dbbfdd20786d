"""From the globe to paper and back: three projections of Snyder, Map Projections, USGS 1987.

All take degrees from a middle meridian and from the equator, ``(P, 2)``, and give points on paper
of a globe of radius one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FULL = 2 * np.sqrt(2.0)
"""Half the width of the Mollweide map."""
_ROUNDS = 20


class Projection(Protocol):
    """A way to paper and back."""

    def placed(self, away: Floats) -> Floats:
        """Points on paper, ``(P, 2)``."""

    def degrees(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Degrees from the middle meridian and the equator, NaN off the globe."""


@dataclass(frozen=True)
class Flat:
    """Equirectangular, to scale at one parallel.

    Attributes:
        squeeze: length of a degree of longitude there, of one of latitude.
    """

    squeeze: float

    def placed(self, away: Floats) -> Floats:
        """Points on paper."""
        return np.deg2rad(np.stack([self.squeeze * away[:, 0], away[:, 1]], axis=1))

    def degrees(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """The way back."""
        return np.rad2deg(x / self.squeeze), np.rad2deg(y)


class Mollweide:
    """Mollweide, equal-area."""

    def placed(self, away: Floats) -> Floats:
        """Points on paper, by the angle t of 2 t + sin 2 t = pi sin(lat) (Newton's method).

        The rounds are enough at the poles, where a root is double and each one halves the error.
        """
        lat = np.deg2rad(away[:, 1])
        goal = np.pi * np.sin(lat)
        double = 2 * np.arcsin(np.clip(2 * lat / np.pi, -1.0, 1.0))
        for _ in range(_ROUNDS):
            slope = np.maximum(1 + np.cos(double), 1e-9)
            double = np.clip(double - (double + np.sin(double) - goal) / slope, -np.pi, np.pi)
        x = _FULL * away[:, 0] / 180.0 * np.cos(double / 2)
        return np.stack([x, np.sqrt(2.0) * np.sin(double / 2)], axis=1)

    def degrees(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """The way back."""
        angle = np.arcsin(np.clip(y / np.sqrt(2.0), -1.0, 1.0))
        lat = np.arcsin(np.clip((2 * angle + np.sin(2 * angle)) / np.pi, -1.0, 1.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            lon = 180.0 * x / (_FULL * np.cos(angle))
        return np.where(np.abs(lon) <= 180.0, lon, np.nan), np.rad2deg(lat)


@dataclass(frozen=True)
class Polar:
    """Lambert azimuthal, equal-area, with a pole in the middle and the middle meridian below it.

    Attributes:
        sign: 1 for the North Pole, -1 for the South Pole.
    """

    sign: int

    def placed(self, away: Floats) -> Floats:
        """Points on paper."""
        lon, lat = np.deg2rad(away).T
        radius = 2 * np.sin((np.pi / 2 - self.sign * lat) / 2)
        down = -self.sign * radius * np.cos(lon)
        return np.stack([radius * np.sin(lon), down], axis=1)

    def degrees(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """The way back."""
        half = np.arcsin(np.clip(np.hypot(x, y) / 2, 0.0, 1.0))
        lat = self.sign * (90.0 - np.rad2deg(2 * half))
        return np.rad2deg(np.arctan2(x, -self.sign * y)), lat
