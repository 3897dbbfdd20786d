import pytest

from geocsp.images.framing import Framing


@pytest.mark.parametrize(
    ("framing", "scaled"),
    [
        (Framing(8), (8, 8)),
        (Framing(8, resize=10), (13, 10)),
        (Framing(8, resize=10, squeeze=True), (10, 10)),
    ],
)
def test_sides_are_rounded_down_or_squeezed(framing, scaled):
    assert framing.scaled(4, 3) == scaled
    assert framing.scaled(3, 4) == scaled[::-1]


def test_halves_of_a_pixel_go_to_the_even_one():
    framing = Framing(4, resize=4)
    assert [framing.corner(n, 4)[0] for n in (4, 5, 6, 7)] == [0, 0, 1, 2]
    assert [framing.corner(4, n)[1] for n in (4, 5, 6, 7)] == [0, 0, 1, 2]


def test_another_size_takes_the_same_share_in_whole_pixels():
    other = Framing(224, resize=256).at(225)
    assert (other.pixels, other.resize) == (225, 257)
    assert isinstance(other.resize, int)
