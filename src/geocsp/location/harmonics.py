"""Spherical harmonics: the waves that a sphere has by itself."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from geocsp.location.angles import KM_PER_DEGREE, sine
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Head, Shared
from geocsp.registry import register


@register("location", "spherical-harmonics")
class SphericalHarmonics(LocationEncoder):
    """Real spherical harmonics with a SIREN (Russwurm et al., ICLR 2024; SatCLIP, AAAI 2025).

    Features (L^2): Y_lm for l < L and m = -l..l, feature l^2 + l + m; orthonormal on the sphere,
    sqrt(2) K P sin(|m| lon) for m < 0 and sqrt(2) K P cos(m lon) for m > 0, without the
    Condon-Shortley sign. Continuous over the antimeridian, one value at each pole; the finest wave
    is 360 / (L - 1) degrees.

    Evaluation: for each l, P_lm(cos colatitude) is an exact short cosine series of the colatitude
    (times its sine for odd m), so that all m come from one product of matrices. Unlike recurrences
    in cos(colatitude) this keeps full float32 precision near the poles, at any degree.

    Args:
        dim: size of the embedding.
        degrees: L, number of degrees l.
        **shared: see :class:`geocsp.location.heads.Shared`; the network is a SIREN.

    Raises:
        ValueError: fewer than one degree.
    """

    default_head = Head.SIREN
    periodic = True
    single_pole = True

    def __init__(self, dim: int = 256, *, degrees: int = 40, **shared: Unpack[Shared]) -> None:
        if degrees < 1:
            raise ValueError(f"need at least one degree, got {degrees}")
        super().__init__(degrees**2, dim, **shared)
        self.degrees = degrees
        self.resolution_km = 360 / max(1, degrees - 1) * KM_PER_DEGREE
        self.register_buffer("series", cosine_series(degrees), persistent=False)
        self.series: Tensor

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, L^2)`` float32, a transposed view."""
        count = self.degrees
        turns = lonlat.T / 360  # longitude and latitude, one place per column
        orders = torch.arange(1 - count, count).to(lonlat).unsqueeze(1)
        around = sine(orders.abs() * turns[0] + 0.25 * (orders >= 0))
        colatitude = 0.25 - turns[1]
        around *= torch.where(orders % 2 == 1, sine(colatitude), 1.0)
        steps = torch.arange(count).to(lonlat).unsqueeze(1)
        waves = sine(steps * colatitude + 0.25)
        by_parity = waves[0::2].contiguous(), waves[1::2].contiguous()
        harmonics = around.new_empty(count**2, len(lonlat))
        start = 0
        for degree in range(count):
            rows = harmonics[degree**2 : (degree + 1) ** 2]
            for parity in (0, 1):  # of the order: which cosines, and every other row
                size = series_shape(degree, parity)
                series = self.series[start : start + math.prod(size)].view(size)
                start += series.numel()
                cosines = by_parity[(degree - parity) % 2][: size[1]]
                torch.mm(series, cosines, out=rows[(degree - parity) % 2 :: 2])
            rows *= around[count - 1 - degree : count + degree]
        return harmonics.T


def series_shape(degree: int, parity: int) -> tuple[int, int]:
    """How many orders of a parity a degree has, and how many cosines these need."""
    return degree + 1 - (degree - parity) % 2, (degree - parity) // 2 + 1


def cosine_series(degrees: int) -> Tensor:
    """Cosine coefficients of the normalised associated Legendre functions, float32, flat.

    For each degree l and then even and odd orders m = -l..l: a matrix of :func:`series_shape`, row
    per order, column per k = l - parity, down to 0 or 1 in steps of two, ascending, such that
    P_lm(cos t) = (sin t if m is odd else 1) * sum over k of coefficient * cos(k t). Orders other
    than 0 carry the factor sqrt(2) of real harmonics.
    """
    angle = (torch.arange(degrees, dtype=torch.float64) + 0.5) * (math.pi / degrees)
    step = torch.arange(degrees, dtype=torch.float64).unsqueeze(1)
    transform = (step * angle).cos() * torch.where(step == 0, 1, 2) / degrees  # DCT-II, (k, node)
    matrices = []
    for degree, values in enumerate(_legendre(degrees, angle)):
        series = values @ transform[: degree + 1].T
        series[1:] *= math.sqrt(2)
        series = torch.cat([series[1:].flip(0), series])
        for first in (degree % 2, (degree + 1) % 2):  # even, then odd orders
            matrices.append(series[first::2, first::2].flatten())
    return torch.cat(matrices).float()


def _legendre(degrees: int, angle: Tensor) -> list[Tensor]:
    """P_lm(cos angle), orthonormal with exp(i m lon), divided by the sine for odd m: (l + 1, n).

    The three-term recurrence over the degree (Holmes and Featherstone, J. Geodesy 2002), float64.
    """
    cosine, sine_of = angle.cos(), angle.sin()
    rows: list[Tensor] = []
    sectoral = torch.full_like(angle, math.sqrt(1 / (4 * math.pi)))
    for degree in range(degrees):
        order = torch.arange(degree, dtype=torch.float64).unsqueeze(1)  # 0..degree - 1
        if degree:
            sectoral = sectoral * math.sqrt((2 * degree + 1) / (2 * degree)) * sine_of
        row = torch.empty(0, len(angle), dtype=torch.float64)
        if degree:
            scale = (4 * degree**2 - 1) / (degree**2 - order**2)
            row = scale.sqrt() * cosine * rows[-1]
        if degree > 1:
            less = (2 * degree + 1) * ((degree - 1) ** 2 - order[:-1] ** 2)
            less = less / ((2 * degree - 3) * (degree**2 - order[:-1] ** 2))
            row[:-1] -= less.sqrt() * rows[-2]
        rows.append(torch.cat([row, sectoral.unsqueeze(0)]))
    for row in rows:
        row[1::2] /= sine_of
    return rows
