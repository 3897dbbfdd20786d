import json
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import geocsp
from geocsp.errors import MissingExtraError
from geocsp.maps.grid import Grid
from geocsp.maps.pictures import painted, picture, write_picture
from geocsp.maps.quantities import Quantity, Scale, best_class, class_probability, embedding_colours
from geocsp.maps.raster import Raster, settings_of

WINDOWS = {
    "world": Grid.of(5.0),
    "pacific": Grid.of(5.0, (100, -60, -60, 60)),
    "europe": Grid.of(1.0, (-12, 34, 32, 60)),
    "fiji": Grid.of(0.5, (175, -20, -175, -15)),
    "street": Grid.of(0.001, (2.35, 48.85, 2.36, 48.86)),
    "pole": Grid.of(1.0, (-180, 80, 180, 90)),
    "strip": Grid.of(0.5, (20, -60, 22, 60)),
}


def prior(names=("red fox", "grey wolf")):
    torch.manual_seed(0)
    return geocsp.GeoPrior(geocsp.create("location", "space2vec-grid", dim=8), list(names)).eval()


@pytest.mark.parametrize("grid", WINDOWS.values(), ids=WINDOWS)
def test_every_window_makes_a_picture(tmp_path, grid):
    raster = Raster.compute(class_probability(prior(), "red fox"), grid)
    with Image.open(write_picture(raster, tmp_path / "map.png")) as image:
        assert image.format == "PNG"
        assert 500 < image.width < 3000
        assert 300 < image.height < 2000
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (pixels.max(axis=2) - pixels.min(axis=2) > 40).mean() > 0.01  # some colour
    assert (pixels[[0, -1]] == 255).all()  # nothing is cut
    assert (pixels[:, [0, -1]] == 255).all()


def test_names_and_settings_are_on_the_picture_and_in_it(tmp_path):
    model = prior()
    settings = settings_of(model, "runs/fox")
    raster = Raster.compute(
        class_probability(model, "red fox"), WINDOWS["europe"], settings=settings
    )
    texts = [text.get_text() for text in picture(raster).texts]
    code = settings["fingerprint"][:8]
    assert texts == [
        "P(red fox | place)",
        f"fox · {code} · cells of 1° · geocsp {geocsp.__version__}",
    ]
    assert picture(raster, "Foxes").texts[0].get_text() == "Foxes"
    with Image.open(write_picture(raster, tmp_path / "map.png")) as image:
        assert json.loads(image.text["Description"]) == raster.settings
        assert image.text["Software"] == "geocsp"


def test_the_same_map_makes_the_same_bytes(tmp_path):
    raster = Raster.compute(class_probability(prior(), "red fox"), WINDOWS["fiji"])
    first = write_picture(raster, tmp_path / "a.png").read_bytes()
    assert write_picture(raster, tmp_path / "b.png").read_bytes() == first


def test_a_value_is_drawn_where_it_is():
    """One marked cell of a regional map has its colour at its place."""
    mark = Quantity(
        "mark",
        Scale.MORE,
        (0.0, 1.0),
        torch.device("cpu"),
        lambda p, _: ((p[:, 0] - 10.5).abs() + (p[:, 1] - 50.5).abs() < 0.1).float(),
    )
    grid = WINDOWS["europe"]
    figure = picture(Raster.compute(mark, grid))
    image = figure.axes[0].images[0]
    shown = np.asarray(image.get_array())
    dark = np.argwhere(shown[..., 0] < 30)
    height, width = shown.shape[:2]
    middle = (dark.mean(axis=0) + 0.5) / [height, width]
    assert middle[0] == pytest.approx((60 - 50.5) / 26, abs=0.003)
    assert middle[1] == pytest.approx((10.5 + 12) / 44, abs=0.003)
    assert len(dark) / (height * width) == pytest.approx(1 / (26 * 44), rel=0.1)


def test_colours_are_those_of_the_quantity():
    colours = embedding_colours(prior())
    grid = Grid.of(2.0, (-12, 34, 32, 60))
    raster = Raster.compute(colours, grid, land_only=True)
    cells = painted(raster)
    assert (
        cells[..., :3][raster.shown].tolist()
        == colours.of(grid.centres()[torch.from_numpy(raster.shown.ravel())]).tolist()
    )
    np.testing.assert_array_equal(cells[..., 3], np.where(raster.shown, 255, 0))


def test_classes_have_a_legend_with_shares_of_the_area():
    model = prior(("$a^{b", "x" * 60))
    torch.nn.init.zeros_(model.class_matrix.weight)
    figure = picture(Raster.compute(best_class(model), WINDOWS["world"]))
    legend = figure.axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["$a^{b  100 %"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()


def test_a_long_legend_fits():
    names = [f"a rather long name of a class, number {n}" for n in range(40)]
    figure = picture(Raster.compute(best_class(prior(names)), Grid.of(2.0)))
    figure.canvas.draw()
    box = figure.axes[1].get_legend().get_window_extent()
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.y1


def test_a_title_may_be_any_text(tmp_path):
    raster = Raster.compute(class_probability(prior(), "red fox"), WINDOWS["fiji"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_picture(raster, tmp_path / "map.png", "$a_{ 狐 \\frac")


def test_a_map_of_nothing_is_drawn(tmp_path):
    grid = Grid.of(1.0, (-150, -10, -140, -5))
    for quantity in (class_probability(prior(), "red fox"), best_class(prior())):
        raster = Raster.compute(quantity, grid, land_only=True)
        assert write_picture(raster, tmp_path / "map.png").stat().st_size > 3000


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    raster = Raster.compute(class_probability(prior(), "red fox"), WINDOWS["fiji"])
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"geocsp\[evaluate\]"):
        write_picture(raster, tmp_path / "map.png")
    assert list(tmp_path.iterdir()) == []
