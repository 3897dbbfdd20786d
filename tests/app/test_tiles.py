import io
import math

import numpy as np
import pytest
import torch
from app_model import classifier, location, zone_of
from PIL import Image

import geocsp
from geocsp.app import colours
from geocsp.app.answers import Layer
from geocsp.app.class_tiles import ClassTiles
from geocsp.app.explorer import AppSettings, Explorer
from geocsp.app.lattice import sample_tile
from geocsp.app.layers import Painted, nice_above
from geocsp.app.mercator import DEEPEST, NORTHERNMOST, SIDE, Tile, lonlat_of, world_places
from geocsp.app.tiles import paint_tile, step_of
from geocsp.coords import check_lonlat, sample_sphere
from geocsp.train.linear import LinearSettings, fit_linear_prior

ALL = np.indices((SIDE, SIDE)).reshape(2, -1)


@pytest.fixture(scope="module")
def explorer():
    made = Explorer(classifier(), "zones", settings=AppSettings(spacing_km=400.0))
    yield made
    made.close()


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def plain_place(tile, row, column):
    """The centre of a pixel by the formulas of OpenStreetMap's wiki, slippy map tile names."""
    n = 2.0**tile.zoom
    x, y = tile.x + (column + 0.5) / SIDE, tile.y + (row + 0.5) / SIDE
    lat = math.atan(math.sinh(math.pi * (1 - 2 * y / n)))
    return x / n * 360.0 - 180.0, math.degrees(lat)


@pytest.mark.parametrize("tile", [Tile(0, 0, 0), Tile(3, 7, 0), Tile(5, 16, 31), Tile(18, 5, 9)])
def test_centres_of_pixels(tile):
    generator = np.random.default_rng(0)
    rows, columns = generator.integers(0, SIDE, (2, 50))
    found = tile.places(rows, columns).numpy()
    expected = [plain_place(tile, *both) for both in zip(rows, columns, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_places_are_those_of_epsg_3857():
    pyproj = pytest.importorskip("pyproj")
    x, y = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9))
    half = math.pi * 6_378_137
    metres = (2 * x.ravel() - 1) * half, (1 - 2 * y.ravel()) * half
    back = pyproj.Transformer.from_crs(3857, 4326, always_xy=True).transform(*metres)
    np.testing.assert_allclose(lonlat_of(x.ravel(), y.ravel()), np.stack(back, 1), atol=1e-9)


