"""Cells and weights of the HEALPix grids against their published formulas."""

import math

import pytest
import torch

from geocsp.coords import sample_sphere
from geocsp.location import HealpixHash
from geocsp.location.healpix import neighbours

SIDES = [1, 2, 3, 4, 8]
PLACES = sample_sphere(500, torch.Generator().manual_seed(0)).double()
POLES = torch.tensor([[0, 90], [45, 90], [-180, -90], [20, -90]]).double()


def centre(cell, sides):
    """Longitude and latitude of a cell in ring order, equations 2 to 9 of Gorski et al. (2005)."""
    cells, cap = 12 * sides**2, 2 * sides * (sides - 1)
    if cell >= cells - cap:
        lon, lat = centre(cells - 1 - cell, sides)
        return -lon, -lat
    if cell < cap:
        half = (cell + 1) / 2
        ring = math.floor(math.sqrt(half - math.sqrt(math.floor(half)))) + 1
        step = cell + 1 - 2 * ring * (ring - 1)
        height, lon = 1 - ring**2 / (3 * sides**2), 90 / ring * (step - 0.5)
    else:
        ring = (cell - cap) // (4 * sides) + sides
        step = (cell - cap) % (4 * sides) + 1
        height = 4 / 3 - 2 * ring / (3 * sides)
        lon = 90 / sides * (step - (ring - sides + 1) % 2 / 2)
        lon -= 0 if (ring - sides + 1) % 2 else 90 / sides
    return (lon + 180) % 360 - 180, math.degrees(math.asin(height))


def centres(sides):
    cells = range(12 * sides**2)
    return torch.tensor([centre(cell, sides) for cell in cells], dtype=torch.float64)


def interpolation(lonlat, sides):
    """Weight of every cell, ``(N, cells)``."""
    cells, weights = neighbours(lonlat, sides)
    whole = torch.zeros(len(lonlat), 12 * sides**2, dtype=torch.float64)
    return whole.scatter_add(1, cells, weights)


@pytest.mark.parametrize("sides", [*SIDES, 64, 2**15])
def test_cells_are_in_range_and_weights_are_shares(sides):
    cells, weights = neighbours(torch.cat([PLACES, POLES]), sides)
    assert cells.shape == weights.shape == (len(PLACES) + 4, 4)
    assert int(cells.min()) >= 0
    assert int(cells.max()) < 12 * sides**2
    assert float(weights.min()) >= 0
    assert weights.sum(1).tolist() == pytest.approx([1.0] * len(weights), abs=1e-12)


@pytest.mark.parametrize("sides", SIDES)
def test_a_cell_has_all_the_weight_at_its_published_centre(sides):
    own = interpolation(centres(sides), sides).diagonal()
    assert own.tolist() == pytest.approx([1.0] * len(own), abs=1e-9)


@pytest.mark.parametrize("sides", [*SIDES, 64])
def test_the_interpolation_of_the_latitude_is_close_to_the_latitude(sides):
    lat, centre_lat = PLACES[:, 1], centres(sides)[:, 1]
    cells, weights = neighbours(PLACES, sides)
    between = lat.abs() <= centre_lat.max()
    estimate = (centre_lat[cells] * weights).sum(1)
    torch.testing.assert_close(estimate[between], lat[between], atol=1e-9, rtol=0)


@pytest.mark.parametrize("sides", SIDES)
def test_a_pole_is_the_mean_of_the_four_cells_around_it(sides):
    weights = interpolation(POLES, sides)
    assert weights[:2, :4].flatten().tolist() == pytest.approx([0.25] * 8, abs=1e-9)
    assert weights[2:, -4:].flatten().tolist() == pytest.approx([0.25] * 8, abs=1e-9)


def borders(sides):
    """Places on every ring, on the edges of the caps, on cell borders, the antimeridian, poles."""
    rings = centres(sides)[:, 1].unique().tolist()
    cap = math.degrees(math.asin(2 / 3))
    lats = [*rings, cap, -cap, 0.0, 90 - 1e-6, 1e-6 - 90, 33.3]
    lons = [-180.0, 180.0, 0.0, 45.0, 90 / sides, 45 / sides, 12.3]
    return torch.tensor([[lon, lat] for lat in lats for lon in lons], dtype=torch.float64)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("step", [(1e-6, 0.0), (-1e-6, 0.0), (0.0, 1e-6), (0.0, -1e-6)])
def test_weights_change_little_between_places_a_hand_apart(sides, step):
    places = torch.cat([borders(sides), PLACES])
    moved = places + torch.tensor(step, dtype=torch.float64)
    moved[:, 0] = torch.remainder(moved[:, 0] + 180, 360) - 180
    moved[:, 1].clamp_(-90, 90)
    change = interpolation(moved, sides) - interpolation(places, sides)
    assert float(change.abs().max()) < 3e-6


def test_weights_are_continuous_over_a_pole():
    for lat in (89.9999995, -89.9999995):
        here, opposite = torch.tensor([[10, lat], [-170, lat]], dtype=torch.float64).split(1)
        change = interpolation(here, 4) - interpolation(opposite, 4)
        assert float(change.abs().max()) < 1e-6


def test_features_are_weighted_means_of_the_vectors():
    encoder = HealpixHash(dim=4, levels=3, level_dim=2, hidden=4)
    for level, vectors in enumerate(encoder.tables):
        torch.nn.init.constant_(vectors, level + 1.0)
    expected = torch.tensor([1.0, 1, 2, 2, 3, 3]).expand(len(PLACES), -1)
    torch.testing.assert_close(encoder.features(PLACES).detach(), expected)


def test_levels_larger_than_the_table_share_its_vectors():
    encoder = HealpixHash(dim=4, levels=6, level_dim=2, table=500, hidden=4)
    assert [len(vectors) for vectors in encoder.tables] == [12, 48, 192, 500, 500, 500]
    places = sample_sphere(20_000, torch.Generator().manual_seed(1)).double()
    encoder.features(places).sum().backward()
    for vectors in encoder.tables:
        assert float((vectors.grad != 0).double().mean()) > 0.98


def test_fine_levels_stay_in_the_table():
    encoder = HealpixHash(dim=4, levels=22, level_dim=1, table=64, hidden=4)
    assert bool(encoder.features(torch.cat([PLACES, POLES])).isfinite().all())


def test_at_least_one_level_is_needed():
    with pytest.raises(ValueError, match="at least one level and vector, got 0"):
        HealpixHash(levels=0)
