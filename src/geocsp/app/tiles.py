"""Tiles of a layer."""

from __future__ import annotations

from geocsp.app import colours
from geocsp.app.lattice import sample_tile
from geocsp.app.layers import Painted
from geocsp.app.mercator import Tile

_WIDEST = 16
_LEAST = 4
"""With fewer pixels between, nearly all are computed anyway."""


def paint_tile(painted: Painted, tile: Tile, step: int) -> bytes:
    """A tile as a PNG file of 256 x 256 pixels, the same bytes each time.

    Args:
        painted: the layer.
        tile: which.
        step: pixels between those that are computed first, see :func:`step_of`.
    """
    values = sample_tile(painted.of, tile, step, painted.tolerance)
    return colours.png(painted.paint(values))


def step_of(tile: Tile, resolution_km: float) -> int:
    """Pixels between those that are computed first: 1 (all of them), 4, 8 or 16.

    Pixels are left out only where those that are computed, half as far apart in the end, meet the
    finest wave of the location encoder at least four times.
    """
    step = _WIDEST
    while step > 1 and step * tile.pixel_km > resolution_km / 2:
        step //= 2
    return step if step >= _LEAST else 1
