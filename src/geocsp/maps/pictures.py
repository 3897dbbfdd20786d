"""Maps as pictures: coasts and borders, a graticule, and a scale or a legend."""

from __future__ import annotations

import json
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import MissingExtraError
from geocsp.files import write_atomically
from geocsp.maps.coverage import degrees_text
from geocsp.maps.looks import ClassLook, Look
from geocsp.maps.natural_earth import Detail, borders, coasts
from geocsp.maps.projections import Mollweide, Polar
from geocsp.maps.quantities import Colours, Quantity
from geocsp.maps.raster import Raster
from geocsp.maps.views import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 140
_FINER = 1.5
"""Points at which cells are looked up, of the pixels of the picture."""
_AREA = 42.0
"""Square inches of a map, about."""
_WIDEST, _HIGHEST = 11.0, 8.0
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.75, 0.35, 0.45, 0.85
_BAR, _LEGEND = 1.25, 3.8
_EMPTY, _INK, _SOFT, _LINE, _FRAME = "#eef2f5", "#1f2937", "#6b7280", "#30363d", "#9aa3ab"
_WORLD_DEGREES = 60.0
"""Wider windows have thinner lines."""
_LONGEST_NAME = 34
_LETTER = 0.6
"""Width of a letter, about, over the size of the font."""
_AT = {-1: "right", 0: "center", 1: "left", 2: "top", 3: "center", 4: "bottom"}
"""How a label lies that is to the left, neither or right, and below, neither or above."""


def write_picture(raster: Raster, path: Path, title: str | None = None) -> Path:
    """Draw a map as PNG, which holds the settings as text "Description".

    Args:
        raster: what to draw.
        path: the PNG file.
        title: first line above the map; by default what the values are.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    figure = picture(raster, title)
    facts = {"Software": "geocsp", "Title": title or raster.quantity.title}
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in scripts the font lacks
        figure.savefig(
            buffer,
            format="png",
            dpi=_DPI,
            metadata=facts | {"Description": json.dumps(raster.settings)},
        )
    return write_atomically(path, buffer.getvalue())


def picture(raster: Raster, title: str | None = None) -> Figure:
    """Draw a map.

    Args:
        raster: what to draw.
        title: first line above the map; by default what the values are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "evaluate") from error
    view = View(raster.grid)
    width = min(_WIDEST, (_AREA * view.aspect) ** 0.5, _HIGHEST * view.aspect)
    height = width / view.aspect
    side = _LEGEND if raster.names else _RIGHT if isinstance(raster.quantity, Colours) else _BAR
    size = (max(_LEFT + width + side, 6.0), _BOTTOM + height + _TOP)
    figure = Figure(figsize=size, facecolor="white")

    def add(left: float, bottom: float, wide: float, high: float) -> Axes:
        box = (left / size[0], bottom / size[1], wide / size[0], high / size[1])
        return figure.add_axes(box)

    axes = add(_LEFT, _BOTTOM, width, height)
    rgba, look = _painted(raster)
    _draw_cells(axes, view, rgba, round(width * _DPI))
    _draw_lines(axes, view)
    right = _LEFT + width + (0.6 if isinstance(view.projection, Polar) else 0.25)
    if isinstance(look, Look) and isinstance(raster.quantity, Quantity):
        bar = min(height, 3.6)
        _draw_scale(add(right, _BOTTOM + (height - bar) / 2, 0.16, bar), look, raster.quantity)
    elif isinstance(look, ClassLook) and look.legend:
        _draw_legend(add(right, _BOTTOM, _LEGEND - 0.6, height), look, height)
    for text, below, fontsize, colour in (
        (title or raster.quantity.title, 0.36, 12.5, _INK),
        (_facts(raster), 0.62, 8.5, _SOFT),
    ):
        room = size[0] - _LEFT - 0.1
        figure.text(
            _LEFT / size[0],
            1 - below / size[1],
            text,
            fontsize=min(fontsize, 72 * room / (_LETTER * max(len(text), 1))),
            color=colour,
            parse_math=False,
        )
    return figure


def painted(raster: Raster) -> NDArray[np.uint8]:
    """Colours of the cells as in a picture, ``(rows, columns, 4)``, nothing where left out."""
    return _painted(raster)[0]


def _painted(raster: Raster) -> tuple[NDArray[np.uint8], Look | ClassLook | None]:
    quantity = raster.quantity
    if isinstance(quantity, Colours):
        opacity = np.where(raster.shown, 255, 0).astype(np.uint8)
        return np.concatenate([raster.values, opacity[..., None]], axis=2), None
    if not quantity.names:
        look = Look.of(quantity, raster.values)
        return look.rgba(raster.values), look
    weights = np.cos(np.deg2rad(raster.grid.latitudes.numpy()))[:, None] * raster.shown
    number = np.where(raster.shown, raster.values, 0)
    areas = np.bincount(number.ravel(), weights.ravel(), len(quantity.names))
    classes = ClassLook.of(quantity.names, areas / max(areas.sum(), 1e-300))
    return classes.rgba(raster.values), classes


