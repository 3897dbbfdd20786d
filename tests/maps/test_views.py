import numpy as np
import pytest

from geocsp.maps.grid import Grid
from geocsp.maps.natural_earth import coasts
from geocsp.maps.projections import Flat, Mollweide, Polar
from geocsp.maps.views import View

WORLD = View(Grid.of(1.0))
PACIFIC = View(Grid.of(1.0, (100, -60, -60, 60)))
EUROPE = View(Grid.of(0.5, (-12, 34, 32, 60)))
FIJI = View(Grid.of(0.1, (175, -20, -175, -15)))
ARCTIC = View(Grid.of(1.0, (-180, 60, 180, 90)))
ANTARCTIC = View(Grid.of(1.0, (0, -90, 180, -50)))
VIEWS = {
    "world": WORLD,
    "pacific": PACIFIC,
    "europe": EUROPE,
    "fiji": FIJI,
    "arctic": ARCTIC,
    "antarctic": ANTARCTIC,
}


def test_wide_windows_are_equal_in_area():
    kinds = [type(view.projection) for view in VIEWS.values()]
    assert kinds == [Mollweide, Mollweide, Flat, Flat, Polar, Polar]


@pytest.mark.parametrize(
    "projection",
    [Flat(0.7), Mollweide(), Polar(1), Polar(-1)],
    ids=["flat", "mollweide", "north", "south"],
)
def test_there_is_a_way_back(projection):
    away = np.random.default_rng(0).uniform([-179, -89], [179, 89], (500, 2))
    back = np.stack(projection.degrees(*projection.placed(away).T), axis=1)
    np.testing.assert_allclose(back, away, atol=1e-6)


@pytest.mark.parametrize(
    "projection", [Mollweide(), Polar(1), Polar(-1)], ids=["mollweide", "north", "south"]
)
def test_small_squares_keep_their_area(projection):
    for lon, lat in ((10.0, 0.0), (-100.0, 40.0), (150.0, 70.0), (60.0, -60.0)):
        low, step = np.array([lon, lat]), 1e-3
        corners = low + step * np.array([[0, 0], [1, 0], [0, 1]])
        a, b, c = projection.placed(corners)
        area = abs(np.linalg.det([b - a, c - a]))
        assert area == pytest.approx(np.deg2rad(step) ** 2 * np.cos(np.deg2rad(lat)), rel=1e-3)


def test_poles_are_seen_as_from_above():
    north, south = Polar(1), Polar(-1)
    east = np.array([[90.0, 60.0], [90.0, -60.0]])
    assert north.placed(np.array([[0.0, 90.0]])) == pytest.approx(np.zeros((1, 2)))
    assert north.placed(np.array([[0.0, 60.0]]))[0, 1] < 0  # Greenwich is below
    assert south.placed(np.array([[0.0, -60.0]]))[0, 1] > 0  # and above
    assert north.placed(east[:1])[0, 0] > 0
    assert south.placed(east[1:])[0, 0] > 0


def test_the_projection_is_mollweide_s():
    """By its definition: 2 t + sin 2 t = pi sin(lat), x ~ lon cos t, y ~ sin t."""
    for lat in (-90.0, -60.0, -0.5, 0.0, 30.0, 89.0, 90.0):
        x, y = WORLD.parallel(lat)[[0, -1]].T
        t = np.arcsin(y / np.sqrt(2))
        np.testing.assert_allclose(
            2 * t + np.sin(2 * t), np.pi * np.sin(np.deg2rad(lat)), atol=1e-6
        )
        np.testing.assert_allclose(x, [-1, 1] * (2 * np.sqrt(2) * np.cos(t)), atol=1e-6)


def test_projected_areas_are_true():
    rows, _, inside = WORLD.cells(1000)
    half = rows[inside] < 60  # north of 30 degrees
    assert half.mean() == pytest.approx(0.25, abs=0.002)
    assert inside.mean() == pytest.approx(np.pi / 4, abs=0.002)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_pixels_show_the_cell_that_is_there(view):
    width = 400
    rows, columns, inside = view.cells(width)
    height = len(rows)
    left, right, bottom, top = view.extent
    west, _, _, north = view.grid.bounds
    step = view.grid.step
    for lon, lat in (
        (190.0, -10.0),
        (120.0, 15.0),
        (10.0, 50.0),
        (179.5, -17.3),
        (181.0, -17.3),
        (60.0, 80.0),
        (60.0, -80.0),
    ):
        turned = west + (lon - west) % 360
        if turned >= view.grid.east or not view.grid.south < lat < north:
            continue
        x, y = view.lines([np.array([[lon, lat], [lon, lat]])])[0][0]
        row = int((top - y) / (top - bottom) * height)
        column = int((x - left) / (right - left) * width)
        assert inside[row, column]
        away = (
            rows[row, column] - (north - lat) / step,
            columns[row, column] - (turned - west) / step,
        )
        pixel = np.rad2deg((right - left) / width) / np.cos(np.deg2rad(lat)) / step
        assert np.abs(away).max() <= 1 + pixel


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_lines_never_jump_over_the_paper(view):
    jumps = [np.abs(np.diff(line[:, 0])).max(initial=0.0) for line in view.lines(coasts())]
    assert max(jumps) < 0.5  # of a globe of radius one; islands are closed within this


def test_coasts_go_on_over_the_antimeridian():
    left, right, _, _ = FIJI.extent
    x = np.concatenate([line[:, 0] for line in FIJI.lines(coasts())])
    assert ((x > left) & (x < 0)).any()
    assert ((x > 0) & (x < right)).any()


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_the_graticule_is_inside_and_sparse(view):
    meridians, parallels = view.graticule()
    west, south, east, north = view.grid.bounds
    assert all(west <= lon <= east for lon in meridians)
    assert all(south <= lat <= north for lat in parallels)
    assert 1 <= len(parallels) <= 8
    assert 2 <= len(meridians) <= 13


def test_a_small_window_has_fine_lines():
    meridians, _ = View(Grid.of(0.001, (2.2, 48.8, 2.5, 48.9))).graticule()
    assert meridians == pytest.approx([2.2, 2.25, 2.3, 2.35, 2.4, 2.45, 2.5])


def test_a_narrow_window_is_to_scale_in_the_middle():
    left, right, bottom, top = EUROPE.extent
    assert (right - left) / (top - bottom) == pytest.approx(44 * np.cos(np.deg2rad(47)) / 26)
    assert EUROPE.aspect == pytest.approx((right - left) / (top - bottom))
