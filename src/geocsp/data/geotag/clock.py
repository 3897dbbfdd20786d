"""Moments as cameras write them, and the date and hour that they stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import torch

from geocsp.data.table import Floats
from geocsp.times import times_of

Moment = datetime | date | None
"""UTC, or any zone, if the time zone is known; else what the camera's clock showed; or a day."""

_MOMENT = re.compile(
    r"\s*(\d{4})[:/.-](\d{1,2})[:/.-](\d{1,2})"
    r"(?:[T ]+(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,]\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?)?"
)


def moment_of(text: str, offset: str = "") -> Moment:
    """The moment in a text of EXIF, "2026:01:31 12:00:00", or of XMP; None if there is none.

    Args:
        text: date and time, perhaps with an offset from UTC.
        offset: offset from UTC, such as "+01:00", where it is written apart.
    """
    match = _MOMENT.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        if match[4] is None:
            return date(year, month, day)
        moment = datetime(year, month, day, hour, minute, second)
        told = (match[7] or offset).strip(" \0")
        return _in_zone(moment, told) if told else moment
    except (ValueError, OverflowError):
        return None


def _in_zone(moment: datetime, offset: str) -> datetime:
    return datetime.fromisoformat(f"{moment.isoformat()}{offset}").astimezone(UTC)


def gps_moment(day: str, clock: Sequence[float]) -> datetime | None:
    """The moment that a satellite receiver wrote, in UTC: GPSDateStamp and GPSTimeStamp.

    Args:
        day: "2026:01:31".
        clock: hour, minute, second.
    """
    found = moment_of(day)
    limits = (24.0, 60.0, 61.0)
    if found is None or len(clock) != 3:
        return None
    if not all(0 <= part < limit for part, limit in zip(clock, limits, strict=True)):
        return None
    hours, minutes, seconds = clock
    midnight = datetime.combine(found, time(), UTC)
    try:
        return midnight + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        return None


def times_at(moments: Sequence[Moment], lon: Floats) -> Floats | None:
    """Date and hour of moments, ``(N, 2)``, NaN where unknown; None if no moment is known.

    Moments with a time zone give local mean solar time at ``lon``; a camera's own clock counts as
    local time as it is.

    Args:
        moments: N moments.
        lon: ``(N,)`` degrees, NaN where unknown, which makes the hour of UTC unknown.
    """
    if all(moment is None for moment in moments):
        return None
    zoned = np.array([isinstance(m, datetime) and m.tzinfo is not None for m in moments])
    solar = times_of(
        [moment if known else None for moment, known in zip(moments, zoned, strict=True)],
        torch.from_numpy(np.asarray(lon, dtype=np.float64)),
    )
    clock = times_of([None if known else m for m, known in zip(moments, zoned, strict=True)])
    return np.where(zoned[:, None], solar.numpy(), clock.numpy())
