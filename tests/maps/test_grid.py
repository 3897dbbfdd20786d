import math

import pytest
import torch

from geocsp.coords import check_lonlat, wrap
from geocsp.errors import DataError
from geocsp.maps.grid import Grid


def plain_centres(west, south, step, rows, columns):
    """Cell by cell, from the definition."""
    cells = []
    for row in range(rows):
        for column in range(columns):
            lon = west + (column + 0.5) * step
            lon = lon - 360 if lon >= 180 else lon
            cells.append((lon, south + (rows - 1 - row + 0.5) * step))
    return torch.tensor(cells, dtype=torch.float64)


@pytest.mark.parametrize("step", [0.05, 0.1, 1 / 12, 0.25, 0.8, 1, 7.5, 90, 180])
def test_the_world_is_covered_exactly(step):
    grid = Grid.of(step)
    assert grid.shape == (round(180 / step), round(360 / step))
    assert grid.bounds == (-180, -90, 180, 90)
    if step >= 0.8:
        centres = plain_centres(-180, -90, step, *grid.shape)
        assert torch.allclose(grid.centres(), centres, rtol=0, atol=1e-9)


def test_rows_go_from_north_to_south_and_cells_from_west_to_east():
    grid = Grid(10, -20, 30, 10, 50)
    assert grid.shape == (2, 3)
    expected = [(-15, 45), (-5, 45), (5, 45), (-15, 35), (-5, 35), (5, 35)]
    assert grid.centres().tolist() == [list(map(float, cell)) for cell in expected]
    assert grid.centres(slice(1, 2)).tolist() == grid.centres()[3:].tolist()
    assert grid.centres(slice(1, 2), slice(2, None)).tolist() == [[5.0, 35.0]]


def test_no_centre_is_on_a_pole_or_out_of_range():
    for grid in (Grid.of(0.5), Grid.of(0.5, "170,80,-170,90"), Grid.of(0.5, (0, -90, 360, 90))):
        centres = check_lonlat(grid.centres())
        assert centres[:, 1].abs().max() < 90
        assert centres[:, 0].min() >= -180
        assert centres[:, 0].max() < 180


def test_a_window_over_the_antimeridian():
    grid = Grid.of(5, "170,-10,-170,10")
    assert grid.bounds == (170, -10, 190, 10)
    assert grid == Grid(5, 170, -10, -170, 10)
    assert grid.longitudes.tolist() == [172.5, 177.5, 182.5, 187.5]
    assert grid.centres(slice(1))[:, 0].tolist() == [172.5, 177.5, -177.5, -172.5]
    assert torch.allclose(grid.centres(), plain_centres(170, -10, 5, 4, 4))


def test_longitudes_of_either_convention():
    assert Grid.of(1, "190,0,200,10").bounds == (-170, 0, -160, 10)
    assert Grid.of(1, "180,0,-170,10").bounds == (-180, 0, -170, 10)
    assert Grid.of(1, "0,-90,360,90").bounds == (0, -90, 360, 90)
    assert Grid.of(0.1, "0.05,-90,360,90").shape == (1800, 3600)  # not one column twice


def test_bounds_are_widened_to_whole_steps():
    grid = Grid.of(0.5, "-9.6,35.9,4.4,43.8")
    assert grid.bounds == (-10, 35.5, 4.5, 44)
    assert Grid.of(0.1, "-10,35,5,44").bounds == (-10, 35, 5, 44)  # nothing to widen
    assert Grid.of(0.7, "0.1,0,3,3").bounds == pytest.approx((-0.1, -0.4, 3.4, 3.1))


def test_equal_cells_of_two_windows_have_equal_centres():
    world, window = Grid.of(0.05), Grid.of(0.05, "7.3,41.15,9.1,44.4")
    row, column = round((90 - 44.4) / 0.05), round((7.3 + 180) / 0.05)
    rows, columns = window.shape
    same = world.centres(slice(row, row + rows), slice(column, column + columns))
    assert torch.equal(window.centres(), same)


def test_a_grid_of_any_origin():
    grid = Grid(2, 0.3, 0.1, 6.3, 4.1)
    assert grid.shape == (2, 3)
    assert torch.allclose(grid.centres(), plain_centres(0.3, 0.1, 2, 2, 3))


def test_the_transform_leads_from_cells_to_centres():
    rasterio_transform = pytest.importorskip("rasterio.transform")
    grid = Grid.of(0.25, "175,-3,-178,2")
    x, y = rasterio_transform.xy(grid.transform, *divmod(torch.arange(20 * 28).numpy(), 28))
    centres = wrap(torch.stack([torch.as_tensor(x), torch.as_tensor(y)], dim=1).double())
    assert torch.allclose(centres, grid.centres())


def test_one_cell():
    grid = Grid.of(2, "4,6,6,8")
    assert grid.shape == (1, 1)
    assert grid.centres().tolist() == [[5.0, 7.0]]


@pytest.mark.parametrize(
    ("step", "bounds", "message"),
    [
        (0, "0,0,1,1", "positive number"),
        (-1, "0,0,1,1", "positive number"),
        (math.nan, "0,0,1,1", "positive number"),
        (7, "-180,-90,180,90", r"do not divide 180 degrees.*use a step of 6\.923"),
        (0.083333, "-180,-90,180,90", r"use a step of 0\.0833333333"),
        (1, "0,0,0.5,2", r"larger than the window of 0\.5 x 2 degrees; use a step of 0\.5"),
        (200, "-180,-90,180,90", "larger than the window"),
        (1, "0,0,1", "west,south,east,north"),
        (1, "a,b,c,d", "west,south,east,north"),
        (1, "0,5,1,5", "south must be below north"),
        (1, "0,80,1,91", r"in \[-90, 90\]"),
        (1, "nan,0,1,1", "degrees from -180 on"),
        (1, "-190,0,1,1", "degrees from -180 on"),
        (1, "5,0,5,1", "more than 0 and at most 360"),
        (1, "0,0,400,1", "more than 0 and at most 360"),
    ],
)
def test_what_is_no_grid(step, bounds, message):
    with pytest.raises(DataError, match=message):
        Grid.of(step, bounds)


def test_bare_edges_have_to_fit_the_step():
    with pytest.raises(DataError, match=r"Grid\.of widens"):
        Grid(1, 0, 0, 2.5, 2)
