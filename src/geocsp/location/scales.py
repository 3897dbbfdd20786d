"""Encodings at many scales: a geometric series of radii, in degrees or in radians."""

from __future__ import annotations

import math
from typing import ClassVar, Unpack

from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM
from geocsp.location.angles import KM_PER_DEGREE, geometric_radii
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Shared


class ManyScales(LocationEncoder):
    """Features at radii r_i = min_radius (max_radius / min_radius)^(i / (frequencies - 1)).

    A coordinate c enters as c / r_i, so the finest wave is 2 pi min_radius long. Radii that are
    not one over a whole number leave a seam at the antimeridian.
    """

    periodic = False
    single_pole = False
    km_per_unit: ClassVar[float]

    def __init__(
        self,
        dim: int,
        feature_dim: int,
        frequencies: int,
        min_radius: float,
        max_radius: float,
        **shared: Unpack[Shared],
    ) -> None:
        radii = geometric_radii(frequencies, min_radius, max_radius)
        super().__init__(feature_dim, dim, **shared)
        self.register_buffer("radii", radii)
        self.radii: Tensor
        self.resolution_km = 2 * math.pi * min_radius * self.km_per_unit


class DegreeScales(ManyScales):
    """Radii in degrees of longitude and latitude.

    Args:
        dim: size of the embedding.
        frequencies: number of radii, F.
        min_radius: finest radius, degrees (its wave is 2 pi times as long).
        max_radius: coarsest radius, degrees.
        **shared: see :class:`geocsp.location.heads.Shared`.
    """

    features_per_radius: ClassVar[int]
    km_per_unit = KM_PER_DEGREE

    def __init__(
        self,
        dim: int = 256,
        *,
        frequencies: int = 32,
        min_radius: float = 0.1,
        max_radius: float = 360.0,
        **shared: Unpack[Shared],
    ) -> None:
        size = self.features_per_radius * frequencies
        super().__init__(dim, size, frequencies, min_radius, max_radius, **shared)


class RadianScales(ManyScales):
    """Radii in radians.

    Args:
        dim: size of the embedding.
        frequencies: number of radii, F.
        min_radius: finest radius, radians (its wave is 2 pi times as long).
        max_radius: coarsest radius, radians.
        **shared: see :class:`geocsp.location.heads.Shared`.
    """

    features_per_radius: ClassVar[int]
    km_per_unit = EARTH_RADIUS_KM

    def __init__(
        self,
        dim: int = 256,
        *,
        frequencies: int = 32,
        min_radius: float = 0.002,
        max_radius: float = 1.0,
        **shared: Unpack[Shared],
    ) -> None:
        size = self.features_per_radius * frequencies
        super().__init__(dim, size, frequencies, min_radius, max_radius, **shared)
