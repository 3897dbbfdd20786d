"""A map of the world that shows where a photo may have been taken."""

from __future__ import annotations

import math
import warnings
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from torch import Tensor

from geocsp.data.splitters.healpix import healpix_cells
from geocsp.geolocate.answers import Answer
from geocsp.maps.grid import Grid
from geocsp.maps.natural_earth import Detail, coasts, land
from geocsp.maps.views import View

_FINEST = 64
"""Cells along one side of a face: as large as a square of 102 km."""
_SIZE, _WIDE = (9.6, 5.1), 0.84
_DRAWN_IN_A_CELL = 5
"""Where places drawn at random stand for others, cells hold so many of them on average."""
_STEP = 0.5
_WIDTH = 1200
_SEA, _LAND, _COAST, _INK = "#f2f5f7", "#e3e6e9", "#8d979f", "#374151"
_TRUE = "#1d4ed8"
_COLOURS = ("#ffedbf00", "#fcb240bf", "#d9400df2", "#73001aff")


def picture(answer: Answer, lonlat: Tensor, *, even: bool) -> bytes:
    """Draw P(place | image), the ranked places and, if it is known, the true one, as PNG.

    Args:
        answer: for one photo.
        lonlat: ``(M, 2)`` degrees of the gallery.
        even: whether these are spread evenly over the Earth, so that a cell of the map that
            happens to hold one more does not stand out.
    """
    figure = _figure(answer, lonlat, even=even)
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in scripts the font lacks
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": "geocsp"})
    return buffer.getvalue()


def cell_shares(answer: Answer, lonlat: Tensor, *, even: bool) -> NDArray[np.float64]:
    """The probability of each cell of a HEALPix grid in ring order, NaN where it has no place."""
    rows, weight = answer.scores.rows, answer.scores.stands_for
    drawn = 0 if weight is None else int((weight > 1).sum())
    cells_known = drawn // _DRAWN_IN_A_CELL if drawn else len(lonlat)
    nside = min(_FINEST, max(1, math.isqrt(cells_known // 12)))
    places = (lonlat if rows is None else lonlat[rows]).numpy()
    cells, size = healpix_cells(places, nside), 12 * nside**2
    share = np.bincount(cells, answer.scores.probabilities().numpy(), size)
    held = np.bincount(cells, None if weight is None else weight.numpy(), size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = share / held
    return mean * np.median(held[held > 0]) if even else np.where(held > 0, share, np.nan)


def _figure(answer: Answer, lonlat: Tensor, *, even: bool) -> Figure:
    view = View(Grid(_STEP))
    figure = Figure(figsize=_SIZE, facecolor="white")
    axes = figure.add_axes((0.02, 0.075, _WIDE, _WIDE * _SIZE[0] / _SIZE[1] / view.aspect))
    axes.set_axis_off()
    frame = Polygon(view.frame, closed=True, facecolor=_SEA, edgecolor=_COAST, linewidth=0.6)
    axes.add_patch(frame)
    dry = [*view.lines([polygon.outer for polygon in land(Detail.LOW)])]
    axes.add_collection(PolyCollection(dry, facecolors=_LAND, edgecolors="none", zorder=1))
    coast = [*view.lines(coasts(Detail.LOW))]
    axes.add_collection(LineCollection(coast, colors=_COAST, linewidths=0.45, zorder=3))
    left, right, bottom, top = view.extent
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    _draw_shares(axes, view, cell_shares(answer, lonlat, even=even))
    _draw_places(axes, view, answer)
    figure.text(0.03, 0.945, answer.path.name, fontsize=12.5, color=_INK, parse_math=False)
    figure.text(0.03, 0.905, _told(answer), fontsize=9.5, color=_INK)
    return figure


def _draw_shares(axes: Axes, view: View, shares: NDArray[np.float64]) -> None:
    nside = math.isqrt(len(shares) // 12)
    chance = 1 / int(np.isfinite(shares).sum())  # what is less likely has no colour
    norm = PowerNorm(0.5, chance, max(float(np.nanmax(shares)), 1.01 * chance), clip=True)
    colours = ScalarMappable(norm, LinearSegmentedColormap.from_list("", _COLOURS))
    cells = healpix_cells(view.grid.centres().numpy(), nside).reshape(view.grid.shape)
    rows, columns, inside = view.cells(_WIDTH)
    values = np.where(inside, shares[cells][rows, columns], np.nan)
    rgba = colours.to_rgba(np.ma.masked_invalid(values), bytes=True)
    axes.imshow(rgba, extent=view.extent, aspect="auto", zorder=2)
    bar: Any = axes.figure.colorbar(colours, cax=axes.figure.add_axes((0.885, 0.2, 0.014, 0.5)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=_INK, labelsize=8, length=2)
    bar.set_ticks(norm.inverse(np.linspace(0, 1, 6)))
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.2g} %")
    width = f"{6520 / nside:,.0f} km"
    bar.set_label(f"probability in {width} × {width}", color=_INK, fontsize=8.5)


def _draw_places(axes: Axes, view: View, answer: Answer) -> None:
    halo = [withStroke(linewidth=2.5, foreground="white")]
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8.5, "color": _INK}
    points = np.concatenate([*view.lines([*answer.lonlat.numpy()[:, None]])])
    for rank, (x, y) in reversed([*enumerate(points, start=1)]):  # the first on top
        axes.plot(x, y, "o", color=_INK, markersize=3.5, zorder=4)
        axes.annotate(str(rank), (x, y), (3, 3), path_effects=halo, zorder=5, **style)
    if answer.photo.placed:
        (true,) = view.lines([answer.photo.lonlat.numpy()[None]])
        name = "where the photo says it was taken"
        axes.plot(*true.T, "x", color=_TRUE, markersize=8, mew=2, zorder=6, label=name)
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(0.0, 0.0),
            frameon=False,
            fontsize=8.5,
            labelcolor=_INK,
        )


def _told(answer: Answer) -> str:
    lon, lat = answer.lonlat[0].tolist()
    best = f"most likely {abs(lat):.2f}° {'NS'[lat < 0]}, {abs(lon):.2f}° {'EW'[lon < 0]}"
    share = f"{best} with {100 * float(answer.regions.probabilities[0]):.3g} %"
    error = answer.error_km
    return share if error is None else f"{share}, {error:,.0f} km from where it says it was taken"
