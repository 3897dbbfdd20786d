"""Places that lie some way off from given places."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM


def destination(lonlat: Tensor, bearing: Tensor, km: Tensor) -> Tensor:
    """Where one comes to by a great circle; exact at the poles and across the antimeridian.

    Args:
        lonlat: ``(N, 2)`` places to start from, degrees.
        bearing: ``(N,)`` direction to set out in, radians from north to east; at a pole, as seen
            on the meridian of the given longitude.
        km: ``(N,)`` distance, kilometres.

    Returns:
        ``(N, 2)`` degrees, in the type of ``lonlat``.
    """
    lon, lat = torch.deg2rad(lonlat.double()).unbind(1)
    angle = km / EARTH_RADIUS_KM
    ahead, aside = angle.sin() * bearing.cos(), angle.sin() * bearing.sin()
    outward = angle.cos() * lat.cos() - ahead * lat.sin()  # from the axis, on the old meridian
    upward = angle.cos() * lat.sin() + ahead * lat.cos()
    turned = lon + torch.atan2(aside, outward)
    new_lon = torch.atan2(turned.sin(), turned.cos())
    new_lat = torch.atan2(upward, torch.hypot(outward, aside))
    return torch.rad2deg(torch.stack([new_lon, new_lat], dim=1)).to(lonlat)


def jitter(lonlat: Tensor, km: float, generator: torch.Generator) -> Tensor:
    """Move each place by Gaussian noise on the sphere.

    Args:
        lonlat: ``(N, 2)`` degrees.
        km: standard deviation of the noise in each of two directions, kilometres; 0 moves nothing.
        generator: source of randomness, on the CPU.

    Returns:
        ``(N, 2)`` degrees.
    """
    if not km:
        return lonlat
    noise = torch.randn(len(lonlat), 2, generator=generator, dtype=torch.float64)
    east, north = noise.to(lonlat.device).unbind(1)
    return destination(lonlat, torch.atan2(east, north), km * torch.hypot(east, north))


def ring(
    lonlat: Tensor, near_km: float, far_km: float, count: int, generator: torch.Generator
) -> Tensor:
    """Places in a ring around each place, uniform by area on the sphere.

    Args:
        lonlat: ``(N, 2)`` centres, degrees.
        near_km: inner radius, kilometres.
        far_km: outer radius, kilometres, at most half way around the Earth.
        count: places around each centre.
        generator: source of randomness, on the CPU.

    Returns:
        ``(N, count, 2)`` degrees.
    """
    share = torch.rand(len(lonlat) * count, 2, generator=generator, dtype=torch.float64)
    share = share.to(lonlat.device)
    near, far = (math.sin(km / EARTH_RADIUS_KM / 2) ** 2 for km in (near_km, far_km))
    cap = near + share[:, 0] * (far - near)  # the area of a cap goes with sin(angle / 2) squared
    km = 2 * EARTH_RADIUS_KM * cap.sqrt().asin()
    centres = lonlat.repeat_interleave(count, dim=0)
    return destination(centres, 2 * math.pi * share[:, 1], km).view(len(lonlat), count, 2)
