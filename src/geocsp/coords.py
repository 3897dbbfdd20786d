"""The coordinate contract: ``lonlat`` is ``(N, 2)``, degrees, WGS84, longitude first.

Everything in the library that takes places takes them in this form; anything else is converted
at the border. Distances are great-circle kilometres on the mean-radius sphere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EARTH_RADIUS_KM = 6371.0088
"""Mean Earth radius (IUGG), kilometres."""


def check_lonlat(lonlat: Tensor, name: str = "lonlat") -> Tensor:
    """Return ``lonlat`` unchanged if it keeps the coordinate contract.

    Args:
        lonlat: ``(N, 2)`` floating point, degrees, longitude in [-180, 180], latitude in [-90, 90].
        name: what to call the argument in an error message.

    Raises:
        ValueError: wrong shape or dtype, or the first row that is missing or out of range.
    """
    if not isinstance(lonlat, Tensor) or not lonlat.is_floating_point():
        kind = lonlat.dtype if isinstance(lonlat, Tensor) else type(lonlat).__name__
        raise ValueError(f"{name} must be a floating point tensor (N, 2) of degrees, got {kind}")
    if lonlat.ndim != 2 or lonlat.shape[1] != 2:
        raise ValueError(f"{name} must have shape (N, 2): lon, lat; got {tuple(lonlat.shape)}")
    limit = lonlat.new_tensor([180.0, 90.0])
    within = lonlat.abs() <= limit  # false for NaN and infinity
    if not bool(within.all()):
        _raise_bad_row(lonlat.detach(), within.all(dim=1), name)
    return lonlat


def _raise_bad_row(lonlat: Tensor, good: Tensor, name: str) -> None:
    row = int((~good).nonzero()[0])
    lon, lat = lonlat[row].tolist()
    place = f"{name} row {row} is (lon {lon:g}, lat {lat:g})"
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise ValueError(f"{place}: coordinates must be finite; drop or repair the row")
    if abs(lat) > 90:
        hint = "; are longitude and latitude swapped?" if abs(lon) <= 90 else ""
        raise ValueError(f"{place}: latitude must be in [-90, 90] degrees{hint}")
    raise ValueError(
        f"{place}: longitude must be in [-180, 180] degrees; geocsp.coords.wrap brings it there"
    )


def wrap(lonlat: Tensor) -> Tensor:
    """Bring any longitude into [-180, 180); latitudes are untouched.

    Args:
        lonlat: ``(N, 2)`` degrees.
    """
    lon = torch.remainder(lonlat[:, 0] + 180.0, 360.0) - 180.0
    lon = torch.where(lon >= 180.0, lon - 360.0, lon)  # a remainder may round up to 360
    return torch.stack([lon, lonlat[:, 1]], dim=1)


def unit_vectors(lonlat: Tensor) -> Tensor:
    """Points on the unit sphere, ``(N, 3)``: x to (0 E, 0 N), y to 90 E, z to the North Pole."""
    lon, lat = torch.deg2rad(lonlat).unbind(dim=1)
    return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=1)


def great_circle_km(a: Tensor, b: Tensor) -> Tensor:
    """Distance of each pair of rows, ``(N,)`` kilometres, by the haversine formula.

    Args:
        a: ``(N, 2)`` degrees.
        b: ``(N, 2)`` degrees, or ``(1, 2)`` to measure from one place.
    """
    (lon_a, lat_a), (lon_b, lat_b) = torch.deg2rad(a).unbind(1), torch.deg2rad(b).unbind(1)
    half = ((lat_b - lat_a) / 2).sin().square()
    half = half + lat_a.cos() * lat_b.cos() * ((lon_b - lon_a) / 2).sin().square()
    return 2 * EARTH_RADIUS_KM * half.clamp(0, 1).sqrt().asin()


def pairwise_within_km(a: Tensor, b: Tensor, km: float) -> Tensor:
    """Which places of ``a`` and ``b`` lie closer than ``km``: ``(N, M)`` bool.

    Compares chords of unit vectors in float64, so that a metre still counts at zero distance.
    """
    angle = km / EARTH_RADIUS_KM
    chord = 2 * math.sin(angle / 2) if angle <= math.pi else math.inf
    vectors_a, vectors_b = unit_vectors(a.double()), unit_vectors(b.double())
    return torch.cdist(vectors_a, vectors_b, compute_mode="donot_use_mm_for_euclid_dist") < chord


def sample_sphere(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Places uniform on the sphere: ``(count, 2)`` float32 degrees.

    Longitude is uniform and the sine of the latitude is uniform, which is equal area.
    """
    uniform = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    lon = uniform[:, 0] * 360.0 - 180.0
    lat = torch.rad2deg(torch.asin(uniform[:, 1] * 2.0 - 1.0))
    return torch.stack([lon, lat], dim=1).float()
