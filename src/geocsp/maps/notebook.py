"""Maps in notebooks."""

from __future__ import annotations

import base64
from datetime import datetime
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geocsp.errors import DataError, MissingExtraError
from geocsp.maps.grid import WORLD, Grid
from geocsp.maps.pictures import painted
from geocsp.maps.quantities import Colours, Quantity
from geocsp.maps.raster import Raster, suitable_grid

_NORTHERNMOST = 85.0
"""Web maps end at this latitude, degrees."""


def layer(
    quantity: Quantity | Colours,
    *,
    bounds: str | tuple[float, float, float, float] = WORLD,
    step: float | None = None,
    moment: datetime | None = None,
    land_only: bool = False,
    opacity: float = 0.7,
) -> Any:
    """A layer of a lonboard map, as in ``lonboard.Map(layer(uncertainty(model)))``.

    Args:
        quantity: what to show, from :mod:`geocsp.maps.quantities`.
        bounds: west, south, east and north, degrees; 85 degrees of latitude are the most.
        step: size of the cells, degrees; by default some hundred are across.
        moment: date and hour, as for :meth:`Raster.compute`.
        land_only: leave out water.
        opacity: of the layer, from 0 to 1.

    Returns:
        A ``lonboard.BitmapLayer``.

    Raises:
        DataError: no such window, cells that do not fit it, or values that are not finite.
        MissingExtraError: lonboard or matplotlib is not installed.
    """
    try:
        from lonboard import BitmapLayer
    except ImportError as error:
        raise MissingExtraError("lonboard", "notebook") from error
    grid = suitable_grid(bounds) if step is None else Grid.of(step, bounds)
    raster = Raster.compute(quantity, grid, moment=moment, land_only=land_only)
    pixels, shown = in_mercator(painted(raster), grid)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    image = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return BitmapLayer(image=image, bounds=shown, opacity=opacity)


def in_mercator(
    cells: NDArray[np.uint8], grid: Grid
) -> tuple[NDArray[np.uint8], tuple[float, float, float, float]]:
    """Colours of cells as a picture in the web's Mercator projection.

    Args:
        cells: ``(rows, columns, 4)`` of the grid.
        grid: whose cells they are.

    Returns:
        ``(height, columns, 4)``, pixels about square in the middle, and west, south, east and
        north, within the latitudes that web maps have.

    Raises:
        DataError: all cells are nearer to a pole than web maps reach.
    """
    west, south, east, north = grid.bounds
    south, north = max(south, -_NORTHERNMOST), min(north, _NORTHERNMOST)
    if south >= north:
        raise DataError(f"web maps end {_NORTHERNMOST:g} degrees north and south of the equator")
    bottom, top = np.arctanh(np.sin(np.deg2rad([south, north])))
    height = max(1, round(np.rad2deg(top - bottom) / grid.step))
    heights = top - (np.arange(height) + 0.5) / height * (top - bottom)
    lat = np.rad2deg(np.arcsin(np.tanh(heights)))
    rows = np.floor((grid.north - lat) / grid.step).astype(np.int64)
    return cells[rows.clip(0, len(cells) - 1)], (west, south, east, north)
