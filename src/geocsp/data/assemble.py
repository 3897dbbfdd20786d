"""The last step of every reader: columns in, one clean table and the rows left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.data.images import Images
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories, Floats, GeoTable
from geocsp.errors import DataError

Origin = Callable[[int], tuple[str, int | None]]
"""Tells the file and the row in it of a row of the table."""


def assemble(
    images: Images,
    lonlat: NDArray[np.floating[Any]],
    *,
    time: Floats | None = None,
    label: Categories | None = None,
    split: Categories | None = None,
    group: Categories | None = None,
    problems: Sequence[Problem] = (),
    notes: Sequence[str] = (),
    origin: Origin | None = None,
    keep_unplaced: bool = False,
) -> GeoTable:
    """Build the table: check and wrap coordinates, leave out rows without a usable place.

    Longitudes up to 360 count eastwards and are wrapped into [-180, 180]. A place is unusable if
    it is missing, not finite, out of range, or exactly (0, 0), which is what devices and
    spreadsheets write for "unknown".

    Args:
        images: N images.
        lonlat: ``(N, 2)`` degrees as found, NaN where unknown.
        time: ``(N, 2)`` date and hour.
        label: N classes.
        split: N splits.
        group: N groups.
        problems: rows that the reader left out already.
        notes: what the reader guessed or repaired.
        origin: where a row comes from, for the report; by default the image itself.
        keep_unplaced: keep rows without a usable place, with NaN coordinates.

    Raises:
        DataError: columns of different length.
    """
    places = np.array(lonlat, dtype=np.float64).reshape(-1, 2)
    if len(places) != len(images):
        raise DataError(f"{len(images)} images but {len(places)} places")
    far = (places[:, 0] > 180) & (places[:, 0] <= 360)
    places[far, 0] -= 360.0
    told = (
        [*notes, f"{int(far.sum())} longitudes from 180 to 360 were wrapped"]
        if far.any()
        else notes
    )
    bad = ~usable(places)
    left_out = list(problems)
    where = origin or (lambda row: (str(images.names[row].as_py()), None))
    for row in np.flatnonzero(bad).tolist():
        lon_found, lat_found = float(lonlat[row][0]), float(lonlat[row][1])
        if not keep_unplaced or not math.isnan(lon_found + lat_found):
            left_out.append(Problem(*where(row), why_unusable(lon_found, lat_found)))
    places[bad] = np.nan
    table = GeoTable(images, places, time, label, split, group, tuple(left_out), tuple(told))
    return table if keep_unplaced or not bad.any() else table.take(~bad)


def usable(lonlat: Floats) -> NDArray[np.bool_]:
    """Which rows of ``(N, 2)`` degrees are a place on Earth other than exactly (0, 0)."""
    lon, lat = lonlat.T
    with np.errstate(invalid="ignore"):
        inside = (np.abs(lon) <= 180) & (np.abs(lat) <= 90)
    return np.asarray(inside & ((lon != 0) | (lat != 0)))


def why_unusable(lon: float, lat: float) -> str:
    """What is wrong with a place, in words."""
    if math.isnan(lon) and math.isnan(lat):
        return "no coordinates"
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return f"coordinates are not finite: lon {lon:g}, lat {lat:g}"
    if lon == 0 and lat == 0:
        return "lon 0, lat 0: that is what many devices write when they know no place"
    if abs(lat) > 90:
        swapped = "; are longitude and latitude swapped?" if abs(lon) <= 90 else ""
        unit = "; if these are metres, name their crs" if max(abs(lat), abs(lon)) > 360 else ""
        return f"latitude {lat:g} is outside [-90, 90] degrees{swapped}{unit}"
    return f"longitude {lon:g} is outside [-180, 360] degrees"
