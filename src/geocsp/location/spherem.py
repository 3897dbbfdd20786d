"""Sphere2Vec-sphereM: one coordinate at many scales, the other at the scale of the world."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from geocsp.location.heads import Shared
from geocsp.location.scales import RadianScales
from geocsp.location.spherec import waves
from geocsp.registry import register


@register("location", "sphere2vec-spherem")
class SphereM(RadianScales):
    """Sphere2Vec sphereM (Mai et al., ISPRS Journal 2023).

    Features (5 F): for each radius, with lon_i and lat_i as in sphereC: sin lat_i,
    cos lat_i cos lon, cos lat cos lon_i, cos lat_i sin lon, cos lat sin lon_i. A seam at the
    antimeridian, many values at a pole.

    Args:
        dim: size of the embedding.
        frequencies: number of radii, F.
        min_radius: finest radius, radians (its wave is 2 pi times as long).
        max_radius: coarsest radius, radians.
        base_radius: radius of the coordinate that is not at many scales, radians.
        **shared: see :class:`geocsp.location.heads.Shared`.
    """

    features_per_radius = 5

    def __init__(
        self,
        dim: int = 256,
        *,
        frequencies: int = 32,
        min_radius: float = 0.002,
        max_radius: float = 1.0,
        base_radius: float = 1.0,
        **shared: Unpack[Shared],
    ) -> None:
        if not 0 < base_radius < math.inf:
            raise ValueError(f"base_radius must be positive and finite, got {base_radius}")
        super().__init__(
            dim, frequencies=frequencies, min_radius=min_radius, max_radius=max_radius, **shared
        )
        self.base_radius = base_radius

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 5 F)``, radius by radius."""
        _, (sin_lat, _) = scaled = waves(lonlat, self.radii)
        return torch.stack([sin_lat, *self.mixed(lonlat, scaled)], -1).flatten(1)

    def mixed(
        self, lonlat: Tensor, scaled: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
    ) -> list[Tensor]:
        """Products of one coordinate's scaled waves with the other's at the base radius."""
        (sin_lon_i, cos_lon_i), (_, cos_lat_i) = scaled
        base = lonlat.new_tensor([self.base_radius])
        (sin_lon, cos_lon), (_, cos_lat) = waves(lonlat, base)
        return [cos_lat_i * cos_lon, cos_lat * cos_lon_i, cos_lat_i * sin_lon, cos_lat * sin_lon_i]
