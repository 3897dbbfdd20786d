"""RBF: how close a place is to each of a set of anchors."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from geocsp.coords import check_lonlat, unit_vectors
from geocsp.location.angles import KM_PER_DEGREE
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Shared
from geocsp.registry import register


@register("location", "rbf")
class RBF(LocationEncoder):
    """Radial basis functions around anchor places (baseline of Mai et al., ICLR 2020).

    Features (M): exp(-d^2 / (2 width^2)) for the great-circle distance d to each of M anchors.
    Continuous over the antimeridian, one value at each pole, scale as wide as the kernel.

    Args:
        dim: size of the embedding.
        anchors: number of anchors, M; a golden spiral over the sphere until
            :meth:`set_anchors` puts them where the data is.
        width: of the kernel, degrees of arc.
        legacy_distance: measure d in the plane of degrees, as in the released code: a seam at the
            antimeridian, many values at a pole.
        **shared: see :class:`geocsp.location.heads.Shared`.

    Raises:
        ValueError: no anchors, or a width that is not positive.
    """

    def __init__(
        self,
        dim: int = 256,
        *,
        anchors: int = 200,
        width: float = 10.0,
        legacy_distance: bool = False,
        **shared: Unpack[Shared],
    ) -> None:
        if not (anchors > 0 and 0 < width < math.inf):
            raise ValueError(f"need anchors and a width, got {anchors} anchors, width {width}")
        super().__init__(anchors, dim, **shared)
        self.width = width
        self.legacy_distance = legacy_distance
        self.periodic = self.single_pole = not legacy_distance
        self.resolution_km = width * KM_PER_DEGREE
        self.register_buffer("anchors", _spiral(anchors))
        self.anchors: Tensor

    def set_anchors(self, lonlat: Tensor) -> None:
        """Put the anchors at ``(M, 2)`` degrees, such as a sample of the training places.

        Raises:
            ValueError: not M valid places.
        """
        if check_lonlat(lonlat, "anchors").shape != self.anchors.shape:
            raise ValueError(f"need {len(self.anchors)} anchors, got {len(lonlat)}")
        self.anchors.copy_(lonlat)

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, M)``."""
        if self.legacy_distance:
            return _gaussian(_distances(lonlat, self.anchors) / self.width)
        half_chord = _distances(unit_vectors(lonlat), unit_vectors(self.anchors)) / 2
        arc = 2 * half_chord.float().clamp(max=1).asin()
        return _gaussian(arc.rad2deg() / self.width)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return (a.unsqueeze(1) - b).square().sum(2).clamp_min(1e-30).sqrt()  # slope 0 at an anchor


def _gaussian(distance: Tensor) -> Tensor:
    return (-0.5 * distance.square()).float().exp()


def _spiral(count: int) -> Tensor:
    """Places spread evenly over the sphere along a golden spiral: ``(count, 2)`` degrees."""
    step = torch.arange(count, dtype=torch.float64) + 0.5
    lat = (1 - 2 * step / count).asin().rad2deg()
    lon = torch.remainder(step * (180 * (3 - math.sqrt(5))), 360) - 180
    return torch.stack([lon, lat], dim=1)
