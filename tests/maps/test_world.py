import numpy as np
import pytest
from matplotlib.figure import Figure

from geocsp.maps.world import draw_grid, principal_colours, world_axes


def test_colours_follow_the_strongest_directions():
    generator = np.random.default_rng(0)
    factors = generator.standard_normal((500, 3)) * [9.0, 3.0, 1.0]
    axes = np.linalg.qr(generator.standard_normal((8, 8)))[0][:3]
    colours = principal_colours(factors @ axes + 0.01 * generator.standard_normal((500, 8)))
    assert colours.shape == (500, 3)
    assert colours.min() == 0
    assert colours.max() == 1
    for channel in range(3):
        correlations = [abs(np.corrcoef(colours[:, channel], f)[0, 1]) for f in factors.T]
        assert int(np.argmax(correlations)) == channel
        assert correlations[channel] > 0.95


def test_colours_do_not_depend_on_arbitrary_signs():
    embedding = np.random.default_rng(0).standard_normal((60, 5)) * [5, 4, 3, 1, 1]
    colours = principal_colours(embedding)
    np.testing.assert_allclose(principal_colours(embedding[::-1])[::-1], colours, atol=1e-9)


def test_a_grid_is_drawn_where_its_cells_are():
    values = np.zeros((18, 36))
    values[3, 20] = 7.0  # lat 60..50, lon 20..30
    mesh = draw_grid(world_axes(Figure()), values)
    shown = np.asarray(mesh.get_array())
    coordinates = np.rad2deg(mesh.get_coordinates())
    ((row, column),) = np.argwhere(shown == 7.0)
    assert coordinates[row, column].tolist() == pytest.approx([20, 60])
    assert coordinates[row + 1, column + 1].tolist() == pytest.approx([30, 50])
    assert coordinates[0, 0, 1] == pytest.approx(80)
    assert coordinates[-1, 0, 1] == pytest.approx(-60)


def test_missing_colours_are_transparent():
    values = np.full((18, 36, 3), np.nan)
    values[8, 5] = [1.0, 0.5, 0.0]
    shown = np.asarray(draw_grid(world_axes(Figure()), values).get_array())
    assert shown[..., 3].sum() == 1
    assert shown[shown[..., 3] == 1].tolist() == [[1.0, 0.5, 0.0, 1.0]]


def test_an_embedding_without_spread_has_one_colour():
    assert principal_colours(np.ones((7, 4))).tolist() == [[0, 0, 0]] * 7
