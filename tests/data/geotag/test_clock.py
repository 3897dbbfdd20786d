from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
import torch

from geocsp.data.geotag.clock import gps_moment, moment_of, times_at
from geocsp.times import times_of

NOON = datetime(2026, 1, 31, 12, 0, 5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026:01:31 12:00:05", NOON),
        ("2026-01-31 12:00:05", NOON),
        ("2026-01-31T12:00:05.75", NOON),
        ("2026:01:31 12:00", NOON.replace(second=0)),
        ("2026:01:31", date(2026, 1, 31)),
        ("2026-01-31T12:00:05Z", NOON.replace(tzinfo=UTC)),
        ("2026-01-31T12:00:05+05:30", NOON.replace(tzinfo=UTC) - timedelta(hours=5.5)),
        ("2026-01-31T12:00:05-0800", NOON.replace(tzinfo=UTC) + timedelta(hours=8)),
        ("", None),
        ("    :  :     :  :  ", None),
        ("0000:00:00 00:00:00", None),
        ("2026:02:30 12:00:00", None),
        ("2026:01:31 25:00:00", None),
        ("yesterday", None),
        ("0001:01:01 00:00:00+14:00", None),
    ],
)
def test_moments_of_cameras_are_read(text, expected):
    assert moment_of(text) == expected


def test_an_offset_that_is_written_apart_counts():
    assert moment_of("2026:01:31 12:00:05", "+01:00\0") == datetime(
        2026, 1, 31, 11, 0, 5, tzinfo=UTC
    )
    assert moment_of("2026:01:31 12:00:05", " ") == NOON
    assert moment_of("2026:01:31 12:00:05", "nonsense") is None
    assert moment_of("2026:01:31 12:00:05Z", "+01:00") == NOON.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "clock", "expected"),
    [
        ("2026:01:31", (12, 0, 5), NOON.replace(tzinfo=UTC)),
        ("2026-01-31", (12.0, 0.0, 5.0), NOON.replace(tzinfo=UTC)),
        ("2026:01:31", (24, 0, 0), None),
        ("2026:01:31", (float("nan"), 0, 0), None),
        ("2026:01:31", (-1, 0, 0), None),
        ("2026:01:31", (12, 0), None),
        ("2026:13:31", (12, 0, 0), None),
        ("", (12, 0, 0), None),
        ("9999:12:31", (23, 59, 60), None),
    ],
)
def test_moments_of_satellites_are_utc(day, clock, expected):
    assert gps_moment(day, clock) == expected


def test_utc_becomes_the_time_of_the_sun_and_a_clock_stays():
    zoned = NOON.replace(tzinfo=timezone(timedelta(hours=1)))
    moments = [zoned, NOON, date(2026, 1, 31), None, NOON.replace(tzinfo=UTC)]
    time = times_at(moments, np.array([15.0, 90.0, 90.0, 90.0, np.nan]))
    assert time[0, 1] == pytest.approx(12 + 5 / 3600)  # 11 UTC at 15 E
    assert time[1, 1] == pytest.approx(12 + 5 / 3600)
    assert np.isnan(time[[2, 3, 4], 1]).all()
    dates = times_of(["2026-01-31T11:00:05", "2026-01-31T12:00:05", "2026-01-31"])[:, 0]
    assert torch.equal(torch.from_numpy(time[:3, 0]), dates)
    assert np.isnan(time[3, 0])
    assert not np.isnan(time[4, 0])


def test_no_moments_make_no_column():
    assert times_at([None, None], np.zeros(2)) is None
    assert times_at([], np.zeros(0)) is None
