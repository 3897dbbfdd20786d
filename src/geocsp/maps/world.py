"""World maps in the equal-area Mollweide projection."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geocsp.maps.principal import PrincipalColours

LATITUDE_RANGE = (-60.0, 78.0)
"""What the maps show; land beyond is left out of the data set as well."""
OCEAN = "#eef2f5"


def world_axes(figure: Figure, *position: Any) -> Axes:
    """Add a world map without frame or ticks to a figure; arguments as for ``add_subplot``."""
    axes: Axes = figure.add_subplot(*position, projection="mollweide")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(OCEAN)
    axes.spines["geo"].set_visible(False)
    axes.spines["geo"].set_color("#c8d0d6")
    return axes


def draw_grid(axes: Axes, values: NDArray[Any], **style: Any) -> Any:
    """Draw a global grid on a world map.

    Args:
        axes: from :func:`world_axes`.
        values: ``(rows, columns)`` masked or NaN where nothing is drawn, or ``(rows, columns, 3)``
            RGB in [0, 1], NaN where nothing is drawn; from lat 90 down and lon -180 up.
        style: passed on to ``pcolormesh``.
    """
    rows, columns = values.shape[:2]
    lon = np.deg2rad(np.linspace(-180, 180, columns + 1))
    lat = np.linspace(90, -90, rows + 1)
    centre = (lat[:-1] + lat[1:]) / 2
    keep = (centre > LATITUDE_RANGE[0]) & (centre < LATITUDE_RANGE[1])
    first, last = int(np.argmax(keep)), rows - int(np.argmax(keep[::-1]))
    shown = values[first:last]
    if shown.ndim == 3:  # transparent where there is nothing
        alpha = np.isfinite(shown).all(axis=2, keepdims=True).astype(float)
        shown = np.concatenate([np.nan_to_num(shown), alpha], axis=2)
    edges = np.deg2rad(lat[first : last + 1])
    return axes.pcolormesh(lon, edges, shown, rasterized=True, shading="flat", **style)


def principal_colours(embedding: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Colours of an embedding by its own components, see :class:`PrincipalColours`, in [0, 1].

    Args:
        embedding: ``(N, D)``.

    Returns:
        ``(N, 3)``.
    """
    return PrincipalColours.fit(embedding).of(embedding)
