"""Points on the sphere, their background and their nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocsp.data.table import Floats

_TIED = 1e-12
"""Distances that differ by less, in Earth radii (6 micrometres), are equal."""
_DENSITY = 5
"""Background points for each point, at least."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points with numbers attached; those at one place together.

    Attributes:
        vectors: ``(S, 3)`` different places on the unit sphere.
        counts: ``(S,)`` points at each.
        sums: ``(S,)`` sum of their values.
        squares: ``(S,)`` sum of the squares of their values.
    """

    vectors: Floats
    counts: Floats
    sums: Floats
    squares: Floats

    def moran(self, neighbours: int) -> float:
        """Sum of x_i x_j over all points i and their nearest others j.

        Points equally far away, such as several at one place, share what is left of the
        neighbours, so that the order of the points does not matter.

        Args:
            neighbours: of every point; fewer than there are other places.
        """
        others = np.maximum(self.counts - 1, 1)
        here = np.minimum(1.0, neighbours / others)
        left = np.maximum(neighbours - (self.counts - 1), 0)
        within = here * (self.sums**2 - self.squares)
        return float((within + self.sums * self._elsewhere(left, neighbours)).sum())

    def _elsewhere(self, left: Floats, neighbours: int) -> Floats:
        """Sum of values of the ``left`` nearest points at other places than each, ``(S,)``."""
        from scipy.spatial import cKDTree

        tree = cKDTree(self.vectors)
        found = np.zeros(len(left))
        rows, size = np.flatnonzero(left > 0), 2 * neighbours + 2
        while len(rows):
            size = min(size, len(left))
            distance, index = tree.query(self.vectors[rows], size)
            other = index != rows[:, None]
            number = np.where(other, self.counts[index], 0.0)
            last = (number.cumsum(1) >= left[rows, None]).argmax(1)
            reach = distance[np.arange(len(rows)), last]
            nearer = other & (distance < reach[:, None] - _TIED)
            level = other & (np.abs(distance - reach[:, None]) <= _TIED)
            share = (left[rows] - (number * nearer).sum(1)) / (number * level).sum(1)
            values = self.sums[index]
            found[rows] = (values * nearer).sum(1) + share * (values * level).sum(1)
            complete = (distance[:, -1] > reach + _TIED) | (size == len(left))
            rows, size = rows[~complete], 2 * size
        return found


def background(centre: Floats, count: int, radius: float) -> NDArray[np.float64]:
    """Regular points in rings around a centre, as published: ``(B, 3)`` unit vectors.

    Rings lie as far apart as points on a square grid with five points for each of ``count``; ring i
    has 2 pi i points, rounded up, the first of them in the north. There are at least as many rings
    as reach the radius, so the last may lie beyond, and at least 20 points.

    Args:
        centre: ``(3,)`` unit vector.
        count: points that are not background, at least 1.
        radius: radians.
    """
    density = math.ceil(_DENSITY * count / (math.pi * radius**2))
    step = 1 / math.sqrt(density)
    rings = np.arange(1, math.ceil(radius / step) + 1)
    sizes = np.ceil(2 * np.pi * rings).astype(np.int64)
    ring = rings.repeat(sizes)
    along = np.arange(len(ring)) - (sizes.cumsum() - sizes).repeat(sizes)
    angle = 2 * np.pi * along / sizes.repeat(sizes)
    north, east = _tangents(centre)
    direction = np.outer(np.cos(angle), north) - np.outer(np.sin(angle), east)
    arc = (step * ring)[:, None]
    points: NDArray[np.float64] = np.cos(arc) * centre + np.sin(arc) * direction
    return points


def _tangents(centre: Floats) -> tuple[Floats, Floats]:
    """Unit vectors to the north and to the east; at a pole, those of longitude 0."""
    x, y, z = centre
    across = math.hypot(x, y)
    lon_x, lon_y = (x / across, y / across) if across > 0 else (1.0, 0.0)
    return np.array([-z * lon_x, -z * lon_y, across]), np.array([-lon_y, lon_x, 0.0])
