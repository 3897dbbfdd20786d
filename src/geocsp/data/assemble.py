"""The last step of every reader: columns in, one clean table and the rows left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geocsp.data.images import FileImages, Images
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories, Floats, GeoTable
from geocsp.errors import DataError

Origin = Callable[[int], tuple[str, int | None]]
"""Tells the file and the row in it of a row of the table."""
_NO_REASONS: Mapping[int, str] = {}


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
    reasons: Mapping[int, str] = _NO_REASONS,
    keep_unplaced: bool = False,
) -> GeoTable:
    """Build the table: check and wrap coordinates, leave out rows without a usable place.

    Longitudes up to 360 count eastwards and are wrapped into [-180, 180]. A place is unusable if
    it is missing, not finite, out of range, or exactly (0, 0), which is what devices and
    spreadsheets write for "unknown". Images that are files without a name are left out as well.

    Args:
        images: N images.
        lonlat: ``(N, 2)`` degrees as found, NaN where unknown; the table keeps this array if all
            places are as they should be.
        time: ``(N, 2)`` date and hour.
        label: N classes.
        split: N splits.
        group: N groups.
        problems: rows that the reader left out already.
        notes: what the reader guessed or repaired.
        origin: where a row comes from, for the report; by default the image itself.
        reasons: why rows have no place, where the reader knows better than NaN tells.
        keep_unplaced: keep rows without a usable place, with NaN coordinates.

    Raises:
        DataError: columns of different length.
    """
    found = np.asarray(lonlat, dtype=np.float64).reshape(-1, 2)
    if len(found) != len(images):
        raise DataError(f"{len(images)} images but {len(found)} places")
    sieve = Sieve(keep_unplaced, list(problems))
    places, kept = sieve.sift(
        found,
        nameless(images.names) if isinstance(images, FileImages) else None,
        origin or (lambda row: (str(images.names[row].as_py()), None)),
        reasons,
    )
    told = (*notes, *sieve.notes)
    table = GeoTable(images, places, time, label, split, group, tuple(sieve.problems), told)
    return table if kept.all() else table.take(kept)


@dataclass
class Sieve:
    """Checks places, of one table or block by block.

    Attributes:
        keep_unplaced: keep rows without a usable place.
        problems: rows that were left out.
    """

    keep_unplaced: bool = False
    problems: list[Problem] = field(default_factory=list)
    _unusable: int = 0
    _first: Problem | None = None
    _rows: int = 0
    _wrapped: int = 0
    _swapped: int = 0

    def sift(
        self,
        lonlat: Floats,
        nameless: NDArray[np.bool_] | None,
        origin: Origin,
        reasons: Mapping[int, str] = _NO_REASONS,
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Places as they should be, NaN where they are not usable, and which rows to keep.

        Args:
            lonlat: ``(N, 2)`` degrees as found.
            nameless: ``(N,)`` rows that name no image.
            origin: where a row comes from.
            reasons: why rows have no place.
        """
        places = self._wrap(lonlat)
        bad = ~usable(places)
        unnamed = np.zeros(len(places), dtype=np.bool_) if nameless is None else nameless
        out = np.flatnonzero(bad | unnamed)
        for row, (lon, lat) in zip(out.tolist(), places[out].tolist(), strict=True):
            reason = "names no image" if unnamed[row] else reasons.get(row)
            problem = Problem(*origin(row), reason or why_unusable(lon, lat))
            if unnamed[row] or not self.keep_unplaced:
                self.problems.append(problem)
            elif reason or not math.isnan(lon + lat):
                self._unusable += 1
                self._first = self._first or problem
        self._rows += len(places)
        self._swapped += int(_swapped(lonlat[bad]).sum())
        if bad.any():
            places = np.where(bad[:, None], np.nan, places)
        return places, ~unnamed if self.keep_unplaced else ~(bad | unnamed)

    @property
    def notes(self) -> list[str]:
        """What is peculiar about the places as a whole."""
        notes = []
        if self._first:
            notes.append(
                f"{self._unusable} places cannot be used and count as unknown; the first: "
                f"{self._first}"
            )
        if self._wrapped:
            notes.append(f"{self._wrapped} longitudes from 180 to 360 were wrapped")
        if self._swapped > self._rows / 2:
            notes.append(
                f"longitude and latitude look swapped: {self._swapped} of {self._rows} rows would "
                "be valid the other way round"
            )
        return notes

    def _wrap(self, lonlat: Floats) -> Floats:
        far = (lonlat[:, 0] > 180) & (lonlat[:, 0] <= 360) & (np.abs(lonlat[:, 1]) <= 90)
        if not far.any():
            return lonlat
        self._wrapped += int(far.sum())
        places = lonlat.copy()
        places[far, 0] -= 360.0
        return places


def nameless(names: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which of N names of files are missing, so that the files can never be opened."""
    named = pc.fill_null(pc.not_equal(names, ""), False)
    named = named.to_numpy() if isinstance(named, pa.ChunkedArray) else named.to_numpy(False)
    return np.asarray(~named.astype(np.bool_))


def _swapped(lonlat: Floats) -> NDArray[np.bool_]:
    """Which unusable places would be usable the other way round."""
    return usable(lonlat[:, ::-1]) & (np.abs(lonlat[:, 0]) <= 90)


def usable(lonlat: Floats) -> NDArray[np.bool_]:
    """Which rows of ``(N, 2)`` degrees are a place on Earth other than exactly (0, 0)."""
    lon, lat = lonlat.T
    with np.errstate(invalid="ignore"):
        inside = (np.abs(lon) <= 180) & (np.abs(lat) <= 90)
    return np.asarray(inside & ((lon != 0) | (lat != 0)))


def why_unusable(lon: float, lat: float) -> str:
    """What is wrong with a place, in words."""
    if math.isnan(lon):
        return "no coordinates" if math.isnan(lat) else "no longitude"
    if math.isnan(lat):
        return "no latitude"
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return f"coordinates are not finite: lon {lon:g}, lat {lat:g}"
    if lon == 0 and lat == 0:
        return "lon 0, lat 0: that is what many devices write when they know no place"
    unit = "; if these are metres, name their crs" if max(abs(lat), abs(lon)) > 360 else ""
    if abs(lat) > 90:
        swapped = "; are longitude and latitude swapped?" if abs(lon) <= 90 else ""
        return f"latitude {lat:.10g} is outside [-90, 90] degrees{unit or swapped}"
    return f"longitude {lon:.10g} is outside [-180, 360] degrees{unit}"
