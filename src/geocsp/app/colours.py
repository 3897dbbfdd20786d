"""Colours of maps, and pictures of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STEPS = 256
# Viridis, by S. van der Walt and N. Smith, CC0: lightness rises evenly, also for the colour-blind.
_VIRIDIS = (
    "#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c",
    "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725",
)  # fmt: skip
_MOST_OPAQUE = 225
_FADE = 0.35
"""Below this share of the scale, colours fade out."""


def _ramp(anchors: Sequence[str]) -> NDArray[np.uint8]:
    """``(STEPS, 3)`` colours evenly between the anchors."""
    points = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in anchors], np.float64)
    at = np.linspace(0, 1, len(points))
    steps = np.linspace(0, 1, STEPS)
    return np.stack([np.interp(steps, at, points[:, c]) for c in range(3)], 1).round().astype("u1")


SEQUENTIAL = _ramp(_VIRIDIS)
"""``(256, 3)`` colours from low to high."""


def fading() -> NDArray[np.uint8]:
    """``(256, 4)`` RGBA of the scale, invisible at its low end."""
    share = np.linspace(0, 1, STEPS)
    alpha = _MOST_OPAQUE * np.minimum(share / _FADE, 1.0)
    return np.concatenate([SEQUENTIAL, alpha.round().astype("u1")[:, None]], axis=1)


def opaque() -> NDArray[np.uint8]:
    """``(256, 4)`` RGBA of the scale, all equally visible."""
    alpha = np.full((STEPS, 1), _MOST_OPAQUE, np.uint8)
    return np.concatenate([SEQUENTIAL, alpha], axis=1)


def levels(values: NDArray[np.floating[Any]], low: float, high: float) -> NDArray[np.uint8]:
    """Steps of the scale that values from low to high fall on."""
    share = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return (share.clip(0, 1) * (STEPS - 1)).round().astype(np.uint8)


def with_alpha(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA of RGB colours, as visible as a scale."""
    alpha = np.full((*rgb.shape[:-1], 1), _MOST_OPAQUE, np.uint8)
    return np.concatenate([rgb, alpha], axis=-1)


def hexadecimal(colour: Sequence[int] | NDArray[np.uint8]) -> str:
    """A colour as the web writes it, such as ``#1f77b4``."""
    red, green, blue = (int(part) for part in colour[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"


def png(rgba: NDArray[np.uint8]) -> bytes:
    """``(height, width, 4)`` pixels as a PNG file; the same pixels give the same bytes."""
    stream = io.BytesIO()
    Image.fromarray(rgba, "RGBA").save(stream, "PNG", compress_level=3)
    return stream.getvalue()
