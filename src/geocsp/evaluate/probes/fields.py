"""Elevation, temperature and precipitation, from files inside packages of the extra ``probes``."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from geocsp.data.packaged import PackagedFile
from geocsp.errors import MissingExtraError

Floats = NDArray[np.float64]

ELEVATION_CREDIT = (
    "Elevation: terrain tiles of Mapzen (ArcticDEM, ETOPO1, GMTED2010, SRTM and national models; "
    "https://github.com/tilezen/joerd/blob/master/docs/attribution.md), via pvlib."
)
TEMPERATURE_CREDIT = (
    "Temperature: annual mean at the surface, Recommendation ITU-R P.1510-1 (2017), via itur."
)
PRECIPITATION_CREDIT = (
    "Precipitation: monthly means, Recommendation ITU-R P.837-7 (2017), via itur."
)
_ALTITUDE = PackagedFile("pvlib", "pvlib/data/Altitude.h5", "probes")
_ALTITUDE_STEP, _ALTITUDE_LOWEST, _NO_ALTITUDE = 28.0, -450.0, 255
_KELVIN = 273.15


def elevation(lonlat: Floats) -> Floats:
    """Metres above the sea in steps of 28 m, from pixels of 1/12 degree; NaN where unknown.

    Args:
        lonlat: ``(N, 2)`` degrees.

    Raises:
        MissingExtraError: pvlib or h5py is not installed.
    """
    pixels = _altitude()
    rows, columns = pixels.shape
    row = np.minimum((90.0 - lonlat[:, 1]) * (rows / 180.0), rows - 1).astype(np.int64)
    column = ((lonlat[:, 0] + 180.0) * (columns / 360.0)).astype(np.int64) % columns
    steps = pixels[row, column]
    metres = steps * _ALTITUDE_STEP + _ALTITUDE_LOWEST
    return np.where(steps == _NO_ALTITUDE, np.nan, metres)


def temperature(lonlat: Floats) -> Floats:
    """Annual mean temperature 2 m above the ground, degrees Celsius.

    Bilinear in a grid of 0.75 degrees (Recommendation ITU-R P.1510-1).

    Args:
        lonlat: ``(N, 2)`` degrees.

    Raises:
        MissingExtraError: itur is not installed.
    """
    kelvin = _interpolated(
        _table("1510/v1_t_annual.npz"), _table("1510/v1_lat.npz"), _table("1510/v1_lon.npz"), lonlat
    )
    return kelvin - _KELVIN


def precipitation(lonlat: Floats) -> Floats:
    """Mean rain in a year, mm: the sum of the monthly means of Recommendation ITU-R P.837-7.

    Bilinear in a grid of 0.25 degrees.

    Args:
        lonlat: ``(N, 2)`` degrees.

    Raises:
        MissingExtraError: itur is not installed.
    """
    return _interpolated(
        _annual_rain(), _table("837/v7_lat_mt.npz"), _table("837/v7_lon_mt.npz"), lonlat
    )


@cache
def _altitude() -> NDArray[np.uint8]:
    path = _ALTITUDE.locate()
    try:
        import h5py  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise MissingExtraError("h5py", "probes") from error
    with h5py.File(path, "r") as file:
        pixels: NDArray[np.uint8] = file["Altitude"][...]
    return pixels


@cache
def _annual_rain() -> Floats:
    months = (_table(f"837/v7_mt_month{month:02d}.npz") for month in range(1, 13))
    return np.asarray(sum(months))


def _table(name: str) -> Floats:
    path = PackagedFile("itur", f"itur/data/{name}", "probes").locate()
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file["arr_0"], dtype=np.float64)


def _interpolated(values: Floats, lat: Floats, lon: Floats, lonlat: Floats) -> Floats:
    """Bilinear values of a table at places, given the latitude and longitude of its entries."""
    from scipy.interpolate import RegularGridInterpolator

    rows, columns = lat[:, 0], lon[0]
    up = np.argsort(rows)
    grid = RegularGridInterpolator((rows[up], columns), values[up])
    return np.asarray(grid(lonlat[:, ::-1]), dtype=np.float64)
