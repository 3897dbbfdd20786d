"""Sphere2Vec-dfs: double Fourier series on the sphere."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM
from geocsp.location.heads import Shared
from geocsp.location.scales import ManyScales
from geocsp.location.spherec import waves
from geocsp.registry import register


@register("location", "sphere2vec-dfs")
class SphereDFS(ManyScales):
    """Sphere2Vec dfs (Mai et al., ISPRS Journal 2023), a double Fourier series.

    Features (4 F^2 + 4 F): every product of (sin lon_1.., cos lon_1..) with (sin lat_1..,
    cos lat_1..), longitude by row; then for each radius sin lat_i, cos lat_i, sin lon_i, cos lon_i.
    Their number grows with the square of F. A seam at the antimeridian, many values at a pole.

    Args:
        dim: size of the embedding.
        frequencies: number of radii, F.
        min_radius: finest radius, radians.
        max_radius: coarsest radius, radians.
        **shared: see :class:`geocsp.location.heads.Shared`.
    """

    km_per_unit = EARTH_RADIUS_KM

    def __init__(
        self,
        dim: int = 256,
        *,
        frequencies: int = 8,
        min_radius: float = 0.01,
        max_radius: float = 1.0,
        **shared: Unpack[Shared],
    ) -> None:
        size = 4 * frequencies**2 + 4 * frequencies
        super().__init__(dim, size, frequencies, min_radius, max_radius, **shared)

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 4 F^2 + 4 F)``."""
        (sin_lon, cos_lon), (sin_lat, cos_lat) = waves(lonlat, self.radii)
        lon, lat = torch.cat([sin_lon, cos_lon], 1), torch.cat([sin_lat, cos_lat], 1)
        products = lon.unsqueeze(2) * lat.unsqueeze(1)
        single = torch.stack([sin_lat, cos_lat, sin_lon, cos_lon], -1)
        return torch.cat([products.flatten(1), single.flatten(1)], dim=1)
