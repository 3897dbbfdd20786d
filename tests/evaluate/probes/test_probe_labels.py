"""Labels against their packages, against plain lookups, and against what every atlas says."""

import importlib.util
import math
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
import torch
from scipy.special import lpmv

from geocsp.coords import great_circle_km
from geocsp.data.named.labels import grid, is_land, labels_at
from geocsp.data.packaged import PackagedFile
from geocsp.errors import DataError, MissingExtraError
from geocsp.evaluate.probes import LABELS, countries, fields, synthetic, target_at


def needs(*packages):
    missing = []
    for package in packages:
        try:
            distribution(package)
        except PackageNotFoundError:
            missing.append(package)
    return pytest.mark.skipif(
        bool(missing),
        reason=f"{missing} NOT INSTALLED, so these labels were NOT TESTED: "
        "pip install 'geocsp[probes]'",
    )


def some_places(count=300, seed=0):
    rng = np.random.default_rng(seed)
    lat = np.rad2deg(np.arcsin(rng.uniform(-1, 1, count)))
    return np.stack([rng.uniform(-180, 180, count), lat], axis=1)


EDGES = np.array([[-180.0, 90.0], [180.0, -90.0], [180.0, 0.0], [-180.0, 0.0], [0.0, 90.0]])


@needs("pvlib", "h5py")
def test_elevation_is_that_of_the_pixel():
    import h5py

    path = PackagedFile("pvlib", "pvlib/data/Altitude.h5").locate()
    with h5py.File(path) as file:
        pixels = file["Altitude"][...]
    places = np.concatenate([some_places(), EDGES])
    found = fields.elevation(places)
    for (lon, lat), metres in zip(places.tolist(), found.tolist(), strict=True):
        row = min(math.floor((90 - lat) * 12), 2159)
        step = int(pixels[row, math.floor((lon + 180) * 12) % 4320])
        expected = math.nan if step == 255 else step * 28 - 450
        assert metres == pytest.approx(expected, nan_ok=True)


@needs("pvlib", "h5py")
def test_elevation_of_well_known_places():
    tibet, netherlands, dead_sea = fields.elevation(
        np.array([[87.0, 33.0], [5.0, 52.3], [35.48, 31.5]])
    )
    assert tibet > 4500
    assert -60 < netherlands < 60
    assert dead_sea < -300


@needs("itur")
def test_temperature_equals_the_package():
    from itur.models.itu1510 import surface_mean_temperature

    places = some_places()
    expected = surface_mean_temperature(places[:, 1].copy(), places[:, 0].copy())
    np.testing.assert_allclose(fields.temperature(places), expected.value - 273.15, atol=1e-9)


@needs("itur")
def test_temperature_at_the_edges_of_the_map():
    found = fields.temperature(EDGES)
    assert found[2] == pytest.approx(found[3])
    assert found[0] == pytest.approx(found[4])
    assert found[1] < -40
    assert -25 < found[0] < 0


@needs("itur")
def test_precipitation_is_the_sum_of_the_months():
    places = np.concatenate([some_places(40), EDGES])
    tables = []
    for month in range(1, 13):
        path = PackagedFile("itur", f"itur/data/837/v7_mt_month{month:02d}.npz").locate()
        tables.append(np.load(path)["arr_0"])
    for (lon, lat), found in zip(places.tolist(), fields.precipitation(places), strict=True):
        row, column = (lat + 90.125) / 0.25, (lon + 180.125) / 0.25
        y, x = min(int(row), 720), min(int(column), 1440)
        v, u = row - y, column - x
        total = sum(
            (1 - v) * ((1 - u) * t[y, x] + u * t[y, x + 1])
            + v * ((1 - u) * t[y + 1, x] + u * t[y + 1, x + 1])
            for t in tables
        )
        assert found == pytest.approx(total, rel=1e-6, abs=1e-6)


@needs("itur")
def test_precipitation_of_well_known_places():
    atacama, sahara, amazon = fields.precipitation(
        np.array([[-69.5, -23.5], [12.0, 24.0], [-65.0, -2.0]])
    )
    assert max(atacama, sahara) < 100
    assert 2000 < amazon < 4500


@needs("tzfpy", "tzdata")
def test_countries_of_well_known_places():
    names = countries.country_names()
    places = {
        (13.4, 52.5): "Germany",
        (-46.6, -23.5): "Brazil",
        (116.4, 39.9): "China",
        (87.6, 43.8): "China",
        (-100.0, 40.0): "United States",
        (-149.9, 61.2): "United States",
        (-45.0, 72.0): "Greenland",
        (133.0, -25.0): "Australia",
    }
    found = countries.countries(np.array(list(places)))
    assert [names[index] for index in found] == list(places.values())


@needs("tzfpy", "tzdata")
def test_the_sea_and_small_countries_have_no_class():
    assert countries.countries(np.array([[-30.0, 0.0], [6.13, 49.61]])).tolist() == [-1, -1]
    names = countries.country_names()
    assert "Luxembourg" not in names
    assert 60 < len(names) == len(set(names)) < 130


