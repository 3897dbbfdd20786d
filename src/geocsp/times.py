"""The time contract: ``time`` is ``(N, 2)``, date as a fraction of the year and hour of the day.

The date runs over [0, 1) from the first to the last moment of a year, the hour over [0, 24). A
NaN says that this part is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geocsp.errors import DataError


def times_of(moments: Iterable[object], lon: Tensor | None = None) -> Tensor:
    """Date and hour of moments: ``(N, 2)`` float64.

    Args:
        moments: N ISO 8601 texts, ``datetime`` or ``numpy.datetime64``, UTC where they name no
            time zone; None, "", NaN or NaT where unknown. A day alone has no hour.
        lon: ``(N,)`` degrees; with it the hour is local mean solar time, which says more about
            light than UTC does. The date stays that of UTC.

    Raises:
        DataError: a moment that cannot be read, with its row, or not as many longitudes.
    """
    rows = [_date_and_hour(moment, row) for row, moment in enumerate(moments)]
    time = torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)
    if lon is not None:
        if lon.shape != (len(time),):
            raise DataError(f"lon must have shape ({len(time)},), got {tuple(lon.shape)}")
        local = torch.remainder(time[:, 1] + lon.double() / 15, 24)
        time[:, 1] = torch.where(local >= 24, 0.0, local)  # a remainder may round up to 24
    return time


def _date_and_hour(moment: object, row: int) -> tuple[float, float]:
    try:
        if moment in (None, "", "NaT") or moment != moment:
            return math.nan, math.nan
        instant = np.datetime64(_in_utc(moment))
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise DataError(f"time row {row} is {moment!r}: not an ISO 8601 date or time") from error
    second = instant.astype("datetime64[s]")
    year, day = second.astype("datetime64[Y]"), second.astype("datetime64[D]")
    length = (year + 1).astype("datetime64[s]") - year.astype("datetime64[s]")
    fraction = (second - year) / length
    whole_day = np.datetime_data(instant)[0] in ("Y", "M", "W", "D")
    hour = math.nan if whole_day else (second - day) / np.timedelta64(1, "h")
    return float(fraction), float(hour)


def _in_utc(moment: object) -> Any:
    """A text or a moment of some time zone as a plain date or a plain moment of UTC."""
    if isinstance(moment, str) and len(moment) > len("2026-01-01"):
        moment = datetime.fromisoformat(moment)
    elif isinstance(moment, str):
        moment = date.fromisoformat(moment)
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment


@dataclass(frozen=True)
class TimeFeatures:
    """Periodic features of date and hour.

    For each harmonic k of the year, sin and cos of 2 pi k date; then the same of the day with
    hour / 24. An unknown part gives zeros, so that it speaks neither for nor against anything.
    (One harmonic of the date is the encoding of Mac Aodha et al., ICCV 2019, up to signs.)

    Attributes:
        date_harmonics: number of waves of the year.
        hour_harmonics: number of waves of the day.
        linear_date: first of all, the date as a number from -1 to 1.
    """

    date_harmonics: int = 0
    hour_harmonics: int = 0
    linear_date: bool = False

    def __post_init__(self) -> None:
        """Refuse fewer than no waves."""
        if min(self.date_harmonics, self.hour_harmonics) < 0:
            raise ValueError(f"the number of harmonics cannot be negative: {self}")

    @property
    def dim(self) -> int:
        """Number of features."""
        return 2 * (self.date_harmonics + self.hour_harmonics) + self.linear_date

    def __call__(self, time: Tensor) -> Tensor:
        """Features of ``(N, 2)`` times: ``(N, dim)`` float32."""
        year, day = time.double()[:, :1], time.double()[:, 1:] / 24
        waves = [
            turns * torch.arange(1, count + 1, device=time.device)
            for turns, count in ((year, self.date_harmonics), (day, self.hour_harmonics))
        ]
        angle = 2 * math.pi * torch.cat(waves, dim=1)
        periodic = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
        parts = [2 * year - 1, periodic] if self.linear_date else [periodic]
        return torch.cat(parts, dim=1).nan_to_num(0.0).float()


def check_time(time: Tensor, rows: int) -> Tensor:
    """Return ``time`` unchanged if it is ``(rows, 2)`` and keeps the time contract.

    Raises:
        ValueError: wrong shape or type, or the first row out of range.
    """
    if time.shape != (rows, 2) or not time.is_floating_point():
        raise ValueError(
            f"time must be a floating point tensor ({rows}, 2) of date and hour, got "
            f"{tuple(time.shape)} {time.dtype}"
        )
    good = (time.isnan() | ((time >= 0) & (time <= time.new_tensor([1.0, 24.0])))).all(dim=1)
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        when, hour = time[row].tolist()
        raise ValueError(
            f"time row {row} is (date {when:g}, hour {hour:g}): the date is a fraction of the "
            "year in [0, 1], the hour is in [0, 24], NaN means unknown; geocsp.times_of makes them"
        )
    return time
