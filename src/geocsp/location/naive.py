"""Naive: longitude and latitude as they are."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from geocsp.location.angles import KM_PER_DEGREE
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Shared
from geocsp.registry import register


@register("location", "naive")
class Naive(LocationEncoder):
    """Coordinates scaled to [-1, 1], the simplest baseline (Mai et al., ICLR 2020).

    Features (2): lon / 180, lat / 90. No scale of its own (finer than the world only through the
    network), a seam at the antimeridian, many values at a pole.

    Args:
        dim: size of the embedding.
        **shared: see :class:`geocsp.location.heads.Shared`.
    """

    periodic = False
    single_pole = False
    resolution_km = 360 * KM_PER_DEGREE

    def __init__(self, dim: int = 256, **shared: Unpack[Shared]) -> None:
        super().__init__(2, dim, **shared)

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 2)``."""
        return lonlat / lonlat.new_tensor([180.0, 90.0])
