"""Artefacts of the coordinates in maps of an embedding: stripes, a seam, and torn poles.

Encodings that take waves of longitude and latitude by themselves leave lines along meridians and
parallels in whatever is learned on top, and treat the antimeridian and the poles as edges (Mai et
al., ISPRS 2023; Russwurm et al., ICLR 2024). Nature has no reason to follow the graticule: in a
field that looks the same from all directions, waves run in all directions alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.coords import sample_sphere, wrap
from geocsp.errors import DataError

STEPS = (1.0, 5.0, 20.0)
"""Radii of the squares that maps are judged with, degrees of a great circle."""
_COUNT = 2048
_FARTHEST = 60.0
_STEP = 0.5
Floats = NDArray[np.float64]
Embed = Callable[[Tensor], Tensor]
"""``(N, 2)`` degrees to ``(N, D)``."""


@dataclass(frozen=True)
class Alignment:
    """Which way the waves of a map run, as squares of one size see it.

    Attributes:
        degrees: distance of the corners of the squares from their centres.
        along_axes: 1 if all lines run along meridians and parallels, also both crossing; 0 if they
            run in all directions alike; -1 if all run halfway between.
        along_meridians: 1 if all lines run along meridians, -1 along parallels, 0 if both alike.
        share: mean squared step across a square, as a share of twice the variance over the sphere:
            near 0 if the map is smooth at this size, then directions hardly matter; near 1 if
            places so far apart have nothing in common.
    """

    degrees: float
    along_axes: float
    along_meridians: float
    share: float


@dataclass(frozen=True)
class Artefacts:
    """Artefacts of a map.

    Attributes:
        alignment: direction of the waves, for each size of square.
        seam: step over the antimeridian, as a multiple of the step over as many degrees of
            longitude elsewhere (root of mean squares); 1 if there is no seam.
        poles: how far embeddings of one pole lie apart over all longitudes, as a share of the
            variance over the sphere; 0 if a pole has one embedding.
    """

    alignment: tuple[Alignment, ...]
    seam: float
    poles: float


def artefacts(embed: Embed, *, seed: int = 0) -> Artefacts:
    """Measure the artefacts of an encoder's map, from some 60,000 embeddings.

    All measures stay the same if embeddings are turned, scaled or shifted as a whole.

    Args:
        embed: ``(N, 2)`` float64 degrees to ``(N, D)``.
        seed: of the places.

    Raises:
        DataError: an embedding is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    places = sample_sphere(2 * _COUNT, generator).double()
    total = _variance(_embedded(embed, places))
    centres = places[places[:, 1].abs() < _FARTHEST][:_COUNT]
    return Artefacts(
        alignment=tuple(alignment(embed, centres, degrees, total) for degrees in STEPS),
        seam=_seam(embed),
        poles=_poles(embed, total),
    )


def alignment(embed: Embed, centres: Tensor, degrees: float, total: float) -> Alignment:
    """Which way the waves of a map run, by squares on the sphere.

    The difference over both sides of a square, f(NE) - f(NW) - f(SE) + f(SW), is zero for any sum
    of a function of longitude and one of latitude, and that of the same square turned by 45
    degrees, f(E) + f(W) - f(N) - f(S), for waves halfway between. With A and B the means of their
    squares, ``along_axes`` is (B - A) / (B + A): for squares small against the waves the mean of
    cos 4a over the power of the fourth derivatives, a the angle between a wave and the parallel.
    Corners lie on great circles, so that A = B for a field that is isotropic on the sphere,
    whatever its scale. Likewise ``along_meridians`` from the steps from W to E and from S to N.

    Args:
        embed: ``(N, 2)`` float64 degrees to ``(N, D)``.
        centres: ``(N, 2)`` float64 degrees, none of them near a pole.
        degrees: distance of the corners from the centres.
        total: variance over the sphere, summed over the columns.
    """
    axes, halfway, across, along = (
        float(np.square(rows).sum(axis=1).mean()) for rows in _differences(embed, centres, degrees)
    )
    smallest = total * float(np.finfo(np.float32).eps) ** 2
    share = float((across + along) / (4 * total)) if total > 0 else 0.0
    return Alignment(
        degrees, _balance(halfway, axes, smallest), _balance(across, along, smallest), share
    )


def _balance(one: float, other: float, smallest: float) -> float:
    """(one - other) / (one + other); 0 if both are rounding."""
    whole = one + other
    return float((one - other) / whole) if whole > smallest else 0.0


def _differences(embed: Embed, centres: Tensor, degrees: float) -> tuple[Floats, ...]:
    """Differences over squares, upright and turned, and steps W to E and S to N: ``(N, D)``."""
    corners = [
        _embedded(embed, _corner(centres, degrees, bearing)) for bearing in range(0, 360, 45)
    ]
    north, north_east, east, south_east, south, south_west, west, north_west = corners
    return (
        north_east - north_west - south_east + south_west,
        east + west - north - south,
        east - west,
        north - south,
    )


def _corner(centres: Tensor, degrees: float, bearing: float) -> Tensor:
    """Places so many degrees of a great circle away, in a direction clockwise from north."""
    lon, lat = centres.deg2rad().unbind(1)
    way, turn = (torch.tensor(angle, dtype=torch.float64).deg2rad() for angle in (degrees, bearing))
    height = lat.sin() * way.cos() + lat.cos() * way.sin() * turn.cos()
    east = turn.sin() * way.sin() * lat.cos()
    to_lon = lon + torch.atan2(east, way.cos() - lat.sin() * height)
    to_lat = height.clamp(-1, 1).asin()
    return wrap(torch.stack([to_lon, to_lat], dim=1).rad2deg())


def _seam(embed: Embed) -> float:
    """Step between 179.75 E and 179.75 W over that between neighbours half a degree apart."""
    lat = torch.rad2deg(torch.asin(torch.linspace(-0.98, 0.98, 99, dtype=torch.float64)))
    lon = torch.arange(-180 + _STEP / 2, 180, 40 * _STEP, dtype=torch.float64)
    inside = torch.cartesian_prod(lon[1:], lat)
    steps = _steps(embed, inside, torch.tensor([_STEP, 0.0]))
    edge = torch.stack([torch.full_like(lat, 180 - _STEP / 2), lat], dim=1)
    over = _steps(embed, edge, torch.tensor([_STEP - 360.0, 0.0]))
    if steps == 0:
        return 1.0 if over == 0 else float("inf")
    return float(np.sqrt(over / steps))


def _steps(embed: Embed, places: Tensor, step: Tensor) -> float:
    """Mean squared distance of the embeddings of places and of those a step further."""
    gap = _embedded(embed, places + step) - _embedded(embed, places)
    return float(np.square(gap).sum(axis=1).mean())


def _poles(embed: Embed, total: float) -> float:
    if total <= 0:
        return 0.0
    lon = torch.arange(-180, 180, 2, dtype=torch.float64)
    spreads = [
        _variance(_embedded(embed, torch.stack([lon, torch.full_like(lon, lat)], dim=1)))
        for lat in (-90.0, 90.0)
    ]
    return sum(spreads) / 2 / total


def _variance(values: Floats) -> float:
    return float(values.var(axis=0).sum())


def _embedded(embed: Embed, places: Tensor) -> Floats:
    values = embed(places).double().cpu().numpy()
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        lon, lat = places[int(np.argmin(finite))].tolist()
        raise DataError(f"the embedding of lon {lon:g}, lat {lat:g} is not finite")
    return np.asarray(values)
