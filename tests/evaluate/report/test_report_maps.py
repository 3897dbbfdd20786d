import numpy as np
import pytest

from geocsp.evaluate.report.drawing import data_uri, house_style
from geocsp.evaluate.report.maps import block_means, difference_map, hits_map


def test_blocks_have_their_mean_and_their_middle():
    lonlat = np.array([[10.0, 0.0], [12.0, 0.0], [50.0, 40.0]])
    places, means, counts = block_means(lonlat, np.array([7, 7, 2]), np.array([1.0, -0.5, 0.25]))
    assert counts.tolist() == [1, 2]
    assert means.tolist() == [0.25, 0.25]
    assert places == pytest.approx(np.array([[50.0, 40.0], [11.0, 0.0]]))


def test_the_middle_of_a_block_across_the_date_line_lies_on_it():
    places, _, _ = block_means(
        np.array([[179.0, 5.0], [-179.0, 5.0]]), np.zeros(2, int), np.ones(2)
    )
    assert abs(places[0, 0]) == pytest.approx(180)
    assert places[0, 1] == pytest.approx(5, abs=0.01)


def test_a_block_around_a_pole_is_at_the_pole():
    lonlat = np.array([[lon, 89.0] for lon in (0.0, 90.0, 180.0, -90.0)])
    places, _, _ = block_means(lonlat, np.zeros(4, int), np.ones(4))
    assert places[0, 1] == pytest.approx(90)


@pytest.mark.parametrize(
    "places",
    [
        [[-170.0, -50.0], [0.0, 0.0], [170.0, 70.0]],
        [[8.0, 47.0], [8.4, 47.3]],
        [[179.5, -17.0], [-179.0, -16.0]],
        [[3.0, 90.0]],
    ],
    ids=["world", "country", "date line", "pole"],
)
def test_all_dots_are_inside_the_map(places):
    places = np.array(places)
    with house_style():
        figures = (
            difference_map(places, np.linspace(-0.2, 0.3, len(places)), np.arange(len(places)) + 1),
            hits_map(places, np.linspace(0, 1, len(places))),
        )
        for figure in figures:
            assert data_uri(figure).startswith("data:image/png;base64,")
            axes = figure.axes[0]
            dots = axes.collections[-1]
            shown = axes.transData.transform(dots.get_offsets())
            box = axes.get_window_extent()
            assert len(shown) == len(places)
            assert (shown >= [box.x0 - 1, box.y0 - 1]).all()
            assert (shown <= [box.x1 + 1, box.y1 + 1]).all()


def test_even_blocks_are_neither_blue_nor_orange():
    places = np.array([[0.0, 0.0], [40.0, 10.0], [80.0, 20.0]])
    with house_style():
        figure = difference_map(places, np.array([-1.0, 0.0, 1.0]), np.array([2, 2, 2]))
        dots = figure.axes[0].collections[-1]
        dots.update_scalarmappable()
        lose, even, win = dots.get_facecolors()[:, :3]
    assert np.ptp(even) < 0.03
    assert win[2] - win[0] > 0.5
    assert lose[0] - lose[2] > 0.5
