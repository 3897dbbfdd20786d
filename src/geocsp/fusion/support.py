"""Where a location prior was trained, and how far other places are from there."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM, check_lonlat, unit_vectors
from geocsp.errors import DataError

_NEIGHBOURS = 10


class Support:
    """The places that a location prior was trained on.

    Args:
        lonlat: ``(M, 2)`` degrees.

    Raises:
        DataError: there is no place.
        ValueError: a place is missing or out of range.
    """

    def __init__(self, lonlat: Tensor) -> None:
        if not len(check_lonlat(lonlat)):
            raise DataError("the support has no places; give those that the prior was trained on")
        self._tree = cKDTree(unit_vectors(lonlat.detach().cpu().double()).numpy())

    def __len__(self) -> int:
        return int(self._tree.n)

    def km(self, lonlat: Tensor) -> Tensor:
        """Great-circle distance to the nearest of the places, ``(N,)`` float64 kilometres.

        Args:
            lonlat: ``(N, 2)`` degrees; the distance of a row with NaN is infinite.

        Raises:
            ValueError: a place is out of range.
        """
        return self._km(lonlat, 1)

    def density(self, lonlat: Tensor) -> Tensor:
        """Logarithm of how many of the places there are per million square kilometres, ``(N,)``.

        Counted in the cap that reaches to the tenth nearest of them, or to the last if there are
        fewer (Loftsgaarden and Quesenberry, Annals of Mathematical Statistics 1965); a cap that
        reaches less than a kilometre counts as one that does.

        Args:
            lonlat: ``(N, 2)`` degrees; the density of a row with NaN is minus infinity.

        Raises:
            ValueError: a place is out of range.
        """
        count = min(_NEIGHBOURS, len(self))
        angle = self._km(lonlat, count).clamp_min(1.0) / EARTH_RADIUS_KM
        area = 4e-6 * torch.pi * (EARTH_RADIUS_KM * (angle / 2).sin()).square()
        return torch.where(angle.isfinite(), (count / area).log(), -torch.inf)

    def _km(self, lonlat: Tensor, count: int) -> Tensor:
        """Distance to the place that is so many-th nearest."""
        lonlat = lonlat.detach().cpu()
        placed = ~lonlat.isnan().any(dim=1)
        check_lonlat(torch.where(placed.unsqueeze(1), lonlat, 0.0))
        chord, _ = self._tree.query(unit_vectors(lonlat[placed].double()).numpy(), k=[count])
        half = torch.from_numpy(chord[:, 0]) / 2
        km = torch.full((len(lonlat),), torch.inf, dtype=torch.float64)
        km[placed] = 2 * EARTH_RADIUS_KM * half.clamp_max(1.0).asin()
        return km
