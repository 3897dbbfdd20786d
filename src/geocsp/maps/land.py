"""Land and lakes drawn on a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geocsp.data.audit.coordinates import Extent
from geocsp.maps.coast import Detail, shores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE, _NARROW = 90.0, 15.0
"""Windows wider than the first, degrees, have crude lines; narrower than the second, fine ones."""


@dataclass(frozen=True)
class LandStyle:
    """How land looks.

    Attributes:
        land: its colour.
        water: colour of lakes.
        shore: colour of shores; None: that of what they surround, so that no gap shows where two
            parts of a continent meet.
        smallest: land and lakes that reach over no more than such a part of the window are left
            out.
    """

    land: str
    water: str
    shore: str | None = None
    smallest: float = 0.0


def draw_land(axes: Axes, extent: Extent, style: LandStyle, scale: float = 1.0) -> None:
    """Draw what land and lakes there are in a window, below everything else.

    Args:
        axes: of the map.
        extent: the window, degrees; the east may be beyond 180.
        style: how it looks.
        scale: units of the axes in a degree.
    """
    from matplotlib.collections import PolyCollection

    window = (extent.west, extent.south, extent.east, extent.north)
    least = style.smallest * extent.size
    found = [
        shore
        for shore in shores(_detail(extent.size), *window)
        if np.ptp(shore.points, axis=0).max() > least
    ]
    for is_land, colour, order in ((True, style.land, 0.1), (False, style.water, 0.2)):
        lines = [scale * shore.points for shore in found if shore.is_land is is_land]
        shapes = PolyCollection(
            lines, facecolor=colour, edgecolor=style.shore or colour, zorder=order
        )
        shapes.set_linewidth(0.3)
        shapes.set_in_layout(False)  # it reaches beyond the window
        axes.add_collection(shapes, autolim=False)


def _detail(degrees: float) -> Detail:
    if degrees > _WIDE:
        return Detail.CRUDE
    return Detail.INTERMEDIATE if degrees < _NARROW else Detail.LOW
