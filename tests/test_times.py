import math
from datetime import date, datetime

import numpy as np
import pytest
import torch

import geocsp
from geocsp.errors import DataError
from geocsp.times import TimeFeatures, check_time, times_of

NAN = math.nan


def only(moment, **settings):
    return times_of([moment], **settings)[0].tolist()


@pytest.mark.parametrize(
    ("moment", "day", "days"),
    [
        ("2023-01-01T00:00", 0, 365),
        ("2023-03-01T12:00", 59.5, 365),
        ("2024-03-01T12:00", 60.5, 366),
        ("2024-12-31T18:00", 365.75, 366),
        ("1900-12-31T00:00", 364, 365),
        ("1969-07-02T12:00", 182.5, 365),
    ],
)
def test_the_date_is_a_fraction_of_its_own_year(moment, day, days):
    assert only(moment)[0] == pytest.approx(day / days, abs=1e-12)


def test_the_hour_has_fractions():
    assert only("2023-05-05T06:30:36")[1] == pytest.approx(6.51)
    assert only("2023-05-05T00:00")[1] == 0.0
    assert only("1960-05-05 23:59:59")[1] == pytest.approx(24 - 1 / 3600)


def test_the_last_moment_of_a_year_stays_below_one():
    last, hour = only("2023-12-31T23:59:59.999999")
    assert last < 1
    assert hour < 24


@pytest.mark.parametrize(
    "day", ["2023-07-01", date(2023, 7, 1), np.datetime64("2023-07-01")], ids=repr
)
def test_a_day_alone_has_no_hour(day):
    fraction, hour = only(day)
    assert fraction == pytest.approx(181 / 365)
    assert math.isnan(hour)


@pytest.mark.parametrize("unknown", [None, "", "NaT", np.datetime64("NaT"), NAN], ids=repr)
def test_unknown_moments_are_not_numbers(unknown):
    assert all(math.isnan(part) for part in only(unknown))


def test_texts_and_objects_of_a_moment_agree():
    text = "2023-07-01T06:15:00"
    many = times_of(
        [text, datetime(2023, 7, 1, 6, 15), np.datetime64(text), np.datetime64(text, "ns")]
    )
    assert many.dtype == torch.float64
    assert torch.equal(many, many[:1].expand(4, 2))


def test_arrays_and_no_moments_at_all_are_taken():
    days = np.array(["2023-07-01", "NaT"], dtype="datetime64[D]")
    assert times_of(days).shape == (2, 2)
    assert times_of([]).shape == (0, 2)


@pytest.mark.parametrize(
    "bad", ["yesterday", "2023-02-30", "2023-01-01T25:00", "12:00", 5, "now", "2023"]
)
def test_moments_that_cannot_be_read_are_named_with_their_row(bad):
    with pytest.raises(DataError, match=r"time row 2 is .*: not an ISO 8601 date or time"):
        times_of(["2023-01-01", None, bad])


def test_with_longitudes_the_hour_is_local_solar_time():
    noon = ["2023-07-01T12:00"] * 5 + ["2023-07-01"]
    lon = torch.tensor([0.0, 90.0, -90.0, 180.0, -180.0, 15.0])
    local = times_of(noon, lon=lon)
    assert local[:5, 1].tolist() == pytest.approx([12.0, 18.0, 6.0, 0.0, 0.0])
    assert math.isnan(local[5, 1])
    assert torch.equal(local[:, 0], times_of(noon)[:, 0])


def test_features_equal_the_formula_in_order():
    features = TimeFeatures(date_harmonics=2, hour_harmonics=1)
    assert features.dim == 6
    row = features(torch.tensor([[0.3, 7.0]], dtype=torch.float64))[0]
    angles = [2 * math.pi * 0.3, 4 * math.pi * 0.3, 2 * math.pi * 7 / 24]
    expected = [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
    assert row.tolist() == pytest.approx(expected, abs=1e-7)
    assert row.dtype == torch.float32


def test_features_are_periodic():
    features = TimeFeatures(date_harmonics=3, hour_harmonics=3)
    start, end = features(torch.tensor([[0.0, 0.0], [1.0, 24.0]]))
    torch.testing.assert_close(start, end, atol=1e-6, rtol=0)


def test_unknown_parts_are_zeros():
    features = TimeFeatures(date_harmonics=1, hour_harmonics=1, linear_date=True)
    no_date, no_hour, neither = features(torch.tensor([[NAN, 6.0], [0.25, NAN], [NAN, NAN]]))
    assert no_date.tolist() == pytest.approx([0, 0, 0, 1, 0], abs=1e-7)
    assert no_hour.tolist() == pytest.approx([-0.5, 1, 0, 0, 0], abs=1e-7)
    assert neither.tolist() == [0] * 5


def test_the_linear_date_comes_first_and_runs_from_minus_one_to_one():
    features = TimeFeatures(linear_date=True)
    assert features.dim == 1
    assert features(torch.tensor([[0.0, 1.0], [0.75, 1.0], [1.0, 1.0]])).tolist() == [
        [-1],
        [0.5],
        [1],
    ]


def test_no_harmonics_are_no_features():
    assert TimeFeatures().dim == 0
    assert TimeFeatures()(torch.zeros(3, 2)).shape == (3, 0)


def test_good_times_pass_the_check_unchanged():
    time = torch.tensor([[0.0, 24.0], [1.0, NAN], [NAN, 0.0]])
    assert check_time(time, 3) is time
    assert len(check_time(geocsp.times_of(["2023-07-01T12:00"], torch.tensor([-180.0])), 1)) == 1


@pytest.mark.parametrize(
    "bad", [[-0.01, 3.0], [1.01, 3.0], [0.5, 24.1], [NAN, -1.0], [math.inf, 1.0]]
)
def test_impossible_times_are_named_with_their_row(bad):
    with pytest.raises(ValueError, match=r"time row 1 is \(date .*geocsp.times_of makes them"):
        check_time(torch.tensor([[0.5, 3.0], bad, bad]), 3)


def test_times_of_another_shape_or_type_are_refused():
    for time in (torch.zeros(2, 2), torch.zeros(3), torch.zeros(3, 3), torch.zeros(3, 2).long()):
        with pytest.raises(ValueError, match=r"time must be a floating point tensor \(3, 2\)"):
            check_time(time, 3)


def test_a_time_zone_is_converted_to_utc():
    utc = only("2023-07-01T06:15:00")
    assert only("2023-07-01T06:15:00Z") == utc
    assert only("2023-07-01T08:15:00+02:00") == utc
    assert only("2023-06-30T23:15:00-07:00") == utc


def test_longitudes_must_be_as_many_as_moments():
    with pytest.raises(DataError, match=r"lon must have shape \(2,\), got \(3,\)"):
        times_of(["2023-01-01", None], lon=torch.zeros(3))


def test_negative_harmonics_are_refused():
    with pytest.raises(ValueError, match="cannot be negative"):
        TimeFeatures(date_harmonics=-1)
