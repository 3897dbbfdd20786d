"""Space2Vec-hexagonal: three phases of a sine of each coordinate."""

from __future__ import annotations

import math

from torch import Tensor

from geocsp.location.angles import sine
from geocsp.location.scales import DegreeScales
from geocsp.registry import register


@register("location", "space2vec-hexagonal")
class Space2VecHexagonal(DegreeScales):
    """Hexagonal variant of the Space2Vec grid (released code of Mai et al., ICLR 2020).

    Features (6 F): for each coordinate c of (lon, lat) in degrees and each radius r_i:
    sin(c / r_i), sin(c / r_i + 2 pi / 3), sin(c / r_i + 4 pi / 3). The release fixes the finest
    radius to 1 degree. A seam at the antimeridian, many values at a pole.
    """

    features_per_radius = 6

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 6 F)``: lon then lat, radius by radius, phase by phase."""
        turns = lonlat.unsqueeze(-1) / (2 * math.pi * self.radii)
        phases = lonlat.new_tensor([0.0, 1 / 3, 2 / 3])
        return sine(turns.unsqueeze(-1) + phases).flatten(1)
