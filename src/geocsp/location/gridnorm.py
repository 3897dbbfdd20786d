"""Space2Vec-gridnorm: the grid encoding of radians."""

from __future__ import annotations

from torch import Tensor

from geocsp.location.angles import waves_at
from geocsp.location.scales import RadianScales
from geocsp.registry import register


@register("location", "space2vec-gridnorm")
class Space2VecGridNorm(RadianScales):
    """Space2Vec grid encoder of radians, as its name in the released code intends.

    Features (4 F): for each coordinate c of (lon, lat) in radians and each radius r_i:
    sin(c / r_i), cos(c / r_i). (The released code never converts to radians, so its files are
    plain ``space2vec-grid``.) A seam at the antimeridian, many values at a pole.
    """

    features_per_radius = 4

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 4 F)``: lon then lat, radius by radius, sin then cos."""
        return waves_at(lonlat.deg2rad(), self.radii)
