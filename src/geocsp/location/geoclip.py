"""GeoCLIP: random Fourier features of the equal-earth map at several scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM
from geocsp.location.angles import arcsine, sine
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Head
from geocsp.registry import register

_A = (1.340264, -0.081106, 0.000893, 0.003796)
_SCALE = 66.50336


@register("location", "geoclip")
class GeoCLIP(LocationEncoder):
    """Location encoder of GeoCLIP (Vivanco Cepeda et al., NeurIPS 2023).

    A place is projected to v on the equal-earth map (Savric et al., 2019). Features (2 W S): for
    each of S scales, cos(2 pi v . b) then sin(2 pi v . b) for W random directions b, normal with
    deviation ``scale``. A perceptron for each scale, and their sum is the embedding. A seam at the
    antimeridian; a pole is a line on this map.

    Args:
        dim: size of the embedding.
        scales: deviations of the random directions, coarse to fine.
        waves: number of directions at each scale, W.
        legacy_float32: project and multiply in float32, as the published code does; its own
            rounding is up to 2e-5 in the embedding.
        hidden: width of the hidden layers of a perceptron.
        layers: number of its hidden layers.
        dropout: probability of dropping a hidden unit.
        date_harmonics: waves of the year that every perceptron gets.
        hour_harmonics: waves of the day that every perceptron gets.

    Raises:
        ValueError: no scales, or scales that are not positive.
    """

    default_head = Head.CAPSULES
    periodic = False
    single_pole = False

    def __init__(
        self,
        dim: int = 512,
        *,
        scales: Sequence[float] = (1.0, 16.0, 256.0),
        waves: int = 256,
        legacy_float32: bool = False,
        hidden: int = 1024,
        layers: int = 3,
        dropout: float = 0.0,
        date_harmonics: int = 0,
        hour_harmonics: int = 0,
    ) -> None:
        if not scales or not all(0 < scale < math.inf for scale in scales):
            raise ValueError(f"scales must be positive and finite, got {list(scales)}")
        super().__init__(
            2 * waves * len(scales),
            dim,
            blocks=len(scales),
            hidden=hidden,
            layers=layers,
            dropout=dropout,
            shared=2 * (date_harmonics + hour_harmonics),
            date_harmonics=date_harmonics,
            hour_harmonics=hour_harmonics,
        )
        self.legacy_float32 = legacy_float32
        map_per_radian = _SCALE / 180 * 2 * math.sqrt(3) / (3 * _A[0])
        self.resolution_km = EARTH_RADIUS_KM / map_per_radian / max(scales)
        deviation = torch.tensor(list(scales)).view(-1, 1, 1)
        self.register_buffer("directions", torch.randn(len(scales), waves, 2) * deviation)
        self.directions: Tensor

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 2 W S)``: scale by scale, cosines then sines."""
        if self.legacy_float32:
            turn = (2 * math.pi) * equal_earth(lonlat.float())
            angle = turn @ self.directions.transpose(1, 2)
            waves = torch.cat([angle.cos(), angle.sin()], dim=-1)
        else:
            turns = equal_earth(lonlat) @ self.directions.to(lonlat.dtype).transpose(1, 2)
            waves = sine(torch.cat([turns + 0.25, turns], dim=-1))
        return waves.transpose(0, 1).flatten(1)


def equal_earth(lonlat: Tensor) -> Tensor:
    """Equal-earth projection, scaled as in GeoCLIP: ``(N, 2)`` degrees to ``(N, 2)``.

    Source: Savric, Patterson and Jenny, IJGIS 33 (2019), with GeoCLIP's factor 66.50336 / 180.
    """
    lon, lat = lonlat.deg2rad().unbind(1)
    sine_of = lonlat.new_tensor(3.0).sqrt() / 2 * lat.sin()
    theta = arcsine(sine_of) if lonlat.dtype == torch.float64 else sine_of.asin()
    a1, a2, a3, a4 = _A
    below = 3 * (9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1)
    x = 2 * lonlat.new_tensor(3.0).sqrt() * lon * theta.cos() / below
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return torch.stack([x, y], dim=1) * _SCALE / 180
