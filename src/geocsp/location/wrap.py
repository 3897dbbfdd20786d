"""Wrap: each coordinate as a point on its own circle, with a residual network."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.location.base import LocationEncoder
from geocsp.location.networks import ResidualFC
from geocsp.registry import register


@register("location", "wrap")
class Wrap(LocationEncoder):
    """Wrapped coordinates with a residual network (Mac Aodha et al., ICCV 2019).

    Features: sin and cos of pi lon / 180 and of pi lat / 90, ordered (sin lon, sin lat, cos lon,
    cos lat). Longitude closes over the antimeridian. Latitude is given a full turn as well, so
    the two poles share one value in the latitude features: a known property of this encoder.

    Args:
        dim: size of the embedding.
        blocks: number of residual blocks.
        dropout: probability of dropping a unit inside a block.
    """

    periodic = True
    single_pole = False

    def __init__(self, dim: int = 256, *, blocks: int = 4, dropout: float = 0.5) -> None:
        super().__init__(ResidualFC(4, dim, blocks=blocks, dropout=dropout), dim)

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 4)``."""
        angle = torch.pi * lonlat / lonlat.new_tensor([180.0, 90.0])
        return torch.cat([angle.sin(), angle.cos()], dim=1)