def _draw_cells(axes: Axes, view: View, rgba: NDArray[np.uint8], width: int) -> None:
    from matplotlib.patches import Polygon

    frame = Polygon(view.frame, closed=True, facecolor=_EMPTY, edgecolor="none", zorder=0)
    axes.add_patch(frame)
    rows, columns, inside = view.cells(round(_FINER * width))
    shown = np.where(inside[..., None], rgba[rows, columns], 0).astype(np.uint8)
    image = axes.imshow(shown, extent=view.extent, aspect="auto", zorder=1)
    image.set_clip_path(frame)
    left, right, bottom, top = view.extent
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_axis_off()


def _draw_lines(axes: Axes, view: View) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Polygon

    frame = Polygon(view.frame, closed=True, facecolor="none", edgecolor=_FRAME, zorder=8)
    frame.set_clip_on(False)
    axes.add_patch(frame)
    is_wide = view.degrees > _WORLD_DEGREES
    bounds = view.lines(borders(Detail.LOW if is_wide else Detail.MEDIUM))
    shores = view.lines(coasts(Detail.MEDIUM))
    thin = 0.4 if is_wide else 0.65
    meridians, parallels = view.graticule()
    graticule = [view.meridian(lon) for lon in meridians] + [
        view.parallel(lat) for lat in parallels
    ]
    for order, (lines, colour, width, alpha) in enumerate(
        (
            (graticule, _SOFT, 0.4, 0.45),
            (bounds, "white", 1.0, 0.3),
            (bounds, _LINE, 0.35, 0.5),
            (shores, "white", 3 * thin, 0.35),
            (shores, _LINE, thin, 0.95),
        ),
        start=2,
    ):
        drawn = LineCollection(lines, colors=colour, linewidths=width, alpha=alpha, zorder=order)
        axes.add_collection(drawn, autolim=False)
        drawn.set_clip_path(frame)
    _label(axes, view, meridians, parallels)


def _label(axes: Axes, view: View, meridians: list[float], parallels: list[float]) -> None:
    style: dict[str, Any] = {"fontsize": 8, "color": _SOFT, "textcoords": "offset points"}
    is_polar = isinstance(view.projection, Polar)
    for lat in parallels:
        if abs(lat) < 90:
            place = view.parallel(lat)[0]
            away = (3, 3) if is_polar else (-5, 0)
            side: dict[str, Any] = {"ha": "left" if is_polar else "right", "va": "center"}
            axes.annotate(degrees_text(lat, "NS"), place, away, **side, **style)
    if isinstance(view.projection, Mollweide) and view.grid.south < -80:
        return  # meridians meet below
    for lon in meridians:
        ends = view.meridian(lon)
        place = max(ends[0], ends[-1], key=np.linalg.norm) if is_polar else ends[0]
        out = place / np.linalg.norm(place) if is_polar else np.array([0.0, -1.0])
        text = degrees_text((lon + 180) % 360 - 180, "EW")
        side = {"ha": _AT[round(out[0])], "va": _AT[round(out[1]) + 3]}
        axes.annotate(text, place, tuple(5 * out), **side, **style)


def _draw_scale(axes: Axes, look: Look, quantity: Quantity) -> None:
    steps = np.linspace(0, 1, 256)
    colours = look.colours(steps)[:, None, :3]
    extent = (0.0, 1.0, look.low, look.high)
    axes.imshow(colours, extent=extent, aspect="auto", origin="lower")
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_xticks([])
    axes.tick_params(colors=_SOFT, labelsize=8.5, length=3)
    axes.spines[:].set_visible(False)
    if quantity.unit:
        axes.set_title(quantity.unit, fontsize=8.5, color=_SOFT)


def _draw_legend(axes: Axes, look: ClassLook, height: float) -> None:
    from matplotlib.patches import Patch

    rows = [
        (Patch(facecolor=colour, edgecolor="none"), f"{_short(name)}  {_percent(share)}")
        for name, colour, share in look.legend
    ]
    axes.set_axis_off()
    legend = axes.legend(
        *zip(*rows, strict=True),
        loc="center left",
        bbox_to_anchor=(0.0, 0.5),
        frameon=False,
        fontsize=min(8.5, 52.0 * height / len(rows)),
        borderaxespad=0.0,
        handlelength=1.2,
        labelspacing=0.35,
        labelcolor=_INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "<1 %"


def _facts(raster: Raster) -> str:
    """One line of settings."""
    settings = raster.settings
    model = [str(Path(settings["model"]).name)] if "model" in settings else []
    time = [f"time {settings['time']}"] if settings["time"] else []
    step = f"cells of {raster.grid.step:g}°"
    code = [settings["fingerprint"][:8]] if "fingerprint" in settings else []
    return " · ".join([*model, *code, step, *time, f"geocsp {settings['geocsp']}"])