@needs("tzfpy", "tzdata")
def test_the_kept_countries_are_those_with_a_thousandth_of_the_land():
    centres = grid(0.5).reshape(-1, 2)
    inside = (centres[:, 1] > -56) & (centres[:, 1] < 74)
    land = centres[inside & is_land(centres)]
    area = np.cos(np.deg2rad(land[:, 1]))
    index = countries.countries(land)
    for number in range(len(countries.country_names())):
        assert area[index == number].sum() / area.sum() >= 0.001


def test_absolute_latitude():
    assert synthetic.absolute_latitude(np.array([[10.0, -30.0], [5.0, 20.0]])).tolist() == [30, 20]


def test_water_distance_is_that_to_the_nearest_cell_of_water():
    centres = grid(0.25).reshape(-1, 2)
    water = torch.from_numpy(centres[~is_land(centres)])
    places = np.array([[87.0, 43.8], [13.4, 52.5], [179.99, 67.0], [-30.0, 0.0]])
    found = synthetic.water_distance(places)
    for place, km in zip(places, found, strict=True):
        nearest = float(great_circle_km(torch.from_numpy(place[None]), water).min())
        assert km == pytest.approx(nearest, abs=1e-6)
    assert found[0] > 200
    assert found[3] < 20


def harmonic(degree, order, lonlat):
    """Real and orthonormal, without the Condon-Shortley sign."""
    lon, height = np.deg2rad(lonlat[:, 0]), np.sin(np.deg2rad(lonlat[:, 1]))
    m = abs(order)
    scale = (
        (2 * degree + 1) / (4 * math.pi) * math.factorial(degree - m) / math.factorial(degree + m)
    )
    polar = (-1) ** m * math.sqrt(scale) * lpmv(m, degree, height)
    if order == 0:
        return polar
    return math.sqrt(2) * polar * (np.cos(m * lon) if order > 0 else np.sin(m * lon))


def test_the_random_field_is_a_sum_of_harmonics():
    places = some_places(50)
    weights = np.random.default_rng(3).standard_normal(25)
    total, number = np.zeros(50), 0
    for degree in range(5):
        for order in range(-degree, degree + 1):
            if degree:
                size = math.sqrt(4 * math.pi / (4 * (2 * degree + 1)))
                total += size * weights[number] * harmonic(degree, order, places)
            number += 1
    found = synthetic.random_field(places, degrees=5, seed=3)
    np.testing.assert_allclose(found, total, atol=2e-6)


def test_random_fields_have_mean_0_and_variance_1_everywhere():
    poles_and_equator = np.array([[0.0, 90.0], [0.0, 0.0], [120.0, -40.0]])
    many = np.stack(
        [synthetic.random_field(poles_and_equator, degrees=5, seed=s) for s in range(400)]
    )
    assert np.abs(many.mean(axis=0)).max() < 0.2
    np.testing.assert_allclose(many.var(axis=0), 1, atol=0.25)


def test_the_random_field_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    synthetic.random_field(some_places(5))
    assert torch.equal(before, torch.get_rng_state())


@needs("itur", "pvlib", "h5py", "tzfpy", "tzdata")
@pytest.mark.parametrize("name", LABELS)
def test_every_label_is_known_of_most_land(name, data):
    target = target_at(name, data.lonlat[:400])
    assert target.name == name
    assert len(target) == 400
    assert target.known.mean() > 0.75
    assert len(np.unique(target.values[target.known])) > 5
    computed = name in ("latitude", "field")
    assert bool(target.attribution) != computed
    assert target.is_number == (name not in ("climate", "landcover", "country"))


def test_climate_and_land_cover_are_those_of_the_data_set(data):
    for name in ("climate", "landcover"):
        target = target_at(name, data.lonlat[:50])
        assert target.values.tolist() == labels_at(name, data.lonlat[:50]).tolist()
        assert target.class_names == data.tasks[name].class_names


def test_unknown_labels_and_places_are_refused():
    with pytest.raises(DataError, match="no label 'biome'; labels: climate"):
        target_at("biome", [[0.0, 0.0]])
    with pytest.raises(DataError, match="row 1"):
        target_at("latitude", [[0.0, 0.0], [0.0, np.nan]])


@pytest.mark.parametrize(
    ("name", "module"), [("elevation", "h5py"), ("country", "tzfpy")], ids=["h5py", "tzfpy"]
)
def test_a_missing_module_names_the_extra(name, module, monkeypatch):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} NOT INSTALLED: pip install 'geocsp[probes]'")
    fields._altitude.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module} is not installed.*geocsp\[probes\]"):
        target_at(name, [[0.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "package"), [("elevation", "pvlib"), ("temperature", "itur")], ids=["pvlib", "itur"]
)
def test_a_missing_package_names_the_extra(name, package, monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    fields._altitude.cache_clear()
    monkeypatch.setattr("geocsp.data.packaged.distribution", absent)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed.*geocsp\[probes\]"):
        target_at(name, [[0.0, 0.0]])
