"""Tiles of the web's Mercator projection (EPSG:3857), as XYZ numbers them from the north-west."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM

SIDE = 256
"""Pixels along a tile."""
NORTHERNMOST = math.degrees(math.atan(math.sinh(math.pi)))
"""Where the square map ends, 85.05 degrees."""
DEEPEST = 18
"""Largest zoom: a pixel is about 0.6 m."""


_AROUND_KM = 2 * math.pi * EARTH_RADIUS_KM


@dataclass(frozen=True)
class Tile:
    """One square of the map.

    Args:
        zoom: 0 is the whole map, each level doubles it.
        x: column from the west.
        y: row from the north.

    Raises:
        ValueError: there is no such tile.
    """

    zoom: int
    x: int
    y: int

    def __post_init__(self) -> None:
        across = 2**self.zoom if 0 <= self.zoom <= DEEPEST else 0
        if not (0 <= self.x < across and 0 <= self.y < across):
            raise ValueError(
                f"there is no tile {self.zoom}/{self.x}/{self.y}: zoom goes from 0 to {DEEPEST}, "
                "x and y from 0 to 2^zoom - 1"
            )

    @property
    def pixel_km(self) -> float:
        """Width of a pixel at the equator."""
        return float(_AROUND_KM / (SIDE * 2**self.zoom))

    def places(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Tensor:
        """Centres of pixels, counted from the tile's north-west: ``(N, 2)`` float64 degrees.

        Those beyond the tile belong to its neighbours; beyond the map they are its edge.
        """
        world = SIDE * 2**self.zoom
        x = (self.x * SIDE + columns + 0.5) / world
        y = (self.y * SIDE + rows + 0.5) / world
        return lonlat_of(np.clip(x, 0.0, 1.0), np.clip(y, 0.0, 1.0))


def lonlat_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> Tensor:
    """Places of points of the map, both from 0 in the north-west to 1: ``(N, 2)`` degrees."""
    lon = 360.0 * x - 180.0
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1.0 - 2.0 * y))))
    return torch.from_numpy(np.stack([lon, lat], axis=1))


def world_places(pixels: int) -> Tensor:
    """Centres of the pixels of a square map of the world, row by row: ``(pixels^2, 2)``."""
    middle = (np.arange(pixels) + 0.5) / pixels
    y, x = np.meshgrid(middle, middle, indexing="ij")
    return lonlat_of(x.ravel(), y.ravel())
