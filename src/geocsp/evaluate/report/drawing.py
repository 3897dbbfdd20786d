"""How the report's figures look, and how they get into a page."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geocsp.evaluate.results import Measure

INK, SOFT = "#374151", "#9ca3af"
FIRST, SECOND = "#0b6cb8", "#c2570c"
"""Blue and orange, which colour-blind readers tell apart, too."""
PALETTE = (FIRST, SECOND, "#0a8f6a", "#b4508f", "#4f46b5", "#b08900", "#38a3c7", "#7a4a21")
MEASURE_COLOURS = {
    Measure.IMAGE: "#6b7280",
    Measure.LOCATION: "#0a8f6a",
    Measure.PRODUCT: "#b08900",
    Measure.FUSED: SECOND,
    Measure.GUARDED: FIRST,
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_STYLE = {
    "text.parse_math": False,  # names of classes may hold dollars
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": SOFT,
    "grid.alpha": 0.25,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
_DPI = 150


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes:
        source: the image itself, as a data URI.
        alt: what it shows, for those who do not see it.
        caption: what it shows, for those who do.
        settings: what it was made from.
        is_wide: whether it takes the width of the page.
    """

    source: str
    alt: str
    caption: str
    settings: str
    is_wide: bool = False


@contextmanager
def house_style() -> Iterator[None]:
    """Draw as the report does, whatever style the caller has set."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def panel(width: float = 5.2, height: float = 3.5) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def data_uri(figure: Figure) -> str:
    """A figure as a PNG without background, in a data URI."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in scripts the font lacks
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": "geocsp"})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def shortened(text: str, most: int = 36) -> str:
    """A name in one line that fits beside an axis."""
    plain = " ".join(text.split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"
