import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import torch

from geocsp.data.columns.moments import times_from
from geocsp.errors import DataError
from geocsp.times import times_of

rng = np.random.default_rng(0)
SECONDS = rng.integers(-50_000_000_000, 60_000_000_000, 3000)
MOMENTS = SECONDS.astype("datetime64[s]")
TEXTS = [str(moment) for moment in MOMENTS]
LON = rng.uniform(-180, 180, len(MOMENTS))
WANTED = times_of(TEXTS, torch.tensor(LON)).numpy()


def of(*cells, lon=0.0):
    return times_from(pa.chunked_array([pa.array(cells)]), np.full(len(cells), lon))


def one(cell, lon=0.0):
    time, unreadable = of(cell, lon=lon)
    assert unreadable == 0
    return time[0].tolist()


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TEXTS),
        pa.array(TEXTS).dictionary_encode(),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS, pa.string_view()),
        pa.array([f" {text}Z" for text in TEXTS]),
        pa.array([text.replace("T", " ") + ".999999" for text in TEXTS]),
        pa.array([f"{text} UTC" for text in TEXTS]),
        pa.array([text.replace("-", "").replace(":", "") for text in TEXTS]),
        pa.array([f"{text}/2100-01-01" for text in TEXTS]),
        pa.array(MOMENTS),
        pa.array(MOMENTS).cast(pa.timestamp("us")),
        pa.array(MOMENTS).cast(pa.timestamp("ms", "America/Lima")),
    ],
    ids=lambda column: str(column.type),
)
def test_moments_are_exactly_those_of_times_of(column):
    chunks = pa.chunked_array([column.slice(0, 1000), column.slice(1000)])
    time, unreadable = times_from(chunks, LON)
    np.testing.assert_array_equal(time, WANTED)
    assert unreadable == 0


def test_moments_of_other_zones_are_exactly_those_of_times_of():
    signs, hours, minutes = rng.choice(["+", "-"], 3000), rng.integers(0, 24, 3000), (0, 30, 45)
    texts = [
        f"{text}{sign}{hour:02d}:{minutes[row % 3]:02d}"
        for row, (text, sign, hour) in enumerate(zip(TEXTS, signs, hours, strict=True))
    ]
    time, unreadable = times_from(pa.chunked_array([texts]), LON)
    np.testing.assert_array_equal(time, times_of(texts, torch.tensor(LON)).numpy())
    assert unreadable == 0


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_fractions_of_seconds_before_1970_are_cut_off_as_times_of_does(unit):
    moments = np.array([-1, -999, 999, -1_000_000_001], "datetime64[ns]").astype(f"M8[{unit}]")
    time, _ = times_from(pa.chunked_array([pa.array(moments)]), np.zeros(4))
    np.testing.assert_array_equal(time, times_of(moments, torch.zeros(4)).numpy())


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.string()])
def test_a_day_has_no_hour(kind):
    days = [date(2020, 1, 1), date(2021, 7, 2), date(1969, 12, 31), None]
    cells = pa.array(days).cast(pa.date32()).cast(kind)
    time, unreadable = times_from(pa.chunked_array([cells]), np.zeros(4))
    np.testing.assert_array_equal(time, times_of(days, torch.zeros(4)).numpy())
    assert np.isnan(time[:, 1]).all()
    assert unreadable == 0


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2020/01/31", "2020-01-31"),
        ("2020:01:31", "2020-01-31"),
        ("20200131", "2020-01-31"),
        (20200131, "2020-01-31"),
        ("2020-02", "2020-02-01"),
        ("2020-W05-5", "2020-01-31"),
        ("2020-01-31T12", "2020-01-31T12:00:00"),
        ("2020-01-31 12:30", "2020-01-31T12:30:00"),
        ("2020-01-31T12:30:00,75", "2020-01-31T12:30:00"),
        ("2020-01-31T12:30:00.123456789", "2020-01-31T12:30:00"),
        ("2020-01-31T12:30:00.5+0130", "2020-01-31T11:00:00"),
        ("2020-01-31T12:30:00+05", "2020-01-31T07:30:00"),
        ("2020:01:31 12:30:00+02:00", "2020-01-31T10:30:00"),
        ("20200131123000", "2020-01-31T12:30:00"),
        ("2020-05-01/2020-05-03", "2020-05-01"),
    ],
)
def test_other_ways_to_write_a_moment(text, same):
    wanted = times_of([same], torch.tensor([30.0]))[0].tolist()
    assert one(text, lon=30.0) == pytest.approx(wanted, abs=0, nan_ok=True)


