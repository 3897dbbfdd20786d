"""Where the images are, and what looks wrong about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocsp.coords import EARTH_RADIUS_KM, unit_vectors
from geocsp.data.audit.findings import Finding, Severity, Topic
from geocsp.data.images import Integers
from geocsp.data.quarantine import Problem
from geocsp.data.table import Floats

_SAMPLE = 100_000
"""Of more places than this, the distance to the nearest is measured from a random part."""
_FEW_PLACES = 10
_ENOUGH = 20
"""Below this many images, few places and round numbers say nothing."""
_SOME = 0.01
_MANY = 0.5
_CROWD = 0.1


@dataclass(frozen=True)
class Extent:
    """Bounding box in degrees.

    Attributes:
        west: in [-180, 180].
        south: lowest latitude.
        east: at least ``west``; above 180 where the box crosses the antimeridian.
        north: highest latitude.
    """

    west: float
    south: float
    east: float
    north: float

    @property
    def size(self) -> float:
        """The longer side, degrees."""
        return max(self.east - self.west, self.north - self.south)


@dataclass(frozen=True)
class Places:
    """Where the images are.

    Attributes:
        rows: images with a place.
        distinct: different places among them.
        extent: bounding box.
        crowd: images at the place that most images share.
        crowd_lonlat: that place.
        whole_degrees: images whose longitude and latitude are both whole degrees.
        equal: images whose longitude equals their latitude.
        nearest_km: median distance from a place to the nearest other one, kilometres; None for
            less than two places.
    """

    rows: int
    distinct: int
    extent: Extent
    crowd: int
    crowd_lonlat: tuple[float, float]
    whole_degrees: int
    equal: int
    nearest_km: float | None


def places_of(lonlat: Floats, seed: int) -> Places | None:
    """Measure ``(N, 2)`` degrees, NaN where unknown; None if no place is known.

    Args:
        lonlat: the places.
        seed: of many places, which ones the nearest-place distance is measured from.
    """
    known = lonlat[has_place(lonlat)]
    if len(known) == 0:
        return None
    places, index = distinct_places(known)
    members = np.bincount(index)
    crowd = int(members.argmax())
    return Places(
        rows=len(known),
        distinct=len(places),
        extent=extent_of(places),
        crowd=int(members[crowd]),
        crowd_lonlat=(float(places[crowd, 0]), float(places[crowd, 1])),
        whole_degrees=int((known == np.round(known)).all(axis=1).sum()),
        equal=int((known[:, 0] == known[:, 1]).sum()),
        nearest_km=_median_nearest_km(places, seed),
    )


def has_place(lonlat: Floats) -> NDArray[np.bool_]:
    """Which rows of ``(N, 2)`` degrees are known."""
    return np.asarray(~np.isnan(lonlat).any(axis=1))


def distinct_places(lonlat: Floats) -> tuple[Floats, Integers]:
    """The different places of ``(N, 2)`` degrees, and which of them each row is.

    Longitudes -180 and 180 are one place, and so is each pole at any longitude.

    Returns:
        ``(M, 2)`` places and ``(N,)`` index.
    """
    lon, lat = lonlat.T
    lon = np.where(lon == 180.0, -180.0, lon)
    lon = np.where(np.abs(lat) == 90.0, 0.0, lon)
    key, index = np.unique(lon + 1j * lat, return_inverse=True)
    return np.stack([key.real, key.imag], axis=1), index.reshape(-1)


def extent_of(lonlat: Floats) -> Extent:
    """Bounding box of ``(N, 2)`` degrees, over the antimeridian where that is much shorter."""
    lon = np.unique(lonlat[:, 0])
    south, north = float(lonlat[:, 1].min()), float(lonlat[:, 1].max())
    west, east = float(lon[0]), float(lon[-1])
    if east - west > 180.0:
        gap = int(np.diff(lon).argmax())
        if lon[gap] + 360.0 - lon[gap + 1] < 180.0:
            west, east = float(lon[gap + 1]), float(lon[gap]) + 360.0
    return Extent(west, south, east, north)


def nearest_km(lonlat: Floats, others: Floats, neighbour: int = 1) -> Floats:
    """Great-circle distance from each place to the nearest of others, kilometres: ``(N,)``.

    Exact on the sphere: nearest in space is nearest along the surface.

    Args:
        lonlat: ``(N, 2)`` degrees.
        others: ``(M, 2)`` degrees, M at least ``neighbour``.
        neighbour: 1 for the nearest, 2 for the one after it.
    """
    tree = cKDTree(_vectors(others))
    chord, _ = tree.query(_vectors(lonlat), k=[neighbour], workers=-1)
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord[:, 0] / 2, 1.0)))


def _vectors(lonlat: Floats) -> Floats:
    return unit_vectors(torch.from_numpy(np.ascontiguousarray(lonlat))).numpy()


def _median_nearest_km(places: Floats, seed: int) -> float | None:
    if len(places) < 2:
        return None
    start = places
    if len(places) > _SAMPLE:
        start = places[np.random.default_rng(seed).choice(len(places), _SAMPLE, replace=False)]
    return float(np.median(nearest_km(start, places, neighbour=2)))


def findings_of_places(places: Places | None, problems: Sequence[Problem]) -> list[Finding]:
    """What looks wrong about the places of a table."""
    found = _swapped(places, problems)
    if places is None:
        return found
    for check in (_spread, _round_numbers, _same_column, _default_place):
        found += check(places)
    return found


def _swapped(places: Places | None, problems: Sequence[Problem]) -> list[Finding]:
    rows = sum("longitude and latitude swapped?" in problem.reason for problem in problems)
    if rows == 0:
        return []
    fits = places is None or max(abs(places.extent.west), abs(places.extent.east)) <= 90
    all_rows = rows + (places.rows if places else 0)
    severity = Severity.ERROR if fits and rows >= _SOME * all_rows else Severity.WARNING
    message = "latitude beyond 90 degrees: swap --lon-column and --lat-column if they are swapped"
    return [Finding(severity, Topic.PLACES, rows, message)]


def _spread(places: Places) -> list[Finding]:
    if places.rows > 1 and places.distinct == 1:
        message = "all at one place: there is nothing to learn about location"
        return [Finding(Severity.ERROR, Topic.PLACES, places.rows, message)]
    found = []
    if places.distinct < _FEW_PLACES and places.rows >= _ENOUGH:
        message = f"at {places.distinct} different places only"
        found.append(Finding(Severity.WARNING, Topic.PLACES, places.rows, message))
    if places.rows > 1 and places.extent.size <= 1:
        message = "all within one degree: choose a location encoder with a fine scale"
        found.append(Finding(Severity.INFO, Topic.PLACES, places.rows, message))
    return found


def _round_numbers(places: Places) -> list[Finding]:
    rows = places.whole_degrees
    if places.rows < _ENOUGH or rows < _SOME * places.rows or places.distinct == 1:
        return []
    message = "coordinates in whole degrees: such places are rounded, by up to 80 km"
    severity = Severity.ERROR if rows == places.rows else Severity.WARNING
    return [Finding(severity, Topic.PLACES, rows, message)]


def _same_column(places: Places) -> list[Finding]:
    if places.rows < _ENOUGH or places.equal < _SOME * places.rows or places.distinct == 1:
        return []
    severity = Severity.ERROR if places.equal >= _MANY * places.rows else Severity.WARNING
    message = "longitude equal to latitude: are both from one column?"
    return [Finding(severity, Topic.PLACES, places.equal, message)]


def _default_place(places: Places) -> list[Finding]:
    crowded = _CROWD * places.rows <= places.crowd
    if places.distinct < _FEW_PLACES or places.rows < _ENOUGH or not crowded:
        return []
    lon, lat = places.crowd_lonlat
    message = f"at the one place lon {lon:g}, lat {lat:g}: is that a default or a centre?"
    return [Finding(Severity.WARNING, Topic.PLACES, places.crowd, message)]