def test_the_map_ends_at_85_degrees():
    corners = lonlat_of(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert corners.tolist() == [[-180, NORTHERNMOST], [180, -NORTHERNMOST]]
    assert pytest.approx(85.0511287798) == NORTHERNMOST
    beyond = Tile(2, 3, 3).places(np.array([300, -5]), np.array([300, 0]))
    check_lonlat(beyond)
    assert beyond[0].tolist() == [180, -NORTHERNMOST]


def test_world_places_are_those_of_the_tile_of_the_world():
    assert torch.equal(world_places(SIDE), Tile(0, 0, 0).places(*ALL))


@pytest.mark.parametrize(
    "where", [(-1, 0, 0), (0, 1, 0), (2, 0, 4), (2, -1, 0), (DEEPEST + 1, 0, 0)]
)
def test_there_are_no_other_tiles(where):
    with pytest.raises(ValueError, match="there is no tile"):
        Tile(*where)


def counting(function):
    def values(lonlat):
        check_lonlat(lonlat)
        values.places += len(lonlat)
        return function(lonlat)

    values.places = 0
    return values


def test_what_is_linear_is_interpolated_exactly():
    tile = Tile(5, 20, 11)
    values = counting(lambda lonlat: lonlat[:, 0].numpy())
    found = sample_tile(values, tile, 16, 1e-6)
    assert values.places == 33 * 33
    np.testing.assert_allclose(found.ravel(), tile.places(*ALL)[:, 0], atol=1e-9)


@pytest.mark.parametrize("step", [4, 8, 16])
def test_edges_are_computed(step):
    tile = Tile(3, 4, 3)
    slanted = counting(lambda p: ((p[:, 0] + p[:, 1]) > 50).double().numpy())
    found = sample_tile(slanted, tile, step, 1 / 255)
    assert slanted.places < 0.6 * SIDE**2
    expected = slanted(tile.places(*ALL))
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(found.ravel(), expected)


def test_colours_are_interpolated_one_by_one():
    tile = Tile(4, 8, 5)

    def values(lonlat):
        return np.stack([lonlat[:, 0], lonlat[:, 1] ** 2, np.zeros(len(lonlat))], axis=1)

    found = sample_tile(values, tile, 8, 0.05)
    assert found.shape == (SIDE, SIDE, 3)
    np.testing.assert_allclose(found.reshape(-1, 3), values(tile.places(*ALL)), atol=0.05)


@pytest.mark.parametrize("corner", [Tile(6, 63, 63), Tile(6, 0, 0), Tile(6, 63, 0)])
def test_nothing_is_asked_beyond_the_map(corner):
    values = counting(lambda lonlat: lonlat[:, 1].numpy())
    sample_tile(values, corner, 16, 1e-3)
    assert values.places


def trained(name, **settings):
    torch.manual_seed(0)
    encoder = geocsp.create("location", name, **settings).eval()
    lonlat = sample_sphere(2000, torch.Generator().manual_seed(0))
    return fit_linear_prior(
        encoder, lonlat, zone_of(lonlat), [str(n) for n in range(8)], LinearSettings(penalty=3.0)
    )


SMALL = {"dim": 32, "hidden": 64}
ENCODERS = {
    "space2vec-grid": SMALL,
    "sphere2vec-spherec": SMALL,
    "rff": SMALL,
    "wrap": {"dim": 32},
}


@pytest.mark.parametrize("name", ENCODERS)
def test_interpolated_tiles_are_within_two_steps_of_the_scale(name):
    model = trained(name, **ENCODERS[name])
    values = counting(lambda lonlat: model.class_probabilities(lonlat).numpy())
    resolution, tried = model.location.resolution_km, 0
    for tile in (Tile(2, 2, 1), Tile(5, 16, 10), Tile(8, 135, 80), Tile(10, 540, 320)):
        step = step_of(tile, resolution)
        if step == 1:
            continue
        values.places = 0
        found = sample_tile(values, tile, step, 1 / 255)
        computed = values.places
        exact = values(tile.places(*ALL)).reshape(SIDE, SIDE, -1)
        assert abs(found - exact).max() < 2 / 255
        tried += computed < 0.5 * SIDE**2
    assert tried >= 2


def test_steps_follow_the_finest_wave():
    assert step_of(Tile(0, 0, 0), 70.0) == 1
    assert step_of(Tile(4, 8, 5), 70.0) == 1
    assert step_of(Tile(10, 512, 340), 70.0) == 16
    assert step_of(Tile(0, 0, 0), 40_000.0) == 16
    for zoom in range(DEEPEST + 1):
        tile = Tile(zoom, 0, 0)
        step = step_of(tile, 70.0)
        assert step == 1 or step * tile.pixel_km <= 35.0


@pytest.mark.parametrize("tile", [Tile(0, 0, 0), Tile(2, 2, 1), Tile(6, 34, 27)])
def test_pixels_show_what_the_model_says(explorer, tile):
    generator = np.random.default_rng(1)
    rows, columns = generator.integers(0, SIDE, (2, 400))
    lonlat = torch.tensor([plain_place(tile, *both) for both in zip(rows, columns, strict=True)])
    lonlat = lonlat.double()
    model = explorer.model

    shown = pixels(explorer.tile(tile, Layer.CLASS, "savanna", None))[rows, columns].astype(int)
    share = model.class_probabilities(lonlat)[:, model.class_names.index("savanna")].numpy()
    off = np.abs(colours.fading()[:, None].astype(int) - shown).max(-1).argmin(0) - 255 * share
    visible = shown[:, 3] > 0
    assert np.abs(off[visible]).max() < 2
    assert share[~visible].max(initial=0) < 0.01

    shown = pixels(explorer.tile(tile, Layer.UNCERTAINTY, None, None))[rows, columns].astype(int)
    logs = torch.logit(model.class_probabilities(lonlat).double())
    p = torch.nn.functional.logsigmoid(logs).softmax(1)
    entropy = (-(p * p.log()).sum(1) / math.log(8)).numpy()
    step = np.abs(colours.opaque()[:, None].astype(int) - shown).max(-1).argmin(0)
    assert np.abs(step - 255 * entropy).max() < 2

    shown = pixels(explorer.tile(tile, Layer.SIMILAR, None, (10.0, 47.0)))[rows, columns]
    unit = torch.nn.functional.normalize(model.embed(lonlat), dim=1)
    one = torch.nn.functional.normalize(model.embed(torch.tensor([[10.0, 47.0]])), dim=1)
    low = explorer.legend(Layer.SIMILAR, None).low
    level = (((unit @ one.T)[:, 0] - low) / (1 - low)).clamp(0, 1).numpy() * 255
    near = np.abs(colours.fading()[:, None].astype(int) - shown.astype(int)).max(-1).argmin(0)
    assert np.abs(near - level)[shown[:, 3] > 0].max(initial=0) < 2

    shown = pixels(explorer.tile(tile, Layer.EMBEDDING, None, None))[rows, columns]
    exact = explorer._colours.of(lonlat).numpy().astype(int)
    assert np.abs(shown[:, :3].astype(int) - exact).max() <= 4
    assert set(shown[:, 3]) == {225}


def waves(lonlat):
    angle = torch.deg2rad(lonlat)
    return torch.stack([angle[:, 0].sin(), 0.2 * angle[:, 1].cos(), angle.sum(1).cos()], 1).abs()


def test_other_classes_of_a_tile_are_not_computed_again():
    probabilities = counting(lambda lonlat: waves(lonlat).numpy())
    highs = [1.0, 0.2, 1.0]
    tiles = ClassTiles(probabilities, highs, limit=2**20)
    for tile in (Tile(3, 1, 2), Tile(3, 1, 3)):
        exact = waves(tile.places(*ALL)).numpy().reshape(SIDE, SIDE, 3) / highs
        found = pixels(tiles.png(tile, 0))
        computed = probabilities.places
        found = [found, *(pixels(tiles.png(tile, number)) for number in (1, 2))]
        assert probabilities.places == computed
        for number, shown in enumerate(found):
            alpha = 225 * (exact[:, :, number] / 0.35).clip(0, 1)
            assert np.abs(shown[:, :, 3] - alpha).max() < 6


@pytest.mark.parametrize("classes", [3, 70])
@pytest.mark.parametrize("tile", [Tile(1, 1, 0), Tile(8, 135, 80)])
def test_tiles_of_few_and_of_many_classes(classes, tile):
    torch.manual_seed(0)
    encoder = geocsp.create("location", "space2vec-grid", dim=16, hidden=32)
    model = geocsp.GeoPrior(encoder, classes).eval()
    explorer = Explorer(model, "p", settings=AppSettings(spacing_km=1000.0))
    name = str(classes - 1)
    shown = pixels(explorer.tile(tile, Layer.CLASS, name, None))
    exact = model.class_probabilities(tile.places(*ALL))[:, -1].reshape(SIDE, SIDE).numpy()
    high = explorer.legend(Layer.CLASS, name).high
    expected = colours.fading()[colours.levels(exact, 0.0, high)].astype(int)
    assert np.abs(shown.astype(int) - expected).max() <= 8
    assert explorer.tile(tile, Layer.CLASS, "0", None) != explorer.tile(
        tile, Layer.CLASS, name, None
    )
    explorer.close()


def test_the_same_tile_is_the_same_bytes(explorer):
    asked = (Tile(5, 17, 11), Layer.CLASS, "desert", None)
    assert explorer.tile(*asked) == explorer.tile(*asked)


@pytest.mark.parametrize(
    ("west", "east"),
    [
        (Tile(4, 8, 6), Tile(4, 9, 6)),
        (Tile(7, 70, 50), Tile(7, 71, 50)),
        (Tile(4, 15, 5), Tile(4, 0, 5)),  # over the antimeridian
    ],
)
def test_neighbouring_tiles_agree(west, east):
    encoder = location("sphere2vec-spherec", dim=32)
    axis = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))

    def of(lonlat):
        return (encoder.embed(lonlat) @ axis).numpy()

    spread = float(np.ptp(of(world_places(64)), axis=0).max())
    halves = [sample_tile(of, tile, step_of(tile, 80.0), spread / 255) for tile in (west, east)]
    rows = np.arange(SIDE)
    last, first = np.full(SIDE, SIDE - 1), np.zeros(SIDE, int)
    left, right = of(west.places(rows, last)), of(east.places(rows, first))
    jump = halves[1][:, 0] - halves[0][:, -1]
    np.testing.assert_allclose(jump, right - left, atol=2 * spread / 255)


