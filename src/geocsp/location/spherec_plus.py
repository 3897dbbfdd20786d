"""Sphere2Vec-sphereC+: sphereC and the grid together."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.location.scales import RadianScales
from geocsp.location.spherec import waves
from geocsp.registry import register


@register("location", "sphere2vec-spherec+")
class SphereCPlus(RadianScales):
    """Sphere2Vec sphereC+ (Mai et al., ISPRS Journal 2023).

    Features (6 F): for each radius, with coordinates as in sphereC: sin lat_i, cos lat_i,
    sin lon_i, cos lon_i, cos lat_i cos lon_i, cos lat_i sin lon_i. A seam at the antimeridian,
    many values at a pole.
    """

    features_per_radius = 6

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 6 F)``, radius by radius."""
        (sin_lon, cos_lon), (sin_lat, cos_lat) = waves(lonlat, self.radii)
        columns = [sin_lat, cos_lat, sin_lon, cos_lon, cos_lat * cos_lon, cos_lat * sin_lon]
        return torch.stack(columns, -1).flatten(1)
