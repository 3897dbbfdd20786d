import numpy as np
import pytest
from audit_tables import places

from geocsp.data.assemble import why_unusable
from geocsp.data.audit.coordinates import (
    Extent,
    distinct_places,
    extent_of,
    findings_of_places,
    nearest_km,
    places_of,
)
from geocsp.data.quarantine import Problem


def findings(lonlat, problems=()):
    found = findings_of_places(places_of(np.asarray(lonlat, dtype=float), seed=0), problems)
    return [(str(f.severity), f.rows, f.message) for f in found]


def test_no_known_place_is_no_measure():
    assert places_of(np.full((3, 2), np.nan), seed=0) is None
    assert places_of(np.empty((0, 2)), seed=0) is None
    assert findings(np.full((3, 2), np.nan)) == []


def test_places_are_counted_once_and_unknown_ones_never():
    lonlat = np.array([[10.5, 50.25], [10.5, 50.25], [np.nan, np.nan], [11, 51], [7, 7]])
    found = places_of(lonlat, seed=0)
    assert (found.rows, found.distinct, found.whole_degrees, found.equal) == (4, 3, 2, 1)
    assert (found.crowd, found.crowd_lonlat) == (2, (10.5, 50.25))
    assert found.extent == Extent(7, 7, 11, 51)


def test_one_place_has_many_names():
    lonlat = np.array([[180, 5], [-180, 5], [0.0, 90], [77, 90], [-0.0, 3], [0.0, 3]])
    distinct, index = distinct_places(lonlat)
    assert len(distinct) == 3
    assert index[0] == index[1]
    assert index[2] == index[3]
    assert index[4] == index[5]
    np.testing.assert_array_equal(distinct[index[2:4]], [[0, 90], [0, 90]])


@pytest.mark.parametrize(
    ("lon", "west", "east"),
    [
        ([-10, 20], -10, 20),
        ([170, -170], 170, 190),
        ([170, 175, -179, -160], 170, 200),
        ([-90, 0, 95], -90, 95),
        ([-120, 0, 120], -120, 120),
        ([5], 5, 5),
        ([-180, 180], 180, 180),
    ],
)
def test_the_box_crosses_the_antimeridian_where_that_is_short(lon, west, east):
    extent = extent_of(np.array([[x, 1.0] for x in lon]))
    assert (extent.west, extent.east) == (west, east)
    assert (extent.south, extent.north) == (1, 1)


def test_the_nearest_is_exact_over_poles_and_antimeridian():
    lonlat = np.array([[0.0, 0.0], [179.9, 10.0], [0.0, 89.9], [1.0, 0.0]])
    others = np.array([[0.001, 0.0], [-179.9, 10.0], [180.0, 89.9], [1.0, 0.0]])
    degree = np.pi * 6371.0088 / 180
    expected = [0.001 * degree, 0.2 * degree * np.cos(np.deg2rad(10)), 0.2 * degree, 0]
    np.testing.assert_allclose(nearest_km(lonlat, others), expected, rtol=2e-5, atol=1e-12)
    assert nearest_km(lonlat, others)[3] == 0


def test_the_nearest_is_that_of_all_pairs():
    a, b = places(60), places(40, seed=1)
    lon, lat = np.deg2rad(a).T
    other_lon, other_lat = np.deg2rad(b).T
    cosine = np.sin(lat)[:, None] * np.sin(other_lat) + np.cos(lat)[:, None] * np.cos(
        other_lat
    ) * np.cos(lon[:, None] - other_lon)
    expected = 6371.0088 * np.arccos(cosine).min(axis=1)
    np.testing.assert_allclose(nearest_km(a, b), expected, rtol=1e-6)


def test_the_median_distance_is_that_between_different_places():
    lonlat = np.array([[0, 10], [0, 10], [0, 11], [0, 12]], dtype=float)
    assert places_of(lonlat, seed=0).nearest_km == pytest.approx(111.195, abs=0.01)
    assert places_of(lonlat[:2], seed=0).nearest_km is None


def test_many_places_are_sampled_the_same_way_every_time():
    lonlat = places(150_000)
    first = places_of(lonlat, seed=3)
    assert first == places_of(lonlat, seed=3)
    assert first.nearest_km != places_of(lonlat, seed=4).nearest_km
    assert first.nearest_km == pytest.approx(places_of(lonlat, seed=4).nearest_km, rel=0.02)


def test_good_places_have_no_findings():
    assert findings(places(500)) == []


def test_one_place_is_an_error():
    ((severity, rows, message),) = findings([[2.5, 48.5]] * 7)
    assert (severity, rows) == ("error", 7)
    assert message == "all at one place: there is nothing to learn about location"
    assert findings([[2.5, 48.5]]) == []


def test_few_places_and_a_small_area_are_told():
    spots = places(4)
    assert findings(np.repeat(spots, 10, axis=0)) == [("warning", 40, "at 4 different places only")]
    town = [2.3, 48.8] + 0.2 * np.random.default_rng(0).random((50, 2))
    ((severity, rows, message),) = findings(town)
    assert (severity, rows) == ("info", 50)
    assert message.startswith("all within one degree")


def test_whole_degrees_are_told():
    good = places(900)
    whole = np.round(places(100, seed=1))
    assert findings(good) == []
    ((severity, rows, message),) = findings(np.concatenate([good, whole]))
    assert (severity, rows) == ("warning", 100)
    assert message.startswith("coordinates in whole degrees")
    assert findings(whole)[0][0] == "error"


def test_one_column_twice_is_told():
    lonlat = np.repeat(places(50)[:, 1:], 2, axis=1)
    assert findings(lonlat) == [
        ("error", 50, "longitude equal to latitude: are both from one column?")
    ]


def test_a_place_that_a_tenth_of_all_share_is_told():
    lonlat = places(200)
    lonlat[:30] = [-98.5, 39.75]
    ((severity, rows, message),) = findings(lonlat)
    assert (severity, rows) == ("warning", 30)
    assert message == "at the one place lon -98.5, lat 39.75: is that a default or a centre?"


def test_swapped_columns_are_an_error_only_where_they_would_fit():
    problems = [Problem("a.csv", row, why_unusable(48.9, 120.5)) for row in range(30)]
    narrow = np.abs(places(300)) * [0.5, 1.0]
    ((severity, rows, message),) = findings(narrow, problems)
    assert (severity, rows) == ("error", 30)
    assert message.startswith("latitude beyond 90 degrees: swap --lon-column and --lat-column")
    assert findings(places(300), problems)[0][0] == "warning"
    assert findings(narrow, problems[:1])[0][0] == "warning"
    assert findings(narrow, [Problem("a.csv", 1, "no coordinates")]) == []
