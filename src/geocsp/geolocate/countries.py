"""The countries that places are in, where a source of them is installed."""

from __future__ import annotations

from functools import cache

from torch import Tensor

from geocsp.data.packaged import PackagedFile
from geocsp.errors import MissingExtraError

_ZONES = PackagedFile("tzdata", "tzdata/zoneinfo/zone.tab", "probes")
_NAMES = PackagedFile("tzdata", "tzdata/zoneinfo/iso3166.tab", "probes")


def country_names(lonlat: Tensor) -> list[str] | None:
    """The country of each of ``(N, 2)`` degrees, "" at sea; None where no source is installed.

    By the time zone: timezone-boundary-builder (OpenStreetMap contributors, ODbL) via tzfpy, and
    the countries of the zones in the IANA time zone database via tzdata.
    """
    try:
        from tzfpy import get_tz

        zones, names = _rows(_ZONES), _rows(_NAMES)
    except (ImportError, MissingExtraError):
        return None
    name_of = {code: name for code, name, *_ in names}
    country_of = {zone: name_of[code] for code, _, zone, *_ in zones}
    return [country_of.get(get_tz(lon, lat), "") for lon, lat in lonlat.tolist()]


@cache
def _rows(file: PackagedFile) -> list[list[str]]:
    lines = file.locate().read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]