@pytest.mark.parametrize("text", ["2020:07:02 13:45:00", "2020:07:02 13:45"])
def test_the_hour_of_a_camera_is_local_already(text):
    assert one(text, lon=120.0)[1] == 13.75
    assert one(text.replace(":", "-", 2), lon=120.0)[1] == 21.75


@pytest.mark.parametrize(
    ("number", "same"),
    [
        (1_600_000_000, "2020-09-13T12:26:40"),
        ("1600000000", "2020-09-13T12:26:40"),
        (1.6e9, "2020-09-13T12:26:40"),
        (1_600_000_000_999, "2020-09-13T12:26:40"),
        (1_600_000_000_999_999, "2020-09-13T12:26:40"),
        (123_456_789, "1973-11-29T21:33:09"),
    ],
)
def test_whole_numbers_count_from_1970(number, same):
    assert one(number) == times_of([same])[0].tolist()


def test_a_year_alone_tells_no_date_and_is_no_mistake():
    for years in (["2020", "1999"], [2020, None], [2020.0, math.nan]):
        time, unreadable = of(*years)
        assert np.isnan(time).all()
        assert unreadable == 0


@pytest.mark.parametrize(
    "missing",
    [None, "", "  ", "NaN", "NaT", "null", "None", "unknown", "0000:00:00 00:00:00", "0000-00-00"],
)
def test_what_is_unknown_is_no_mistake(missing):
    time, unreadable = of("2020-01-01", missing)
    assert np.isnan(time[1]).all()
    assert unreadable == 0


@pytest.mark.parametrize(
    "text",
    [
        "yesterday", "2020-02-30", "2020-13-01", "2020-01-01T25:00", "31.12.2020", "1/2/2020", "-1",
        "12:30", "2020-01-01T12:00:00+25:00", "0000-01-01", "9999-12-31T23:59:59-01:00x",
        "99999999", "9" * 5000,
        "2020-01-01\n2020-01-01", "２０２０-01-01", "20201331000000", "2020:13:01 00:00:00",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_counted_and_harms_no_other(text):
    time, unreadable = of(
        "2020-01-01", text, "2021-06-01T06:00:00Z", "2020:01:01 12:00:00", lon=15.0
    )
    assert unreadable == 1
    assert np.isnan(time[1]).all()
    assert time[[0, 2, 3], 1] == pytest.approx([math.nan, 7, 12], nan_ok=True)


@pytest.mark.parametrize(
    "column", [pa.array([True, None]), pa.array([[1], None]), pa.array([b"2020", None])]
)
def test_columns_that_hold_no_moments_are_unreadable(column):
    time, unreadable = times_from(pa.chunked_array([column]), np.zeros(2))
    assert np.isnan(time).all()
    assert unreadable == 1


def test_infinite_and_huge_numbers_are_unknown_or_unreadable():
    time, unreadable = of(math.inf, -math.inf, 1e300, math.nan, -5e17)
    assert np.isnan(time).all()
    assert unreadable == 1


def test_without_a_longitude_there_is_no_hour():
    time, unreadable = of("2020-01-01T00:00:00", lon=math.nan)
    assert time[0, 0] == 0
    assert math.isnan(time[0, 1])
    assert unreadable == 0


def test_no_rows_have_no_times():
    for column in (
        pa.chunked_array([], pa.string()),
        pa.chunked_array([pa.array([], pa.string())]),
    ):
        time, unreadable = times_from(column, np.empty(0))
        assert time.shape == (0, 2)
        assert unreadable == 0


def test_as_many_longitudes_as_moments():
    with pytest.raises(DataError, match="2 moments but 1 longitudes"):
        times_from(pa.chunked_array([["2020", "2021"]]), np.zeros(1))


def test_hours_stay_below_24():
    near = (datetime(2020, 1, 1, tzinfo=UTC) - timedelta(seconds=1)).isoformat()
    for lon in np.nextafter([0.0, 180.0, -180.0], [-1, 0, 0]):
        for text in (near, "2020-01-01T00:00:00", "2020-01-01T12:00:00"):
            assert 0 <= one(text, lon=float(lon))[1] < 24
