"""Cartesian: a place as a point on the unit sphere."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from geocsp.coords import unit_vectors
from geocsp.location.angles import KM_PER_DEGREE
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Shared
from geocsp.registry import register


@register("location", "xyz")
class Cartesian(LocationEncoder):
    """Point on the unit sphere (baseline of Sphere2Vec, Mai et al., ISPRS 2023).

    Features (3): cos lat cos lon, cos lat sin lon, sin lat. Continuous over the antimeridian, one
    value at each pole; no scale finer than the world except through the network.

    Args:
        dim: size of the embedding.
        legacy_double_latitude: turn the latitude twice as far, as the released code of Mac Aodha
            et al. (2019) does, so that the poles become the same circle as the equator.
        **shared: see :class:`geocsp.location.heads.Shared`.
    """

    periodic = True
    single_pole = True
    resolution_km = 360 * KM_PER_DEGREE

    def __init__(
        self, dim: int = 256, *, legacy_double_latitude: bool = False, **shared: Unpack[Shared]
    ) -> None:
        super().__init__(3, dim, **shared)
        self.turns = 2.0 if legacy_double_latitude else 1.0
        self.single_pole = not legacy_double_latitude

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 3)``."""
        return unit_vectors(lonlat * lonlat.new_tensor([1.0, self.turns]))
