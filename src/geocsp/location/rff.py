"""RFF: random waves, whose products approximate a Gaussian kernel."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from geocsp.location.angles import KM_PER_DEGREE, sine
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Shared
from geocsp.registry import register


@register("location", "rff")
class RFF(LocationEncoder):
    """Random Fourier features (Rahimi and Recht, NeurIPS 2007; baseline of Mai et al., 2020).

    Features (F): sqrt(2 / F) cos(w . x + b), x = (lon / 180, lat / 90), w normal with variance
    ``variance`` and b uniform in [0, 2 pi), both drawn once and kept. A seam at the antimeridian,
    many values at a pole; a typical wave spans 2 pi / sqrt(variance) half turns of the Earth.

    Args:
        dim: size of the embedding.
        waves: number of features, F.
        variance: of the random directions.
        **shared: see :class:`geocsp.location.heads.Shared`.

    Raises:
        ValueError: no variance.
    """

    periodic = False
    single_pole = False

    def __init__(
        self, dim: int = 256, *, waves: int = 256, variance: float = 100.0, **shared: Unpack[Shared]
    ) -> None:
        if not 0 < variance < math.inf:
            raise ValueError(f"variance must be positive and finite, got {variance}")
        super().__init__(waves, dim, **shared)
        self.resolution_km = 2 * math.pi / math.sqrt(variance) * 180 * KM_PER_DEGREE
        self.register_buffer("directions", torch.randn(2, waves).double() * math.sqrt(variance))
        self.register_buffer("phases", torch.rand(waves).double() * 2 * math.pi)
        self.directions: Tensor
        self.phases: Tensor

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, F)``."""
        angle = lonlat / lonlat.new_tensor([180.0, 90.0]) @ self.directions + self.phases
        return math.sqrt(2 / self.feature_dim) * sine(angle / (2 * math.pi) + 0.25)
