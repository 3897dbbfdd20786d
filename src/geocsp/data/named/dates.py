"""Dates of published lists: fractions of the year, or moments as text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from geocsp.data.columns.moments import times_from
from geocsp.data.named.release import number_of
from geocsp.data.table import Floats


def year_fractions(values: Iterable[object]) -> tuple[Floats, list[str]]:
    """Dates that are fractions of the year already, without an hour.

    Args:
        values: N numbers in [0, 1], anything else where unknown.

    Returns:
        ``(N, 2)`` float64, NaN where unknown, and a note if there were numbers outside [0, 1].
    """
    date = np.array([number_of(value) for value in values], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        outside = (date < 0) | (date > 1)
    date[outside] = np.nan
    return np.stack([date, np.full_like(date, np.nan)], axis=1), _unread(int(outside.sum()))


def dates_and_hours(column: pa.ChunkedArray, lonlat: Floats) -> tuple[Floats, list[str]]:
    """Date and local hour of moments (see :func:`geocsp.data.columns.moments.times_from`).

    Args:
        column: N moments.
        lonlat: ``(N, 2)`` degrees, by which hours of UTC become local ones.

    Returns:
        ``(N, 2)`` float64, NaN where unknown, and a note if there were texts that are no date.
    """
    times, unread = times_from(column, lonlat[:, 0])
    return times, _unread(unread)


def _unread(count: int) -> list[str]:
    return [f"{count} dates could not be read and count as unknown"] if count else []
