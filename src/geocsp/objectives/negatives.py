"""Random negative places: uniform on the sphere, and the two historic samplers."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from geocsp.coords import sample_sphere


class NegativeSampling(StrEnum):
    """Where random negative places are drawn.

    SPHERE is uniform on the sphere. The other two reproduce released research code, whose numbers
    were made with them: LEGACY_DISC projects the sphere orthographically on the map's ellipse
    (2.5 times too many points beyond 60 degrees latitude, none in the map's corners; the published
    CSP scripts use it), LEGACY_OCTANT draws only longitudes 0 to 180 and latitudes 0 to 90.
    """

    SPHERE = "sphere"
    LEGACY_DISC = "legacy-disc"
    LEGACY_OCTANT = "legacy-octant"

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``(count, 2)`` places, float32 degrees."""
        if self is NegativeSampling.SPHERE:
            return sample_sphere(count, generator)
        uniform = torch.rand(count, 2, generator=generator)
        if self is NegativeSampling.LEGACY_OCTANT:
            return uniform * uniform.new_tensor([180.0, 90.0])
        radius = (1 - (2 * uniform[:, 0] - 1).square()).sqrt()
        turn = 2 * torch.pi * uniform[:, 1]
        return torch.stack([180 * radius * turn.cos(), 90 * radius * turn.sin()], dim=1)

    def for_each(self, lonlat: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count`` places for each of ``(B, 2)`` places: ``(B, count, 2)``, of their type."""
        return self.sample(len(lonlat) * count, generator).to(lonlat).view(len(lonlat), count, 2)
