import sys
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from geocsp.errors import MissingExtraError
from geocsp.maps import coast, coverage, natural_earth
from geocsp.maps.coast import Detail, shores
from geocsp.maps.coverage import (
    counts_in,
    coverage_figure,
    degrees_text,
    window_of,
    write_coverage,
)
from geocsp.maps.natural_earth import land

PARIS = np.array([[2.35, 48.86]])


def cluster(lon, lat, spread, count=300):
    generator = np.random.default_rng(0)
    points = generator.normal([lon, lat], [spread, spread / 2], (count, 2))
    points[:, 0] = (points[:, 0] + 180) % 360 - 180
    points[:, 1] = points[:, 1].clip(-90, 90)
    return points


CASES = {
    "world": cluster(0, 0, 50),
    "city": cluster(2.35, 48.86, 0.05),
    "point": PARIS,
    "antimeridian": cluster(180, -17, 1),
    "pole": np.array([[0.0, 90.0], [10.0, 90.0]]),
    "meridian": np.array([[30.0, -89.0], [30.0, 89.0]]),
    "parallel": np.array([[-60.0, 5.0], [60.0, 5.0]]),
    "edge": np.array([[180.0, 90.0], [-180.0, -90.0]]),
}


@pytest.mark.parametrize("lonlat", CASES.values(), ids=CASES)
def test_every_place_is_in_a_cell_of_the_window(lonlat):
    window = window_of(lonlat)
    counts, rows, columns = counts_in(lonlat, window)
    assert counts.sum() == len(lonlat)
    assert max(counts.shape) <= 182
    assert -90 <= window.extent.south < window.extent.north <= 90
    assert 0.5 <= window.aspect <= 4
    assert (np.diff(rows) > 0).all()
    assert (np.diff(columns) > 0).all()


@pytest.mark.parametrize("lonlat", CASES.values(), ids=CASES)
def test_every_case_makes_a_picture(tmp_path, lonlat):
    with_unknown = np.concatenate([lonlat, [[np.nan, np.nan]]])
    path = write_coverage(with_unknown, tmp_path / "map.png", "places")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert 700 < image.width < 4000
        assert image.height > 600
    assert [file.name for file in tmp_path.iterdir()] == ["map.png"]


def test_a_cell_counts_the_places_in_it():
    lonlat = np.array([[0.5, 0.5], [1.9, 1.9], [2.1, 0.5], [-179, 0.1], [179, 0.1], [-90, -45]])
    window = window_of(lonlat)
    counts, rows, columns = counts_in(lonlat, window)
    assert window.is_world
    assert window.cell == (2.0, 2.0)
    row, column = np.argwhere(counts == 2)[0]
    assert (columns[column], rows[row]) == (0, 0)


def test_a_window_over_the_antimeridian_is_narrow():
    window = window_of(np.array([[179.0, -17.0], [-179.0, -16.0]]))
    assert window.extent.west == pytest.approx(180 - 1.12, abs=0.01)
    assert window.extent.east == pytest.approx(180 + 1.12, abs=0.01)
    counts, _, columns = counts_in(np.array([[179.0, -17.0], [-179.0, -16.0]]), window)
    filled = columns[np.flatnonzero(counts.sum(axis=0))]
    assert filled[0] == pytest.approx(179.0)
    assert filled[1] == pytest.approx(181.0)


def test_a_single_place_has_a_window_of_ten_kilometres():
    window = window_of(PARIS)
    assert window.extent.north - window.extent.south == pytest.approx(0.1)
    assert window.aspect == pytest.approx(1)
    assert not window.is_world


def test_cells_are_about_square_on_the_map():
    wide, high = window_of(cluster(16, 78, 1)).cell
    assert 0.5 < wide * np.cos(np.deg2rad(78)) / high < 2.5