def test_rows_continue_below(explorer):
    upper, lower = (
        pixels(explorer.tile(Tile(5, 16, y), Layer.UNCERTAINTY, None, None)).astype(int)
        for y in (10, 11)
    )
    within = np.abs(np.diff(upper[-20:], axis=0)).max()
    assert np.abs(lower[0] - upper[-1]).max() <= within + 8


def test_colours_of_the_scale_are_viridis():
    matplotlib = pytest.importorskip("matplotlib")
    expected = matplotlib.colormaps["viridis"](np.arange(256), bytes=True)[:, :3].astype(int)
    off = np.abs(colours.SEQUENTIAL.astype(int) - expected)
    assert off.max() <= 15
    assert off.mean() < 2
    lightness = colours.SEQUENTIAL @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).mean() > 0.95


def test_low_probabilities_fade_out():
    alpha = colours.fading()[:, 3].astype(int)
    assert alpha[0] == 0
    assert (np.diff(alpha) >= 0).all()
    assert alpha[-1] == alpha[100] == 225


def test_levels_reach_from_end_to_end():
    values = np.array([-1.0, 0.2, 0.4, 0.6, 9.0, np.float32(0.6)])
    assert colours.levels(values, 0.2, 0.6).tolist() == [0, 0, 128, 255, 255, 255]
    assert colours.levels(values, 0.5, 0.5).tolist() == [0] * 6


@pytest.mark.parametrize(
    ("peak", "end"), [(1.0, 1), (0.51, 1), (0.5, 0.5), (0.3, 0.5), (0.2, 0.2), (0.011, 0.02)]
)
def test_scales_end_at_a_round_number(peak, end):
    assert nice_above(peak) == pytest.approx(end)


def test_scales_of_nothing_still_have_a_length():
    assert 0 < nice_above(0.0) <= 1e-5
    flat = Painted("", lambda p: np.zeros(len(p)), (0.0, nice_above(0.0)), "", colours.fading())
    assert pixels(paint_tile(flat, Tile(0, 0, 0), 16))[:, :, 3].max() == 0
