"""Space2Vec-theory: waves in three directions, 120 degrees apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geocsp.location.angles import sin_cos
from geocsp.location.scales import DegreeScales
from geocsp.registry import register


@register("location", "space2vec-theory")
class Space2VecTheory(DegreeScales):
    """Space2Vec theory encoder (Mai et al., ICLR 2020), after the hexagonal code of grid cells.

    Features (6 F): with u1 = (1, 0), u2 = (-1/2, sqrt(3)/2), u3 = (-1/2, -sqrt(3)/2), for each
    radius r_i and each direction u: sin(x . u / r_i), cos(x . u / r_i), x = (lon, lat) in degrees.
    A seam at the antimeridian, many values at a pole.
    """

    features_per_radius = 6

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 6 F)``: radius by radius, direction by direction, sin then cos."""
        return three_directions(lonlat, self.radii)


def three_directions(position: Tensor, radii: Tensor) -> Tensor:
    """Waves of ``(N, 2)`` positions along three directions at ``(F,)`` radii: ``(N, 6 F)``."""
    root = math.sqrt(3) / 2
    directions = position.new_tensor([[1.0, 0.0], [-0.5, root], [-0.5, -root]])
    along = torch.stack([(position * direction).sum(1) for direction in directions], dim=1)
    return sin_cos(along.unsqueeze(1) / radii.unsqueeze(-1)).flatten(1)
