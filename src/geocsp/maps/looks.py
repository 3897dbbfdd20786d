"""Colours of values on a map, all fit for the colour-blind except many classes at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import MissingExtraError
from geocsp.maps.quantities import Quantity, Scale

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

_RAMPS = {Scale.MORE: "YlGnBu", Scale.DOUBT: "YlOrBr", Scale.OPPOSITES: "PuOr_r"}
# Petroff, "Accessible color sequences for data visualization", arXiv 2107.02270, without its greys.
_FEW = ("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#92dadd")
_MANY = "tab20"
_GREYS = (14, 15)
_OTHERS = "#c3c7cb"
_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True, eq=False)
class Look:
    """Colours of a quantity's values.

    Attributes:
        colours: of numbers from ``low`` to ``high``.
        low: the number of the first colour.
        high: the number of the last.
    """

    colours: Colormap
    low: float
    high: float

    @classmethod
    def of(cls, quantity: Quantity, values: NDArray[Any]) -> Self:
        """A look that suits some values, NaN among them left out.

        The scale starts at the least value that there can be, and ends at the highest of these
        rounded up to 1, 2 or 5 times a power of ten, so that rare classes are seen, too.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        try:
            from matplotlib import colormaps
        except ImportError as error:
            raise MissingExtraError("matplotlib", "evaluate") from error
        low, high = quantity.limits
        known = values[np.isfinite(values)]
        if quantity.scale is not Scale.OPPOSITES and known.size:
            high = min(high, _rounded_up(float(known.max())))
        return cls(colormaps[_RAMPS[quantity.scale]], low, high)

    def rgba(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Colours ``(..., 4)`` of values ``(...)``; NaN is transparent."""
        share = (values - self.low) / (self.high - self.low)
        shown = np.isfinite(share)
        colours = self.colours(np.where(shown, share, 0.0), bytes=True)
        return np.where(shown[..., None], colours, 0).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class ClassLook:
    """Colours of class numbers.

    Attributes:
        colours: ``(Q, 4)`` uint8, of each class.
        legend: name, colour in RGB from 0 to 1 and share of the area of the classes that have a
            colour of their own, the largest first, then of all others together.
    """

    colours: NDArray[np.uint8]
    legend: tuple[tuple[str, tuple[float, float, float], float], ...]

    @classmethod
    def of(cls, names: tuple[str, ...], shares: NDArray[np.float64]) -> Self:
        """Give colours of their own to the classes that cover most; a grey one to the others.

        Args:
            names: of Q classes.
            shares: ``(Q,)`` of the area.
        """
        from matplotlib import colormaps
        from matplotlib.colors import to_rgb

        found = int((shares > 0).sum())
        many = [c for n, c in enumerate(colormaps[_MANY].colors) if n not in _GREYS]  # type: ignore[attr-defined]
        palette = [to_rgb(c) for c in (_FEW if found <= len(_FEW) else many[::2] + many[1::2])]
        order = np.argsort(-shares, kind="stable")[:found]
        own = dict(zip(order.tolist(), palette, strict=False))
        rgb = np.array([own.get(n, to_rgb(_OTHERS)) for n in range(len(names))])
        colours = np.concatenate([np.rint(255 * rgb), np.full((len(names), 1), 255)], axis=1)
        legend = [(names[n], colour, float(shares[n])) for n, colour in own.items()]
        if found > len(own):
            rest = order[len(own) :]
            legend.append((f"{len(rest)} others", to_rgb(_OTHERS), float(shares[rest].sum())))
        return cls(colours.astype(np.uint8), tuple(legend))

    def rgba(self, values: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Colours ``(..., 4)`` of class numbers ``(...)``; -1 is transparent."""
        return np.where((values >= 0)[..., None], self.colours[values], 0).astype(np.uint8)


def _rounded_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((s * power for s in _STEPS if s * power >= value * 0.999999), 10 * power)
