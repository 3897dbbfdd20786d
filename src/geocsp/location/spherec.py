"""Sphere2Vec-sphereC: points on the sphere at many scales."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.location.angles import sine
from geocsp.location.scales import RadianScales
from geocsp.registry import register


@register("location", "sphere2vec-spherec")
class SphereC(RadianScales):
    """Sphere2Vec sphereC (Mai et al., ISPRS Journal 2023).

    Features (3 F): for each radius r_i, with lon_i = lon / r_i and lat_i = lat / r_i in radians:
    sin lat_i, cos lat_i cos lon_i, cos lat_i sin lon_i. Keeps great-circle distances at the
    coarsest radius; finer ones leave a seam at the antimeridian and many values at a pole.
    """

    features_per_radius = 3

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 3 F)``, radius by radius."""
        (sin_lon, cos_lon), (sin_lat, cos_lat) = waves(lonlat, self.radii)
        return torch.stack([sin_lat, cos_lat * cos_lon, cos_lat * sin_lon], -1).flatten(1)


def waves(lonlat: Tensor, radii: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(sin, cos) of longitude, and of latitude, at ``(F,)`` radii in radians: each ``(N, F)``."""
    turns = (lonlat / 360).unsqueeze(-1) / radii
    sin, cos = sine(torch.stack([turns, turns + 0.25]))
    return (sin[:, 0], cos[:, 0]), (sin[:, 1], cos[:, 1])
