import json

import numpy as np
import pytest
import torch

from geocsp.errors import DataError
from geocsp.maps.contours import default_levels, polygons, write_polygons
from geocsp.maps.grid import Grid
from geocsp.maps.quantities import Colours, Quantity, Scale
from geocsp.maps.raster import Raster

geopandas = pytest.importorskip("geopandas")
shapely = pytest.importorskip("shapely")
pytest.importorskip("rasterio")


def computed(function, grid, names=(), **how):
    scale = Scale.NAMES if names else Scale.MORE
    quantity = Quantity(
        "field",
        scale,
        (-1e9, 1e9),
        torch.device("cpu"),
        lambda places, time: function(places[:, 0], places[:, 1]),
        names=names,
    )
    return Raster.compute(quantity, grid, **how)


def cone(lon, lat):
    return 10 - (lon**2 + lat**2).sqrt()


SQUARE = Grid.of(0.1, (-10, -10, 10, 10))


def test_contours_of_a_cone_are_circles():
    frame = polygons(computed(cone, SQUARE), [2, 5, 8])
    assert frame["level"].tolist() == [2, 5, 8]
    assert frame["quantity"].unique().tolist() == ["field"]
    assert frame.crs.to_epsg() == 4326
    for level, area in zip(frame["level"], frame.geometry, strict=True):
        assert area.is_valid
        assert area.area == pytest.approx(np.pi * (10 - level) ** 2, rel=0.002)
        distance = np.linalg.norm(shapely.get_coordinates(area), axis=1)
        np.testing.assert_allclose(distance, 10 - level, atol=0.002)


def test_a_hole_stays_a_hole():
    ring = polygons(computed(lambda x, y: -((x**2 + y**2).sqrt() - 5).abs(), SQUARE), [-1])
    assert ring.geometry[0].area == pytest.approx(np.pi * (36 - 16), rel=0.005)
    assert not ring.geometry[0].contains(shapely.Point(0, 0))


def test_contours_reach_the_edge_of_the_window():
    whole = polygons(computed(lambda x, y: 0 * x + 1, SQUARE), [0.5]).geometry[0]
    assert whole.equals(shapely.box(-10, -10, 10, 10))
    half = polygons(computed(lambda x, y: x, SQUARE), [0]).geometry[0]
    assert half.bounds == pytest.approx((0, -10, 10, 10))


def test_higher_levels_lie_in_lower_ones():
    generator = np.random.default_rng(0)
    waves = torch.from_numpy(generator.normal(size=(6, 2)))

    def rough(x, y):
        return sum((wave[0] * x + wave[1] * y).sin() for wave in waves)

    frame = polygons(computed(rough, SQUARE))
    assert len(frame) >= 4
    assert frame.geometry.is_valid.all()
    for low, high in zip(frame.geometry, frame.geometry[1:], strict=False):
        assert high.difference(low).area < 1e-4


def test_over_the_antimeridian_polygons_are_cut():
    grid = Grid.of(0.25, (170, -10, -170, 10))

    def around(lon, lat):
        return cone((lon % 360) - 180, lat)

    area = polygons(computed(around, grid), [5]).geometry[0]
    assert area.is_valid
    assert area.bounds == pytest.approx((-180, -5, 180, 5), abs=0.02)
    assert area.area == pytest.approx(np.pi * 25, rel=0.005)
    assert area.contains(shapely.Point(-177, 0))
    assert area.contains(shapely.Point(177, 0))
    assert not area.contains(shapely.Point(0, 0))


def test_the_globe_has_no_seam():
    area = polygons(computed(lambda x, y: torch.deg2rad(x).cos() * -1, Grid.of(2.0)), [0]).geometry[
        0
    ]
    assert area.area == pytest.approx(180 * 180, rel=1e-3)
    edges = [part.bounds for part in area.geoms]
    assert min(b[0] for b in edges) == -180
    assert max(b[2] for b in edges) == 180


def test_cells_that_are_left_out_are_in_no_polygon():
    grid = Grid.of(0.5, (165, -48, 180, -33))
    raster = computed(lambda x, y: 0 * x + 1, grid, land_only=True)
    area = polygons(raster, [0.5]).geometry[0]
    assert area.area == pytest.approx(0.25 * raster.shown.sum())
    assert area.contains(shapely.Point(172.25, -43.25))
    empty = computed(lambda x, y: x, Grid.of(1, (-150, -10, -140, -5)), land_only=True)
    assert len(polygons(empty, [0.5])) == 0
    assert default_levels(empty) == ()


def test_classes_are_their_cells():
    grid = Grid.of(1.0, (170, 0, -170, 10))
    names = ("west", "nowhere", "east")
    raster = computed(lambda x, y: torch.where(x < 0, 2, 0), grid, names)
    frame = polygons(raster)
    assert frame["class"].tolist() == ["west", "east"]
    assert frame.geometry[0].equals(shapely.box(170, 0, 180, 10))
    assert frame.geometry[1].equals(shapely.box(-180, 0, -170, 10))


def test_default_levels_are_round_and_reached():
    raster = computed(lambda x, y: 0.37 * (x + 10) / 20, SQUARE)
    levels = default_levels(raster)
    assert 3 <= len(levels) <= 7
    assert all(0 < level < 0.37 for level in levels)
    assert all(round(level, 2) == level for level in levels)
    assert polygons(raster)["level"].tolist() == list(levels)


def test_levels_that_nothing_reaches_make_no_polygon(tmp_path):
    raster = computed(cone, SQUARE)
    assert write_polygons(raster, tmp_path / "none.geojson", [99]) == 0
    assert json.loads((tmp_path / "none.geojson").read_text())["features"] == []
    assert write_polygons(raster, tmp_path / "none.gpkg", [99]) == 0
    assert len(geopandas.read_file(tmp_path / "none.gpkg")) == 0


@pytest.mark.parametrize("name", ["map.geojson", "map.gpkg"])
def test_files_hold_polygons_and_settings(tmp_path, name):
    raster = computed(cone, SQUARE, settings={"model": "x", "fingerprint": "f"})
    assert write_polygons(raster, tmp_path / name, [5, 2]) == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]
    frame = geopandas.read_file(tmp_path / name)
    assert frame["level"].tolist() == [2, 5]
    assert frame.crs.to_epsg() == 4326
    assert frame.geometry.is_valid.all()
    expected = polygons(raster, [2, 5])
    assert frame.geometry.geom_equals_exact(expected.geometry, 1e-9).all()
    if name.endswith("gpkg"):
        pyogrio = pytest.importorskip("pyogrio")
        text = pyogrio.read_info(tmp_path / name)["dataset_metadata"]["geocsp"]
        settings = json.loads(text)
    else:
        settings = json.loads((tmp_path / name).read_text())["geocsp"]
    assert settings["fingerprint"] == "f"
    assert settings["levels"] == [2, 5]


def test_what_has_no_contours_says_so(tmp_path):
    raster = computed(cone, SQUARE)
    with pytest.raises(DataError, match="levels must be numbers"):
        polygons(raster, [float("nan")])
    with pytest.raises(DataError, match=r"\.geojson or \.gpkg"):
        write_polygons(raster, tmp_path / "map.shp")
    colours = Raster(SQUARE, Colours("c", None, None), raster.values, raster.shown, {})
    with pytest.raises(DataError, match="colours have no contours"):
        polygons(colours)
