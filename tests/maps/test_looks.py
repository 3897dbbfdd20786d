import numpy as np
import pytest
import torch

from geocsp.maps.looks import ClassLook, Look
from geocsp.maps.quantities import Quantity, Scale


def quantity(scale=Scale.MORE, limits=(0.0, 1.0)):
    return Quantity("x", scale, limits, torch.device("cpu"), lambda places, time: places[:, 0])


@pytest.mark.parametrize(
    ("highest", "high"),
    [(0.97, 1.0), (0.5, 0.5), (0.51, 1.0), (0.013, 0.02), (0.2, 0.2), (4e-5, 5e-5), (0.0, 1.0)],
)
def test_a_scale_ends_at_a_round_number(highest, high):
    look = Look.of(quantity(), np.array([0.0, highest, np.nan]))
    assert (look.low, look.high) == (0.0, pytest.approx(high))


def test_opposites_keep_zero_in_the_middle():
    look = Look.of(quantity(Scale.OPPOSITES, (-1.0, 1.0)), np.array([0.1, 0.3]))
    assert (look.low, look.high) == (-1.0, 1.0)
    middle = look.rgba(np.array([0.0]))[0, :3].astype(int)
    assert np.ptp(middle) < 12  # grey


def test_nothing_known_has_a_scale_all_the_same():
    assert Look.of(quantity(), np.full(3, np.nan)).high == 1.0


@pytest.mark.parametrize("scale", [Scale.MORE, Scale.DOUBT])
def test_more_is_darker_step_by_step(scale):
    look = Look.of(quantity(scale), np.array([1.0]))
    rgb = look.rgba(np.linspace(0, 1, 12))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(rgb) < 0).all()


def test_missing_values_are_transparent():
    colours = Look.of(quantity(), np.array([1.0])).rgba(np.array([[0.5, np.nan]]))
    assert colours.shape == (1, 2, 4)
    assert colours[0, 0, 3] == 255
    assert colours[0, 1].tolist() == [0, 0, 0, 0]


def test_classes_have_different_colours_by_area():
    look = ClassLook.of(("a", "b", "c"), np.array([0.1, 0.0, 0.9]))
    assert [name for name, _, _ in look.legend] == ["c", "a"]
    assert len({tuple(c) for c in look.colours.tolist()}) == 3
    shown = look.rgba(np.array([2, -1, 0]))
    assert shown[1].tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(shown[0, :3] / 255, look.legend[0][1], atol=0.003)


@pytest.mark.parametrize("count", [8, 9, 18, 19, 500])
def test_only_the_largest_of_many_classes_have_a_colour(count):
    shares = np.arange(1.0, count + 1) / np.arange(1.0, count + 1).sum()
    look = ClassLook.of(tuple(map(str, range(count))), shares)
    assert sum(share for _, _, share in look.legend) == pytest.approx(1)
    colours = {colour for _, colour, _ in look.legend}
    assert len(colours) == len(look.legend) <= 19
    assert (look.legend[-1][0] == f"{count - 18} others") is (count > 18)
