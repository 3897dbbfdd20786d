"""NeRF: waves of the Cartesian coordinates at doubling frequencies."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM, unit_vectors
from geocsp.location.angles import sin_cos
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Shared
from geocsp.registry import register


@register("location", "nerf")
class NeRF(LocationEncoder):
    """NeRF encoding of points on the sphere (Mildenhall et al., ECCV 2020; TorchSpatial).

    Features (6 F): for i = 0..F-1 and (x, y, z) on the unit sphere, sin of 2^i pi x, then y, then
    z, then the cosines. The finest wave is 2^(2 - F) Earth radii long. Continuous over the
    antimeridian, one value at each pole.

    Args:
        dim: size of the embedding.
        frequencies: number of frequencies, F.
        **shared: see :class:`geocsp.location.heads.Shared`.

    Raises:
        ValueError: more frequencies than float64 can tell apart.
    """

    periodic = True
    single_pole = True

    def __init__(self, dim: int = 256, *, frequencies: int = 10, **shared: Unpack[Shared]) -> None:
        if frequencies > 64:
            raise ValueError(f"at most 64 frequencies have exact angles, got {frequencies}")
        super().__init__(6 * frequencies, dim, **shared)
        self.frequencies = frequencies
        self.resolution_km = 2.0 ** (2 - frequencies) * EARTH_RADIUS_KM

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 6 F)``: sin x, sin y, sin z, cos x, cos y, cos z, each at F frequencies."""
        doubling = math.pi * 2.0 ** torch.arange(self.frequencies).to(lonlat)
        waves = sin_cos(unit_vectors(lonlat).unsqueeze(-1) * doubling)
        return waves.movedim(-1, 1).flatten(1)