def test_the_same_places_make_the_same_bytes(tmp_path):
    first = write_coverage(PARIS, tmp_path / "a.png", "x").read_bytes()
    assert write_coverage(PARIS, tmp_path / "b.png", "x").read_bytes() == first


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_title_number_and_cells_are_on_the_map():
    assert texts(coverage_figure(PARIS, "photos")) == [
        "photos",
        "1 image, cells of 0.002° × 0.001°",
    ]
    assert texts(coverage_figure(CASES["world"], "$x^2$ photos"))[1].startswith("300 images")


def test_a_title_may_be_any_text(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_coverage(PARIS, tmp_path / "map.png", "a$b_{$ c\\frac \x00\x1b 写真")


@pytest.mark.parametrize(
    ("value", "sides", "text"),
    [
        (12.5, "EW", "12.5° E"),
        (-0.25, "EW", "0.25° W"),
        (0.0, "NS", "0°"),
        (-1e-12, "NS", "0°"),
        (-180.0, "EW", "180°"),
        (-45, "NS", "45° S"),
        (np.float64(2.3000000001), "EW", "2.3° E"),
    ],
)
def test_angles_have_a_side(value, sides, text):
    assert degrees_text(value, sides) == text


def test_land_is_where_it_is():
    window = (-10.0, 35.0, 5.0, 45.0)
    land = [shore.points for shore in shores(Detail.CRUDE, *window) if shore.is_land]
    from matplotlib.path import Path as Outline

    def inside(lon, lat):
        return any(Outline(points).contains_point((lon, lat)) for points in land)

    assert inside(-3.7, 40.4)  # Madrid
    assert not inside(-9.9, 44.5)  # the Atlantic
    assert not inside(4.0, 38.5)  # the Mediterranean


def test_land_is_repeated_beyond_the_antimeridian():
    beyond = [s.points for s in shores(Detail.CRUDE, 175.0, 60.0, 200.0, 72.0) if s.is_land]
    assert max(points[:, 0].max() for points in beyond) > 200  # Alaska
    assert min(points[:, 0].min() for points in beyond) < 175  # Siberia


def test_without_the_package_natural_earth_is_drawn(tmp_path, monkeypatch):
    with_package = list(shores(Detail.CRUDE, *(-180.0, -90.0, 180.0, 90.0)))
    monkeypatch.setattr(coast, "_file", lambda name: coast.PackagedFile("no-such-package", name))
    found = list(shores(Detail.CRUDE, *(-180.0, -90.0, 180.0, 90.0)))
    assert len(found) != len(with_package)
    expected = [ring for polygon in land(natural_earth.Detail.LOW) for ring in polygon.rings]
    drawn = [shore.points.tolist() for shore in found]
    assert all(ring.tolist() in drawn for ring in expected)
    assert any(not shore.is_land for shore in found)  # the Caspian Sea
    assert write_coverage(PARIS, tmp_path / "map.png", "x").stat().st_size > 10_000


def test_a_window_without_land_has_no_shores(monkeypatch):
    nowhere = (-25.0, -1.0, -24.5, -0.5)
    assert list(shores(Detail.INTERMEDIATE, *nowhere)) == []
    monkeypatch.setattr(coast, "_file", lambda name: coast.PackagedFile("no-such-package", name))
    assert list(shores(Detail.INTERMEDIATE, *nowhere)) == []


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"geocsp\[demo\]"):
        write_coverage(PARIS, tmp_path / "map.png", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_picture(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(coverage, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        write_coverage(PARIS, tmp_path / "map.png", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_place_is_drawn_where_it_is(tmp_path):
    figure = coverage_figure(np.array([[-100.0, 40.0], [100.0, -40.0]]), "x")
    mesh = next(c for c in figure.axes[0].collections if type(c).__name__ == "QuadMesh")
    filled = np.argwhere(~np.ma.getmaskarray(mesh.get_array()))
    corners = [mesh.get_coordinates()[row, column].tolist() for row, column in filled]
    assert sorted(corners) == [[-100.0, 40.0], [100.0, -40.0]]
    buffer = BytesIO()
    figure.savefig(buffer)
    assert buffer.getvalue()
