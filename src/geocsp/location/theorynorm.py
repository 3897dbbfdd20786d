"""Space2Vec-theorynorm: the theory encoding of radians."""

from __future__ import annotations

from torch import Tensor

from geocsp.location.scales import RadianScales
from geocsp.location.theory import three_directions
from geocsp.registry import register


@register("location", "space2vec-theorynorm")
class Space2VecTheoryNorm(RadianScales):
    """Space2Vec theory encoder of radians (released code of CSP, Mai et al., ICML 2023).

    Features (6 F): as ``space2vec-theory`` with x = (lon, lat) in radians. A seam at the
    antimeridian, many values at a pole.
    """

    features_per_radius = 6

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 6 F)``: radius by radius, direction by direction, sin then cos."""
        return three_directions(lonlat.deg2rad(), self.radii)
