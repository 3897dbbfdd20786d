"""Angles that stay exact: reduced to one turn in float64, then sine and cosine in float32."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM

KM_PER_DEGREE = EARTH_RADIUS_KM * math.pi / 180


def geometric_radii(count: int, smallest: float, largest: float) -> Tensor:
    """Radii from ``smallest`` to ``largest`` in a geometric series: ``(count,)`` float64.

    Raises:
        ValueError: fewer than one radius, or radii that are not positive and ordered.
    """
    if count < 1 or not 0 < smallest <= largest < math.inf:
        raise ValueError(
            f"need count >= 1 and 0 < smallest <= largest, got {count}, {smallest}, {largest}"
        )
    if count == 1:
        return torch.tensor([smallest], dtype=torch.float64)
    steps = torch.arange(count, dtype=torch.float64) / (count - 1)
    return smallest * (largest / smallest) ** steps


def sine(turns: Tensor) -> Tensor:
    """sin(2 pi turns) of any number of float64 turns, as float32.

    Accurate to 1e-7 up to ten million turns: the reduction to a quarter turn is in float64, and
    only the rest is handed to the faster float32 sine.
    """
    return _from_crest(turns - 0.25)


def sin_cos(angle: Tensor) -> Tensor:
    """``[sin, cos]`` of float64 radians in a new last axis, float32, accurate as :func:`sine`."""
    crest = angle.new_tensor([-0.25, 0.0])
    return _from_crest((angle / (2 * math.pi)).unsqueeze(-1) + crest)


def waves_at(position: Tensor, radii: Tensor) -> Tensor:
    """Sin and cos of ``(N, C)`` positions at ``(F,)`` radii, interleaved: ``(N, 2 C F)`` float32.

    The same as :func:`sin_cos` of position / radius, in fewer and longer steps.
    """
    turns = position.unsqueeze(-1) / (2 * math.pi * radii.unsqueeze(1).expand(-1, 2).flatten())
    turns += radii.new_tensor([-0.25, 0.0]).repeat(len(radii))
    return _from_crest(turns).flatten(1)


def _from_crest(turns: Tensor) -> Tensor:
    """cos(2 pi turns), overwriting ``turns``."""
    turns -= turns.round()
    folded = torch.rsub(turns.abs_(), math.pi / 2, alpha=2 * math.pi)
    return folded.float().sin_()


def arcsine(x: Tensor) -> Tensor:
    """Arcsin of float64 by one Newton step from float32; runtimes of ONNX lack it in float64."""
    angle = x.float().asin().double()
    return angle - (angle.sin() - x) / angle.cos().clamp_min(1e-9)
