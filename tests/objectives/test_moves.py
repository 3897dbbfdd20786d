import math

import pytest
import torch

from geocsp.coords import (
    EARTH_RADIUS_KM,
    check_lonlat,
    great_circle_km,
    sample_sphere,
    unit_vectors,
)
from geocsp.objectives.moves import destination, jitter, ring

QUARTER = math.pi / 2 * EARTH_RADIUS_KM
DEGREE = QUARTER / 90


def random(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("start", "bearing", "km", "end"),
    [
        ((0, 0), 0.0, DEGREE, (0, 1)),
        ((0, 0), math.pi / 2, DEGREE, (1, 0)),
        ((0, 0), math.pi, QUARTER, (0, -90)),
        ((179.5, 0), math.pi / 2, DEGREE, (-179.5, 0)),
        ((-179.5, 0), -math.pi / 2, DEGREE, (179.5, 0)),
        ((20, 89), 0.0, 2 * DEGREE, (-160, 89)),
        ((20, 90), math.pi, DEGREE, (20, 89)),
        ((20, 90), math.pi / 2, DEGREE, (110, 89)),
        ((20, -90), 0.0, DEGREE, (20, -89)),
    ],
)
def test_known_destinations(start, bearing, km, end):
    there = destination(
        torch.tensor([start], dtype=torch.float64), torch.tensor([bearing]), torch.tensor([km])
    )
    expected = torch.tensor([end], dtype=torch.float64)
    assert float(great_circle_km(there, expected)) < 1e-3


def test_it_goes_exactly_as_far_as_asked():
    g = random()
    start = sample_sphere(2000, g).double()
    bearing = 2 * math.pi * torch.rand(2000, generator=g, dtype=torch.float64)
    km = 10 ** torch.empty(2000, dtype=torch.float64).uniform_(-3, 4.2, generator=g)
    there = check_lonlat(destination(start, bearing, km))
    torch.testing.assert_close(great_circle_km(start, there), km, rtol=1e-6, atol=1e-6)


def test_it_sets_out_in_the_direction_asked_for():
    start = torch.tensor([[30.0, 40.0]], dtype=torch.float64)
    bearing = torch.tensor([1.0])
    there = destination(start, bearing, torch.tensor([0.01]))
    step = (unit_vectors(there) - unit_vectors(start))[0]
    lon, lat = torch.deg2rad(start[0])
    east = torch.stack([-lon.sin(), lon.cos(), torch.zeros_like(lon)])
    north = torch.stack([-lat.sin() * lon.cos(), -lat.sin() * lon.sin(), lat.cos()])
    assert float(torch.atan2(step @ east, step @ north)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_keep_type_and_contract(dtype):
    places = torch.tensor([[180.0, 0.0], [-180.0, 0.0], [0.0, 90.0], [7.0, -90.0]], dtype=dtype)
    many = places.repeat(500, 1)
    for moved in (jitter(many, 0.001, random()), ring(many, 0.0, 1e-3, 1, random()).flatten(0, 1)):
        assert check_lonlat(moved).dtype == dtype


@pytest.mark.parametrize("place", [(10.0, 50.0), (180.0, 0.0), (33.0, 90.0), (33.0, -90.0)])
def test_jitter_is_gaussian_with_the_deviation_asked_for(place):
    km = 40.0
    start = torch.tensor([place], dtype=torch.float64).expand(20000, 2)
    moved = jitter(start, km, random())
    distance = great_circle_km(start, moved)
    assert float(distance.square().mean()) == pytest.approx(2 * km**2, rel=0.03)
    assert float((distance < km).double().mean()) == pytest.approx(1 - math.exp(-0.5), abs=0.01)
    centre = unit_vectors(moved).mean(0) - unit_vectors(start[:1])[0]
    assert float(centre.norm() * EARTH_RADIUS_KM) < 1.5


def test_jitter_follows_from_the_generator():
    places = sample_sphere(10, random(1))
    assert torch.equal(jitter(places, 5.0, random(2)), jitter(places, 5.0, random(2)))
    assert not torch.equal(jitter(places, 5.0, random(2)), jitter(places, 5.0, random(3)))
    assert torch.equal(jitter(places, 0.0, random()), places)


@pytest.mark.parametrize("place", [(10.0, 50.0), (180.0, 0.0), (33.0, 90.0)])
@pytest.mark.parametrize(("near", "far"), [(0.0, 0.1), (50.0, 500.0), (3000.0, 2 * QUARTER)])
def test_a_ring_is_uniform_by_area(place, near, far):
    count = 20000
    start = torch.tensor([place], dtype=torch.float64)
    places = ring(start, near, far, count, random())[0]
    distance = great_circle_km(start, places)
    slack = 1e-6 * far + 1e-6
    assert near - slack <= float(distance.min()) <= float(distance.max()) <= far + slack

    def area(km):
        return math.sin(km / EARTH_RADIUS_KM / 2) ** 2

    for share in (0.25, 0.5, 0.75):
        cap = area(near) + share * (area(far) - area(near))
        radius = 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(cap))
        assert float((distance < radius).double().mean()) == pytest.approx(share, abs=0.015)


def test_rings_are_around_their_own_places():
    centres = sample_sphere(30, random()).double()
    places = ring(centres, 10.0, 20.0, 4, random())
    assert places.shape == (30, 4, 2)
    distance = great_circle_km(centres.repeat_interleave(4, 0), places.flatten(0, 1))
    assert bool(((distance > 10 - 1e-6) & (distance < 20 + 1e-6)).all())
