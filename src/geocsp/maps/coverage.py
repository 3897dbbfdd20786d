"""A map of how many images are where."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geocsp.data.audit.coordinates import Extent, extent_of, has_place
from geocsp.data.table import Floats
from geocsp.errors import MissingExtraError
from geocsp.files import write_atomically
from geocsp.maps.land import LandStyle, draw_land

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COVERAGE_FILE = "coverage.png"
_OCEAN, _FRAME, _INK = "#f2f5f7", "#b4bcc2", "#374151"
_STYLE = LandStyle("#d8dde1", water=_OCEAN)
_MARK = "#d0430a"
_WORLD = Extent(-180.0, -90.0, 180.0, 90.0)
_WIDE = 150.0
"""Data that reaches over more degrees of longitude is shown on the whole world."""
_NARROWEST = 0.1
"""Smallest window, degrees of latitude: about 11 km."""
_ACROSS = 100
"""At most so many cells along the longer side."""
_STEPS = (1.0, 2.0, 5.0)
_FEW_CELLS = 10
_A_DOT = 12.0
"""A smaller window is a dot on the globe, degrees."""


@dataclass(frozen=True)
class Window:
    """What a map shows.

    Attributes:
        extent: degrees; the east may be beyond 180.
        cell: width and height of a cell, degrees; about square on the map.
    """

    extent: Extent
    cell: tuple[float, float]

    @property
    def is_world(self) -> bool:
        """Whether all longitudes are shown."""
        return self.extent.east - self.extent.west >= 360.0

    @property
    def aspect(self) -> float:
        """Width over height on the map, to scale in the middle."""
        wide = self.extent.east - self.extent.west
        high = self.extent.north - self.extent.south
        return wide / high if self.is_world else wide * self.squeeze / high

    @property
    def squeeze(self) -> float:
        """Length of a degree of longitude in the middle, of one of latitude."""
        return _squeeze((self.extent.south + self.extent.north) / 2)


def write_coverage(lonlat: Floats, path: Path, title: str) -> Path:
    """Draw how many of ``(N, 2)`` places are in each cell, as PNG; NaN rows are not counted.

    Data that covers little is shown enlarged, with its place on the globe beside it.

    Args:
        lonlat: at least one known place, degrees.
        path: the PNG file.
        title: first line above the map.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    try:
        figure = coverage_figure(lonlat[has_place(lonlat)], title)
    except ImportError as error:
        raise MissingExtraError("matplotlib", "demo") from error
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # titles in scripts the font lacks
        figure.savefig(buffer, format="png", dpi=140, metadata={"Software": "geocsp"})
    return write_atomically(path, buffer.getvalue())


def window_of(lonlat: Floats) -> Window:
    """The window that shows all of ``(N, 2)`` degrees, with a margin, at least 11 km high."""
    extent = extent_of(lonlat)
    if extent.east - extent.west > _WIDE:
        return Window(_WORLD, (2.0, 2.0))
    middle = (extent.south + extent.north) / 2
    squeeze = _squeeze(middle)
    height = max(1.12 * (extent.north - extent.south), _NARROWEST)
    width = max(1.12 * (extent.east - extent.west), _NARROWEST / squeeze)
    height, width = max(height, width * squeeze / 2), max(width, height / squeeze)
    if width >= 360.0:
        return Window(_WORLD, (2.0, 2.0))
    centre = (extent.west + extent.east) / 2
    south, north = max(-90.0, middle - height / 2), min(90.0, middle + height / 2)
    shown = Extent(centre - width / 2, float(south), centre + width / 2, float(north))
    cell = _round_step(max(width * squeeze, height) / _ACROSS)
    return Window(shown, (_round_step(cell / squeeze), cell))


def _squeeze(lat: float) -> float:
    return max(float(np.cos(np.deg2rad(lat))), 0.1)


