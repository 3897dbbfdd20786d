import math

import pytest
import torch
from scipy import stats

from geocsp.coords import (
    EARTH_RADIUS_KM,
    check_lonlat,
    great_circle_km,
    pairwise_within_km,
    sample_sphere,
    unit_vectors,
    wrap,
)

PARIS, NEW_YORK, SYDNEY = (2.3522, 48.8566), (-74.0060, 40.7128), (151.2093, -33.8688)


def tensor(*places):
    return torch.tensor(places, dtype=torch.float64)


@pytest.mark.parametrize(
    ("lonlat", "message"),
    [
        (tensor((0, 0), (20, 95)), r"row 1 is \(lon 20, lat 95\): latitude .* swapped\?"),
        (tensor((120, -95)), r"row 0 .* latitude must be in \[-90, 90\] degrees$"),
        (tensor((0, 0), (190, 5)), r"row 1 .* longitude must be .*coords\.wrap"),
        (tensor((0, 0), (0, 0), (math.nan, 5)), "row 2 .* must be finite"),
        (tensor((0, math.inf)), "row 0 .* must be finite"),
        (torch.zeros(3, 3), r"must have shape \(N, 2\): lon, lat; got \(3, 3\)"),
        (torch.zeros(2), "must have shape"),
        (torch.zeros(1, 2, dtype=torch.int64), "floating point tensor .* got torch.int64"),
        ([[1.0, 2.0]], "floating point tensor .* got list"),
    ],
)
def test_a_broken_contract_is_told_with_its_row(lonlat, message):
    with pytest.raises(ValueError, match=message):
        check_lonlat(lonlat)


def test_good_coordinates_pass_unchanged():
    lonlat = tensor((-180, -90), (180, 90), (0, 0))
    assert check_lonlat(lonlat) is lonlat
    assert check_lonlat(torch.empty(0, 2)).shape == (0, 2)


def test_wrap_brings_longitudes_home():
    wrapped = wrap(tensor((190, 5), (-190, 5), (540, 5), (180, 5), (-180, 5), (359, -5)))
    assert wrapped[:, 0].tolist() == [-170, 170, -180, -180, -180, -1]
    assert wrapped[:, 1].tolist() == [5, 5, 5, 5, 5, -5]


def test_unit_vectors_point_along_the_axes():
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [-1, 0, 0]]
    found = unit_vectors(tensor((0, 0), (90, 0), (17, 90), (-40, -90), (180, 0)))
    torch.testing.assert_close(found, tensor(*expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        (PARIS, NEW_YORK, 5837),
        (PARIS, SYDNEY, 16960),
        ((0, 0), (180, 0), math.pi * EARTH_RADIUS_KM),
    ],
)
def test_distances_of_known_places(a, b, km):
    assert float(great_circle_km(tensor(a), tensor(b))) == pytest.approx(km, rel=1e-3)


def test_distance_equals_the_spherical_law_of_cosines_and_is_exact_for_metres():
    a = sample_sphere(50, torch.Generator().manual_seed(0)).double()
    b = sample_sphere(50, torch.Generator().manual_seed(1)).double()
    for first, second, km in zip(a.tolist(), b.tolist(), great_circle_km(a, b), strict=True):
        (lon_a, lat_a), (lon_b, lat_b) = (map(math.radians, place) for place in (first, second))
        cosine = math.sin(lat_a) * math.sin(lat_b)
        cosine += math.cos(lat_a) * math.cos(lat_b) * math.cos(lon_a - lon_b)
        assert float(km) == pytest.approx(EARTH_RADIUS_KM * math.acos(cosine), rel=1e-9)
    metre = math.degrees(0.001 / EARTH_RADIUS_KM)
    here = tensor((10, 0))
    assert float(great_circle_km(here, here + tensor((0, metre)))) == pytest.approx(0.001)
    assert great_circle_km(here, a).shape == (50,)


@pytest.mark.parametrize("km", [0.5, 800.0, 9000.0])
def test_near_pairs_are_those_of_the_distance(km):
    a = sample_sphere(40, torch.Generator().manual_seed(2)).double()
    b = torch.cat([a[:20] + 0.001, sample_sphere(20, torch.Generator().manual_seed(3)).double()])
    near = pairwise_within_km(a, b, km)
    for i in range(40):
        assert near[i].tolist() == (great_circle_km(b, a[i : i + 1]) < km).tolist()
    assert 0 < int(near.sum()) < near.numel()


def test_samples_are_uniform_on_the_sphere():
    lonlat = sample_sphere(20_000, torch.Generator().manual_seed(0)).double()
    height = torch.deg2rad(lonlat[:, 1]).sin()
    assert stats.kstest(lonlat[:, 0], stats.uniform(-180, 360).cdf).pvalue > 0.01
    assert stats.kstest(height, stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert float((lonlat[:, 1].abs() > 60).double().mean()) == pytest.approx(0.134, abs=0.01)


def test_samples_follow_their_generator():
    first, again, other = (sample_sphere(5, torch.Generator().manual_seed(s)) for s in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    check_lonlat(first)


def test_a_bad_longitude_at_a_pole_is_told_as_a_longitude():
    with pytest.raises(ValueError, match=r"row 0 is \(lon 200, lat 90\): longitude must be"):
        check_lonlat(tensor((200, 90)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wrapped_longitudes_stay_below_180_where_rounding_would_reach_it(dtype):
    edge = torch.tensor(-180.0, dtype=dtype)
    beyond = torch.nextafter(edge, torch.full_like(edge, -math.inf))
    lon = wrap(torch.stack([beyond, torch.zeros_like(beyond)]).unsqueeze(0))[0, 0]
    assert -180 <= float(lon) < 180


def test_all_places_are_within_more_than_half_a_circumference():
    a = tensor((0, 0), (0, 90), (10, 20))
    antipodes = tensor((180, 0), (0, -90), (-170, -20))
    assert bool(pairwise_within_km(a, antipodes, 30_000.0).all())
