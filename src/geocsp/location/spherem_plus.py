"""Sphere2Vec-sphereM+: sphereM and the grid together."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.location.spherec import waves
from geocsp.location.spherem import SphereM
from geocsp.registry import register


@register("location", "sphere2vec-spherem+")
class SphereMPlus(SphereM):
    """Sphere2Vec sphereM+ (Mai et al., ISPRS Journal 2023).

    Features (8 F): for each radius: sin lat_i, cos lat_i, sin lon_i, cos lon_i, then the four
    products of sphereM. A seam at the antimeridian, many values at a pole. Settings as sphereM.
    """

    features_per_radius = 8

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 8 F)``, radius by radius."""
        (sin_lon, cos_lon), (sin_lat, cos_lat) = scaled = waves(lonlat, self.radii)
        columns = [sin_lat, cos_lat, sin_lon, cos_lon, *self.mixed(lonlat, scaled)]
        return torch.stack(columns, -1).flatten(1)