def _round_step(step: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(next((s * power for s in _STEPS if s * power >= step * 0.999), 10 * power))


def counts_in(lonlat: Floats, window: Window) -> tuple[NDArray[np.float64], Floats, Floats]:
    """How many places are in each cell: ``(rows, columns)``, and the edges of both, degrees.

    Cells start at whole multiples of their size; the east beyond 180 counts as such.
    """
    extent, (width, height) = window.extent, window.cell
    columns = np.arange(np.floor(extent.west / width), np.ceil(extent.east / width) + 1) * width
    rows = np.arange(np.floor(extent.south / height), np.ceil(extent.north / height) + 1) * height
    lon = extent.west + (lonlat[:, 0] - extent.west) % 360.0
    counts, _, _ = np.histogram2d(lonlat[:, 1], lon, bins=(rows, columns))
    return counts, rows, columns


def coverage_figure(lonlat: Floats, title: str) -> Figure:
    """The map of ``(N, 2)`` known places, N at least 1.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    window = window_of(lonlat)
    height = 4.8
    width = height * window.aspect
    side = 0.9 if window.is_world else 2.1
    size = (width + side + 1.4, height + 1.3)
    figure = Figure(figsize=size)

    def add(left: float, bottom: float, wide: float, high: float) -> Axes:
        box = (left / size[0], bottom / size[1], wide / size[0], high / size[1])
        return figure.add_axes(box)

    axes = add(0.9, 0.5, width, height)
    counts, rows, columns = counts_in(lonlat, window)
    draw_land(axes, window.extent, _STYLE)
    mesh = _draw_counts(axes, counts, rows, columns)
    _style(axes, window)
    figure.text(0.9 / size[0], 1 - 0.32 / size[1], title, fontsize=12, color=_INK, parse_math=False)
    number = f"{len(lonlat):,} {'image' if len(lonlat) == 1 else 'images'}"
    cells = f"{number}, cells of {window.cell[0]:g}° × {window.cell[1]:g}°"
    figure.text(0.9 / size[0], 1 - 0.6 / size[1], cells, fontsize=9.5, color=_INK)
    low = 0.5 if window.is_world else 2.0
    if counts.max() > 1:
        _draw_scale(mesh, add(width + 1.15, low, 0.16, height + 0.5 - low), counts.max())
    if not window.is_world:
        _draw_globe(add(width + 1.15, 0.5, 2.0, 1.0), window.extent)
    return figure


def _draw_counts(axes: Axes, counts: Floats, rows: Floats, columns: Floats) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    colours = colormaps["viridis_r"](np.linspace(0.12, 1, 64))  # without the palest
    filled = np.argwhere(counts)
    if len(filled) <= _FEW_CELLS:  # rings, for cells that are easily overlooked
        middle = [(edges[1:] + edges[:-1]) / 2 for edges in (columns, rows)]
        x, y = middle[0][filled[:, 1]], middle[1][filled[:, 0]]
        axes.plot(x, y, "o", markersize=16, markerfacecolor="none", markeredgecolor=_MARK)
    return axes.pcolormesh(
        columns,
        rows,
        np.ma.masked_equal(counts, 0),
        norm=LogNorm(1.0, max(float(counts.max()), 2.0)),
        cmap=LinearSegmentedColormap.from_list("", colours),
        rasterized=True,
        zorder=2,
    )


def _draw_scale(mesh: Any, axes: Axes, highest: float) -> None:
    bar = mesh.figure.colorbar(mesh, cax=axes)
    ticks = [step * 10.0**power for power in range(8) for step in _STEPS]
    ticks = [tick for tick in ticks if tick <= highest]
    ticks = ticks if len(ticks) <= 7 else ticks[:: len(_STEPS)]
    ticks = ticks if highest >= 10 else list(range(1, int(highest) + 1))
    bar.set_ticks(ticks, labels=[f"{tick:,.0f}" for tick in ticks])
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label("images per cell", color=_INK, fontsize=9)
    axes.tick_params(colors=_INK, labelsize=9, length=3)


def _style(axes: Axes, window: Window) -> None:
    extent = window.extent
    axes.set_xlim(extent.west, extent.east)
    axes.set_ylim(extent.south, extent.north)
    axes.set_facecolor(_OCEAN)
    axes.spines[:].set_color(_FRAME)
    axes.grid(color=_FRAME, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    if window.is_world:
        axes.set_xticks(range(-180, 181, 60))
        axes.set_yticks(range(-90, 91, 30))
    else:
        axes.locator_params(axis="x", nbins=round(4 * window.aspect))
    axes.xaxis.set_major_formatter(lambda lon, _: degrees_text((lon + 180) % 360 - 180, "EW"))
    axes.yaxis.set_major_formatter(lambda lat, _: degrees_text(lat, "NS"))
    axes.tick_params(colors=_INK, labelsize=9, length=3)


def degrees_text(value: float, sides: str) -> str:
    """An angle with its side of the world, such as 12.5° E; ``sides`` names plus and minus."""
    number = f"{round(abs(value), 6):g}"
    plain = number in ("0", "180")
    return f"{number}°" if plain else f"{number}° {sides[0] if value > 0 else sides[1]}"


def _draw_globe(axes: Axes, extent: Extent) -> None:
    """A small map of the world that shows where the window is."""
    from matplotlib.patches import Rectangle

    draw_land(axes, _WORLD, _STYLE)
    axes.set_facecolor(_OCEAN)
    axes.set_xlim(-180, 180)
    axes.set_ylim(-90, 90)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(_FRAME)
    wide, high = extent.east - extent.west, extent.north - extent.south
    for turn in (-360.0, 0.0, 360.0):
        corner = (extent.west + turn, extent.south)
        axes.add_patch(Rectangle(corner, wide, high, fill=False, edgecolor=_MARK, linewidth=1))
        if extent.size < _A_DOT:
            centre = (corner[0] + wide / 2, corner[1] + high / 2)
            axes.plot(*centre, "o", color=_MARK, markersize=5)
