"""From any coordinate reference system to degrees of WGS84, longitude first."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from geocsp.data.table import Floats
from geocsp.errors import DataError, MissingExtraError

_DEGREES = ("", "EPSG:4326", "WGS84", "WGS 84", "OGC:CRS84", "CRS84")


def in_degrees(crs: str | None) -> bool:
    """Whether coordinates are degrees of WGS84 without any conversion, by the name of the crs."""
    return (crs or "").upper() in _DEGREES


def to_degrees(xy: Floats, crs: str | None) -> Floats:
    """Coordinates as degrees of WGS84; infinite where the conversion fails.

    Args:
        xy: ``(N, 2)`` easting or longitude first, whatever the axes of the crs are.
        crs: anything that PROJ knows, such as "EPSG:32632", or the text of a definition (WKT,
            PROJJSON); None: degrees already.

    Raises:
        DataError: the coordinate reference system is not known.
        MissingExtraError: pyproj is not installed.
    """
    if in_degrees(crs) or len(xy) == 0:
        return xy
    return np.stack(_transformer(crs or "").transform(xy[:, 0], xy[:, 1]), axis=1)


def is_geographic(crs: str | None) -> bool:
    """Whether coordinates are degrees, of whatever datum.

    Raises:
        DataError: the coordinate reference system is not known.
        MissingExtraError: pyproj is not installed.
    """
    return in_degrees(crs) or bool(_transformer(crs or "").source_crs.is_geographic)


@lru_cache(maxsize=32)
def _transformer(crs: str) -> Any:
    try:
        from pyproj import CRS, Transformer
        from pyproj.exceptions import ProjError
    except ImportError as error:
        raise MissingExtraError("pyproj", "geo") from error
    try:
        return Transformer.from_crs(CRS.from_user_input(crs), "OGC:CRS84", always_xy=True)
    except ProjError as error:
        shown = " ".join(crs.split())[:60]
        raise DataError(
            f"{shown!r} is no coordinate reference system with a way to degrees; name one such as "
            '"EPSG:32632"'
        ) from error
