"""Sphere2Vec-sphereM: one coordinate at many scales, the other at the scale of the world."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.location.scales import RadianScales
from geocsp.location.spherec import waves
from geocsp.registry import register


@register("location", "sphere2vec-spherem")
class SphereM(RadianScales):
    """Sphere2Vec sphereM (Mai et al., ISPRS Journal 2023).

    Features (5 F): for each radius, with lon_i and lat_i as in sphereC: sin lat_i,
    cos lat_i cos lon, cos lat cos lon_i, cos lat_i sin lon, cos lat sin lon_i. A seam at the
    antimeridian, many values at a pole.
    """

    features_per_radius = 5

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 5 F)``, radius by radius."""
        _, (sin_lat, _) = scaled = waves(lonlat, self.radii)
        return torch.stack([sin_lat, *mixed(lonlat, scaled)], -1).flatten(1)


def mixed(
    lonlat: Tensor, scaled: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> list[Tensor]:
    """Products of one coordinate's waves with the other at the scale of the world."""
    (sin_lon_i, cos_lon_i), (_, cos_lat_i) = scaled
    (sin_lon, cos_lon), (_, cos_lat) = waves(lonlat, lonlat.new_ones(1))
    return [cos_lat_i * cos_lon, cos_lat * cos_lon_i, cos_lat_i * sin_lon, cos_lat * sin_lon_i]
