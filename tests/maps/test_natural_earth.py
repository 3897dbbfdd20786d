import json

import numpy as np
import pytest

from geocsp.maps.natural_earth import Detail, borders, coasts, land, land_geojson, on_land

PLACES = {
    "Paris": (2.35, 48.86, True),
    "Kansas": (-98.0, 38.5, True),
    "mid-Pacific": (-150.0, 0.0, False),
    "Caspian Sea": (51.0, 42.0, False),
    "South Pole": (0.0, -90.0, True),
    "South Pole, another meridian": (123.0, -90.0, True),
    "North Pole": (0.0, 90.0, False),
    "Antarctica, west": (-100.0, -80.0, True),
    "Ross Sea": (-175.0, -72.0, False),
    "Fiji, Viti Levu": (178.0, -17.8, True),
    "Chukotka, west of the antimeridian": (178.0, 67.0, True),
    "Chukotka, east of the antimeridian": (-178.0, 67.0, True),
    "Chukotka, on the antimeridian": (180.0, 67.0, True),
    "Chukotka, on the antimeridian, otherwise": (-180.0, 67.0, True),
    "Madagascar": (46.7, -19.0, True),
    "Gulf of Guinea": (0.0, 0.0, False),
    "beyond 180, Chukotka": (182.0, 67.0, True),
}


@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_known_places_are_on_land_or_in_water(place, detail):
    lon, lat, is_land = place
    assert on_land(np.array([[lon, lat]]), detail).tolist() == [is_land]


def test_fine_lines_know_a_small_island():
    tenerife = np.array([[-16.6, 28.3]])
    assert on_land(tenerife, Detail.MEDIUM).all()
    assert not on_land(tenerife, Detail.LOW).any()


def test_a_missing_place_and_none_are_not_on_land():
    assert on_land(np.array([[np.nan, 10.0], [10.0, np.nan], [0.0, 95.0]])).tolist() == [False] * 3
    assert on_land(np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize("detail", Detail)
def test_on_land_is_what_the_polygons_say(detail):
    shapely = pytest.importorskip("shapely")
    whole = shapely.union_all([shapely.Polygon(p.outer, p.holes) for p in land(detail)])
    points = np.random.default_rng(0).uniform([-180, -90], [180, 90], (3000, 2))
    expected = shapely.contains_xy(whole, points)
    np.testing.assert_array_equal(on_land(points, detail), expected)


@pytest.mark.parametrize("detail", Detail)
def test_polygons_are_valid_and_none_spans_the_antimeridian(detail):
    shapely = pytest.importorskip("shapely")
    for polygon in land(detail):
        assert shapely.Polygon(polygon.outer, polygon.holes).is_valid
        for ring in polygon.rings:
            assert (ring[0] == ring[-1]).all()
            assert np.abs(ring[:, 0]).max() <= 180
            assert np.abs(ring[:, 1]).max() <= 90
            assert np.abs(np.diff(ring[:, 0])).max() < 30
        assert shapely.LinearRing(polygon.outer).is_ccw
        assert not any(shapely.LinearRing(hole).is_ccw for hole in polygon.holes)
    areas = [shapely.Polygon(p.outer, p.holes).area for p in land(detail)]
    assert np.argmax(areas) == 0


@pytest.mark.parametrize("detail", Detail)
def test_coasts_have_no_line_along_the_edge_of_the_map(detail):
    for line in coasts(detail):
        lon, lat = np.abs(line).T
        along = (lon[1:] == 180) & (line[1:, 0] == line[:-1, 0])
        assert not along.any()
        assert lat.max() < 90
    drawn = sum(len(line) - 1 for line in coasts(detail))
    edges = sum(len(ring) - 1 for polygon in land(detail) for ring in polygon.rings)
    assert 72 <= edges - drawn < 100  # the South Pole in steps of five degrees, and some cuts


def test_land_share_is_that_of_another_source():
    globe = pytest.importorskip("global_land_mask").globe
    lon, lat = np.meshgrid(np.arange(-179.5, 180), np.arange(-89.5, 90))
    ours = on_land(np.stack([lon.ravel(), lat.ravel()], axis=1)).reshape(lon.shape)
    theirs = globe.is_land(lat, lon)
    area = np.cos(np.deg2rad(lat))
    assert (ours * area).sum() / area.sum() == pytest.approx(0.289, abs=0.004)
    assert (area * (ours != theirs)).sum() / area.sum() < 0.006


@pytest.mark.parametrize("detail", Detail)
def test_borders_are_on_land(detail):
    lines = borders(detail)
    assert len(lines) > 300
    middles = np.array([line[len(line) // 2] for line in lines])
    assert on_land(middles, detail).mean() > 0.9
    rhine = np.concatenate(lines)
    assert np.abs(rhine - [8.1, 48.9]).sum(axis=1).min() < 0.3  # France and Germany


@pytest.mark.parametrize("detail", Detail)
def test_geojson_holds_the_same(detail):
    whole = json.loads(land_geojson(detail))
    kinds = {f["properties"]["kind"]: f["geometry"] for f in whole["features"]}
    assert list(kinds) == ["land", "coast", "border"]
    shapely = pytest.importorskip("shapely")
    shape = shapely.geometry.shape(kinds["land"])
    assert shape.is_valid
    assert len(shape.geoms) == len(land(detail))
    assert len(kinds["coast"]["coordinates"]) == len(coasts(detail))
    assert len(kinds["border"]["coordinates"]) == len(borders(detail))
