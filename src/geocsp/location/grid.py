"""Space2Vec-grid: sines and cosines of each coordinate at geometric scales."""

from __future__ import annotations

from torch import Tensor

from geocsp.location.angles import waves_at
from geocsp.location.scales import DegreeScales
from geocsp.registry import register


@register("location", "space2vec-grid")
class Space2VecGrid(DegreeScales):
    """Space2Vec grid encoder (Mai et al., ICLR 2020).

    Features (4 F): for each coordinate c of (lon, lat) and each radius r_i: sin(c / r_i),
    cos(c / r_i), in degrees. A chart of the plate carree plane: a seam at the antimeridian, many
    values at a pole.
    """

    features_per_radius = 4

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 4 F)``: lon then lat, radius by radius, sin then cos."""
        return waves_at(lonlat, self.radii)
