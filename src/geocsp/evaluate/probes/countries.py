"""The country of a place, from the time zone it is in."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from geocsp.data.named.labels import LATITUDES, MIN_SHARE, grid, is_land
from geocsp.data.packaged import PackagedFile
from geocsp.errors import MissingExtraError

COUNTRY_CREDIT = (
    "Countries: time zones of timezone-boundary-builder, (c) OpenStreetMap contributors, ODbL, via "
    "tzfpy, and their countries in zone.tab of the IANA time zone database, via tzdata."
)
_ZONES = PackagedFile("tzdata", "tzdata/zoneinfo/zone.tab", "probes")
_NAMES = PackagedFile("tzdata", "tzdata/zoneinfo/iso3166.tab", "probes")


def country_names() -> tuple[str, ...]:
    """Names of the countries that take part: those with at least 0.1 % of the land area.

    The area is what a grid of 0.5 degrees tells, between 56 S and 74 N, so that the countries are
    the same for every sample of places.

    Raises:
        MissingExtraError: tzfpy, tzdata or the land cover map is not installed.
    """
    names = {code: name for code, name, *_ in _rows(_NAMES)}
    return tuple(names[code] for code in _kept())


def countries(lonlat: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index into :func:`country_names` for each of ``(N, 2)`` degrees, -1 for none: ``(N,)``.

    Raises:
        MissingExtraError: as :func:`country_names`.
    """
    number = {code: index for index, code in enumerate(_kept())}
    return np.array([number.get(code, -1) for code in _codes(lonlat)], dtype=np.int64)


@cache
def _kept() -> tuple[str, ...]:
    centres = grid(0.5).reshape(-1, 2)
    inside = (centres[:, 1] > LATITUDES[0]) & (centres[:, 1] < LATITUDES[1])
    land = centres[inside & is_land(centres)]
    area = np.cos(np.deg2rad(land[:, 1]))
    codes, member = np.unique(np.array(_codes(land)), return_inverse=True)
    share = np.bincount(member, weights=area) / area.sum()
    return tuple(str(code) for code in codes[share >= MIN_SHARE] if code)


def _codes(lonlat: NDArray[np.float64]) -> list[str]:
    """ISO 3166 code of the country of each place, empty for none."""
    try:
        from tzfpy import get_tz
    except ImportError as error:
        raise MissingExtraError("tzfpy", "probes") from error
    country_of = {zone: code for code, _, zone, *_ in _rows(_ZONES)}
    return [country_of.get(get_tz(lon, lat), "") for lon, lat in lonlat.tolist()]


@cache
def _rows(file: PackagedFile) -> tuple[tuple[str, ...], ...]:
    lines = file.locate().read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("\t")) for line in lines if line and not line.startswith("#"))
