"""How a window of the globe is laid out on paper.

A wide window is in an equal-area projection: Mollweide with its middle meridian in the middle, or
around a pole if it is near one. A narrow window has longitude and latitude as axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geocsp.maps.grid import Grid
from geocsp.maps.natural_earth import Line
from geocsp.maps.projections import Flat, Floats, Mollweide, Polar, Projection

_WIDE = 120.0
_TALL = 100.0
_POLAR = 45.0
"""A wide window beyond this latitude is drawn around the pole."""
_EDGE_POINTS = 181
_STEPS = (*(s * 10.0**p for p in range(-4, 0) for s in (1, 2, 5)), 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
"""Between meridians, degrees."""
_LINES = 6


@dataclass(frozen=True)
class View:
    """A window of the globe on paper.

    Attributes:
        grid: whose window it is.
    """

    grid: Grid

    @cached_property
    def projection(self) -> Projection:
        """How it comes to paper."""
        south, north = self.grid.south, self.grid.north
        if self._width <= _WIDE and north - south <= _TALL:
            squeeze = np.cos(np.deg2rad((south + north) / 2))
            return Flat(max(float(squeeze), 0.1))
        if south >= _POLAR or north <= -_POLAR:
            return Polar(1 if south > 0 else -1)
        return Mollweide()

    @property
    def degrees(self) -> float:
        """The longer side, degrees."""
        return max(self._width, self.grid.north - self.grid.south)

    @property
    def centre(self) -> float:
        """Longitude of the middle."""
        return (self.grid.west + self.grid.east) / 2

    @cached_property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top on paper."""
        edge = self.frame
        (left, bottom), (right, top) = edge.min(axis=0), edge.max(axis=0)
        return float(left), float(right), float(bottom), float(top)

    @cached_property
    def frame(self) -> Floats:
        """Closed line around the window, ``(P, 2)`` on paper."""
        west, south, east, north = self.grid.bounds
        if isinstance(self.projection, Polar) and self._width >= 360:
            return self.parallel(south if self.projection.sign > 0 else north)
        along = np.linspace(0, 1, _EDGE_POINTS)
        lon, lat = west + along * (east - west), south + along * (north - south)
        sides = (
            (lon, np.full_like(lon, south)),
            (np.full_like(lat, east), lat),
            (lon[::-1], np.full_like(lon, north)),
            (np.full_like(lat, west), lat[::-1]),
        )
        corners = np.concatenate([np.stack(side, axis=1) for side in sides])
        return self.projection.placed(corners - np.array([self.centre, 0.0]))

    @property
    def aspect(self) -> float:
        """Width over height on paper."""
        left, right, bottom, top = self.extent
        return (right - left) / (top - bottom)

    def cells(self, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Which cell of the grid is at every pixel of a picture of the view.

        Args:
            width: of the picture, pixels.

        Returns:
            Rows, columns and whether there is a cell, each ``(height, width)``.
        """
        left, right, bottom, top = self.extent
        height = max(1, round(width / self.aspect))
        x = left + (np.arange(width) + 0.5) / width * (right - left)
        y = top - (np.arange(height) + 0.5) / height * (top - bottom)
        lon, lat = self.projection.degrees(*np.meshgrid(x, y))
        rows, columns = self.grid.shape
        row = np.floor((self.grid.north - lat) / self.grid.step)
        column = np.floor((lon + self.centre - self.grid.west) / self.grid.step)
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        inside &= np.isfinite(lon)
        row, column = np.where(inside, row, 0), np.where(inside, column, 0)
        return row.astype(np.int64), column.astype(np.int64), inside

    def lines(self, lines: Sequence[Line]) -> list[Floats]:
        """Lines of longitude and latitude on paper, cut where they leave it on the other side.

        Those outside the window are among them, outside the frame.
        """
        ends = np.cumsum([len(line) for line in lines])[:-1]
        whole = np.concatenate([np.empty((0, 2)), *lines])
        lon = (whole[:, 0] - self.centre + 180.0) % 360.0 - 180.0
        leaps = np.flatnonzero(np.abs(np.diff(lon)) > 180.0) + 1
        placed = self.projection.placed(np.stack([lon, whole[:, 1]], axis=1))
        return np.split(placed, np.union1d(ends, leaps).astype(np.int64))

    def graticule(self) -> tuple[list[float], list[float]]:
        """Meridians and parallels worth drawing inside the window, degrees."""
        step = next((s for s in _STEPS if self.degrees / s <= _LINES), _STEPS[-1])
        west, south, east, north = self.grid.bounds
        return _multiples(step, west, east), _multiples(step, south, north)

    def meridian(self, lon: float) -> Floats:
        """A meridian on paper from the southern to the northern edge."""
        lat = np.linspace(self.grid.south, self.grid.north, _EDGE_POINTS)
        return self.projection.placed(np.stack([np.full_like(lat, lon - self.centre), lat], axis=1))

    def parallel(self, lat: float) -> Floats:
        """A parallel on paper from the western to the eastern edge."""
        lon = np.linspace(self.grid.west, self.grid.east, _EDGE_POINTS) - self.centre
        return self.projection.placed(np.stack([lon, np.full_like(lon, lat)], axis=1))

    @property
    def _width(self) -> float:
        return self.grid.east - self.grid.west


def _multiples(step: float, low: float, high: float) -> list[float]:
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [round(float(n) * step, 9) for n in np.arange(first, last + 1)]
