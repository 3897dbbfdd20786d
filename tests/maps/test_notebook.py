import base64
import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

import geocsp
from geocsp.errors import DataError, MissingExtraError
from geocsp.maps.grid import Grid
from geocsp.maps.notebook import in_mercator, layer
from geocsp.maps.quantities import class_probability, embedding_colours, uncertainty


def prior():
    torch.manual_seed(0)
    encoder = geocsp.create("location", "space2vec-grid", dim=8)
    return geocsp.GeoPrior(encoder, ["red fox", "grey wolf"]).eval()


def picture_of(made):
    return Image.open(BytesIO(base64.b64decode(made.image.split(",", 1)[1])))


@pytest.mark.parametrize(
    "quantity",
    [lambda m: class_probability(m, "red fox"), embedding_colours, uncertainty],
    ids=["class", "embedding", "uncertainty"],
)
def test_layers_are_built(quantity):
    lonboard = pytest.importorskip("lonboard")
    made = layer(quantity(prior()), step=5.0, land_only=True)
    assert isinstance(made, lonboard.BitmapLayer)
    assert tuple(made.bounds) == (-180, -85, 180, 85)
    assert made.opacity == 0.7
    with picture_of(made) as image:
        assert image.mode == "RGBA"
        opacity = np.asarray(image)[..., 3]
    assert set(np.unique(opacity)) == {0, 255}
    assert lonboard.Map(made).layers == (made,) or list(lonboard.Map(made).layers) == [made]


def test_a_window_over_the_antimeridian_goes_on_beyond_180():
    pytest.importorskip("lonboard")
    made = layer(uncertainty(prior()), bounds="175,-20,-175,-15", step=1.0)
    assert tuple(made.bounds) == (175, -20, 185, -15)
    with picture_of(made) as image:
        assert image.size == (10, 5)


def test_pixels_are_the_cells_below_them_in_mercator():
    grid = Grid.of(1.0)
    cells = np.zeros((180, 360, 4), np.uint8)
    cells[..., 0] = np.arange(180)[:, None]  # number of the row from the north
    pixels, bounds = in_mercator(cells, grid)
    assert bounds == (-180, -85, 180, 85)
    height = len(pixels)
    top = np.log(np.tan(np.pi / 4 + np.deg2rad(85) / 2))
    for lat in (-80.5, -30.5, 0.5, 45.5, 70.5):
        y = np.log(np.tan(np.pi / 4 + np.deg2rad(lat) / 2))
        pixel = int((top - y) / (2 * top) * height)
        assert pixels[pixel, 7, 0] == 90 - (lat + 0.5)
    assert height / 360 == pytest.approx(2 * top / (2 * np.pi), rel=0.01)


def test_the_poles_are_not_on_web_maps():
    grid = Grid.of(1.0, (0, 86, 10, 90))
    with pytest.raises(DataError, match="web maps end"):
        in_mercator(np.zeros((4, 10, 4), np.uint8), grid)


def test_without_lonboard_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lonboard", None)
    with pytest.raises(MissingExtraError, match=r"geocsp\[notebook\]"):
        layer(uncertainty(prior()))
