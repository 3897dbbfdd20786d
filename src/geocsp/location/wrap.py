"""Wrap: each coordinate as a point on its own circle, with a residual network."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from geocsp.location.angles import KM_PER_DEGREE
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Head, Shared
from geocsp.registry import register


@register("location", "wrap")
class Wrap(LocationEncoder):
    """Wrapped coordinates with a residual network (Mac Aodha et al., ICCV 2019).

    Features (4): sin and cos of pi lon / 180 and of pi lat / 90, ordered (sin lon, sin lat,
    cos lon, cos lat). Longitude closes over the antimeridian. Latitude is given a full turn as
    well, so the two poles share one value in the latitude features: a known property of this
    encoder. No scale finer than the world except through the network.

    Args:
        dim: size of the embedding.
        **shared: see :class:`geocsp.location.heads.Shared`; the network is residual.
    """

    default_head = Head.RESIDUAL
    periodic = True
    single_pole = False
    resolution_km = 360 * KM_PER_DEGREE

    def __init__(self, dim: int = 256, **shared: Unpack[Shared]) -> None:
        super().__init__(4, dim, **shared)

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 4)``."""
        return wrapped(lonlat)


def wrapped(lonlat: Tensor) -> Tensor:
    """Sin and cos of (pi lon / 180, pi lat / 90): ``(N, 4)``, both sines first."""
    angle = torch.pi * lonlat / lonlat.new_tensor([180.0, 90.0])
    return torch.cat([angle.sin(), angle.cos()], dim=1)
