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

_WINDOW = 4096
"""Places at a time on a CPU whose waves are computed together."""

_BLOCK_NUMBERS = 800_000
"""Harmonics at a time, so that the tables in between stay in a CPU's cache."""


@register("location", "spherical-harmonics")
class SphericalHarmonics(LocationEncoder):
    """Real spherical harmonics with a SIREN (Russwurm et al., ICLR 2024; SatCLIP, AAAI 2025).

    Features (L^2): Y_lm for l < L and m = -l..l, feature l^2 + l + m; orthonormal on the sphere,
    sqrt(2) K P sin(|m| lon) for m < 0 and sqrt(2) K P cos(m lon) for m > 0, without the
    Condon-Shortley sign. Continuous over the antimeridian, one value at each pole; the finest wave
    is 360 / (L - 1) degrees.

    Evaluation: P_lm(cos colatitude) is an exact cosine series of the colatitude (times its sine for
    odd m), so two products of matrices give all harmonics. Unlike recurrences in cos(colatitude)
    this keeps full float32 precision near the poles, at any degree.

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
        with torch.device("cpu"):  # also where the weights are made elsewhere
            self._make_tables(degrees)
        self.even_series: Tensor
        self.odd_series: Tensor
        self.polar_row: Tensor
        self.around_row: Tensor

    def _make_tables(self, degrees: int) -> None:
        even, odd = cosine_series(degrees)
        degree = torch.arange(degrees).repeat_interleave(2 * torch.arange(degrees) + 1)
        order = torch.arange(degrees**2) - degree * (degree + 1)
        half = order >= 0
        parity = ((degree - order) % 2)[half]
        self._keep("even_series", even[parity == 0])
        self._keep("odd_series", odd[parity == 1])
        row_of = torch.argsort(torch.argsort(parity, stable=True))  # even rows come first
        self._keep("polar_row", row_of[degree * (degree + 1) // 2 + order.abs()])
        self._keep("around_row", order + degrees - 1)

    def _keep(self, name: str, table: Tensor) -> None:
        self.register_buffer(name, table.contiguous(), persistent=False)

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, L^2)`` float32, a transposed view."""
        on_cpu = lonlat.device.type == "cpu"
        if not on_cpu or lonlat.requires_grad or torch.compiler.is_compiling():
            return self._plainly(lonlat).T
        # rows a power of two apart would share the same few lines of the processor's cache
        padded = lonlat.new_empty(self.feature_dim, len(lonlat) + 16, dtype=torch.float32)
        harmonics = padded[:, : len(lonlat)]
        size = min(_WINDOW, max(64, _BLOCK_NUMBERS // self.feature_dim))
        scratch = padded.new_empty(3, self.feature_dim, min(size, len(lonlat)))
        for window in range(0, len(lonlat), _WINDOW):
            around, even, odd = self._waves(lonlat[window : window + _WINDOW])
            for start in range(0, around.shape[1], size):
                block = slice(start, start + size)
                waves = around[:, block], even[:, block], odd[:, block]
                out = harmonics[:, window + start :][:, : waves[0].shape[1]]
                self._fill(out, *waves, scratch[:, :, : out.shape[1]])
        return harmonics.T

    def _plainly(self, lonlat: Tensor) -> Tensor:
        """Harmonics ``(L^2, N)`` in few operations, for any device, gradient and export."""
        order = torch.arange(1 - self.degrees, self.degrees).to(lonlat).unsqueeze(1)
        colatitude = 0.25 - lonlat[:, 1] / 360
        around = sine(order.abs() * (lonlat[:, 0] / 360) + 0.25 * (order >= 0))
        around = torch.where(order % 2 == 1, around * sine(colatitude), around)
        step = order[self.degrees - 1 :]
        even, odd = (sine(step[parity::2] * colatitude + 0.25) for parity in (0, 1))
        polar = torch.cat([self.even_series @ even, self.odd_series @ odd])
        return polar[self.polar_row] * around[self.around_row]

    def _fill(
        self, out: Tensor, around: Tensor, even: Tensor, odd: Tensor, scratch: Tensor
    ) -> None:
        """The same from given waves, within memory that stays in the cache."""
        polar, gathered, turned = scratch
        evens, both = len(self.even_series), len(self.even_series) + len(self.odd_series)
        torch.mm(self.even_series, even, out=polar[:evens])
        torch.mm(self.odd_series, odd, out=polar[evens:both])
        torch.index_select(polar, 0, self.polar_row, out=gathered)
        torch.index_select(around, 0, self.around_row, out=turned)
        torch.mul(gathered, turned, out=out)

    def _waves(self, lonlat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Waves around the axis, and even and odd cosines of the colatitude: ``(.., N)`` each.

        Multiples of an angle by addition theorems, the known ones giving as many again.
        """
        colatitude = 90 - lonlat[:, 1]
        angle = torch.stack([lonlat[:, 0], colatitude]).deg2rad()
        cos, sin = angle.new_empty(2, max(2, self.degrees), 2, len(lonlat))
        cos[0], sin[0] = 1, 0
        torch.cos(angle, out=cos[1])
        torch.sin(angle, out=sin[1])
        known = 1
        while known < self.degrees - 1:
            new = slice(known + 1, min(2 * known + 1, self.degrees))
            old = slice(1, new.stop - known)
            torch.mul(cos[old], cos[known], out=cos[new]).addcmul_(sin[old], sin[known], value=-1)
            torch.mul(cos[old], sin[known], out=sin[new]).addcmul_(sin[old], cos[known])
            known = new.stop - 1
        around = torch.empty(2 * self.degrees - 1, len(lonlat))
        around[self.degrees - 1 :] = cos[: self.degrees, 0]
        around[: self.degrees - 1] = sin[1 : self.degrees, 0].flip(0)
        odd_orders = around[self.degrees % 2 :: 2]
        odd_orders *= sin[1, 1].float()
        cosines = cos[: self.degrees, 1].float()
        return around, cosines[0::2], cosines[1::2]


def cosine_series(degrees: int) -> tuple[Tensor, Tensor]:
    """Cosine coefficients of the normalised associated Legendre functions.

    Returns:
        Two float32 matrices, a row for each l and m = 0..l: coefficients of cos(k t) for
        k = 0, 2, .. and for k = 1, 3, .. The first has only zeros in rows with odd l - m, the
        second in those with even l - m. P_lm(cos t) is the sum of both series, times sin t if m is
        odd; orders other than 0 carry the factor sqrt(2) of real harmonics.
    """
    angle = (torch.arange(degrees, dtype=torch.float64) + 0.5) * (math.pi / degrees)
    step = torch.arange(degrees, dtype=torch.float64).unsqueeze(1)
    transform = (step * angle).cos() * torch.where(step == 0, 1, 2) / degrees  # DCT-II, (k, node)
    rows = []
    for values in _legendre(degrees, angle):
        series = values @ transform.T
        series[1:] *= math.sqrt(2)
        rows.append(series)
    both = torch.cat(rows).float()
    return both[:, 0::2], both[:, 1::2]


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
