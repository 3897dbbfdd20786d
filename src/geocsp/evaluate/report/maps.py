"""Maps of test rows: where one row of the table is right more often than another."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geocsp.evaluate.report.drawing import FIRST, SECOND, SOFT
from geocsp.maps.coverage import Window, degrees_text, window_of
from geocsp.maps.land import LandStyle, draw_land
from geocsp.maps.world import OCEAN, world_axes

_STYLE = LandStyle("#dde1e5", water=OCEAN, shore="#aab2ba", smallest=1 / 250)
_DIVERGING = LinearSegmentedColormap.from_list("", (SECOND, "#f4f4f4", FIRST))
_SHARE = LinearSegmentedColormap.from_list("", (SECOND, "#a8a29e", FIRST))
_SMALLEST, _LARGEST = 9.0, 110.0


def difference_map(
    places: NDArray[np.float64], differences: NDArray[np.float64], counts: NDArray[np.int64]
) -> Figure:
    """Spatial blocks as dots, blue where the first of two wins, orange where the second does.

    Args:
        places: ``(B, 2)`` degrees, middles of the blocks; B at least 1.
        differences: ``(B,)`` accuracy of the first minus that of the second, in [-1, 1].
        counts: ``(B,)`` test rows of each, which the area of the dots shows.
    """
    most = max(0.1, float(np.quantile(np.abs(differences), 0.95)))
    sizes = _SMALLEST + (_LARGEST - _SMALLEST) * counts / counts.max()
    order = np.argsort(-sizes, kind="stable")  # small dots on top
    figure, axes, put = _map(places)
    dots = put(
        places[order],
        c=100 * differences[order],
        s=sizes[order],
        cmap=_DIVERGING,
        vmin=-100 * most,
        vmax=100 * most,
        edgecolors="#6b7280",
        linewidths=0.3,
        zorder=3,
    )
    bar: Any = figure.colorbar(dots, ax=axes, shrink=0.7, pad=0.02, extend="both")
    bar.outline.set_visible(False)
    bar.set_label("difference, percentage points")
    return figure


def hits_map(places: NDArray[np.float64], hits: NDArray[np.float64]) -> Figure:
    """Test rows as dots, blue where they are right, orange where they are wrong.

    Args:
        places: ``(N, 2)`` degrees, N at least 1.
        hits: ``(N,)`` share of runs in which a row was right.
    """
    figure, _, put = _map(places)
    order = np.argsort(hits, kind="stable")[::-1]  # what is wrong is on top
    size = float(np.clip(8000 / len(places), 5, 22))
    put(
        places[order],
        c=hits[order],
        s=size,
        cmap=_SHARE,
        vmin=0,
        vmax=1,
        linewidths=0,
        alpha=0.85,
        zorder=3,
    )
    return figure


def block_means(
    lonlat: NDArray[np.float64], block: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Middle, mean value and number of the rows of every block.

    Args:
        lonlat: ``(N, 2)`` degrees, all known.
        block: ``(N,)`` block of each row.
        values: ``(N,)``.

    Returns:
        ``(B, 2)`` degrees, ``(B,)`` means and ``(B,)`` counts, by number of the block.
    """
    _, member, counts = np.unique(block, return_inverse=True, return_counts=True)
    lon, lat = np.deg2rad(lonlat.T)
    vectors = (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))
    x, y, z = (np.bincount(member, weights=vector) for vector in vectors)
    middles = np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1)
    means = np.bincount(member, weights=values) / counts
    return np.rad2deg(middles), means, counts.astype(np.int64)


def _map(places: NDArray[np.float64]) -> tuple[Figure, Axes, Any]:
    """A map with coasts that shows all places, and a function that puts dots on it."""
    window = window_of(places)
    if window.is_world:
        figure = Figure(figsize=(8.4, 4.0), layout="constrained")
        axes = world_axes(figure)
        draw_land(axes, window.extent, _STYLE, scale=np.pi / 180)
    else:
        height = float(np.clip(7.0 / window.aspect, 3.2, 5.6))
        figure = Figure(figsize=(height * window.aspect + 1.6, height + 0.4), layout="constrained")
        axes = figure.add_subplot()
        draw_land(axes, window.extent, _STYLE)
        _frame(axes, window)

    def put(dots: NDArray[np.float64], **style: Any) -> PathCollection:
        lon, lat = dots.T
        if window.is_world:
            return axes.scatter(np.deg2rad(lon), np.deg2rad(lat), **style)
        west = window.extent.west
        return axes.scatter(west + (lon - west) % 360.0, lat, **style)

    return figure, axes, put


def _frame(axes: Axes, window: Window) -> None:
    extent = window.extent
    axes.set_xlim(extent.west, extent.east)
    axes.set_ylim(extent.south, extent.north)
    axes.set_aspect(1 / window.squeeze)
    axes.set_facecolor(OCEAN)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(SOFT)
    axes.locator_params(nbins=5)
    axes.xaxis.set_major_formatter(lambda lon, _: degrees_text((lon + 180) % 360 - 180, "EW"))
    axes.yaxis.set_major_formatter(lambda lat, _: degrees_text(lat, "NS"))
