import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from geocsp.data.audit.coordinates import Extent
from geocsp.maps import coast
from geocsp.maps.coast import Detail
from geocsp.maps.land import LandStyle, draw_land

STYLE = LandStyle("#dddddd", water="#0000ff")
EUROPE = Extent(-10.0, 36.0, 30.0, 70.0)
WORLD = Extent(-180.0, -90.0, 180.0, 90.0)


def drawn(extent, style=STYLE, scale=1.0):
    """Land and lakes on new axes."""
    axes = Figure().add_subplot()
    draw_land(axes, extent, style, scale)
    return axes.collections


def holds(shapes, lon, lat):
    return any(path.contains_point((lon, lat)) for path in shapes.get_paths())


def test_land_is_under_lakes_and_both_are_where_they_are():
    land, lakes = drawn(EUROPE)
    assert land.get_zorder() < lakes.get_zorder() < 1
    assert [to_hex(shapes.get_facecolor()[0]) for shapes in (land, lakes)] == ["#dddddd", "#0000ff"]
    assert holds(land, 2.35, 48.86)
    assert not holds(land, -5.0, 48.0)
    assert holds(lakes, 13.3, 58.9)  # Vänern
    assert not holds(lakes, 2.35, 48.86)


def test_shores_have_the_colour_of_what_they_surround_or_their_own():
    for shapes in drawn(EUROPE):
        np.testing.assert_array_equal(shapes.get_edgecolor(), shapes.get_facecolor())
    for shapes in drawn(EUROPE, LandStyle("#dddddd", "#0000ff", shore="#123456")):
        assert to_hex(shapes.get_edgecolor()[0]) == "#123456"


def test_what_is_small_is_left_out():
    whole = drawn(EUROPE)
    largest = drawn(EUROPE, LandStyle("#dddddd", "#0000ff", smallest=0.1))
    for all_of_them, some in zip(whole, largest, strict=True):
        spans = [np.ptp(path.vertices, axis=0).max() for path in all_of_them.get_paths()]
        assert min(spans) < 4.0
        assert len(some.get_paths()) == sum(span > 4.0 for span in spans)
    assert holds(largest[0], 2.35, 48.86)
    assert not holds(largest[0], 14.4, 35.9)  # Malta
    assert holds(drawn(Extent(10.0, 34.0, 20.0, 40.0))[0], 14.4, 35.9)


def test_axes_may_be_in_other_units():
    land, _ = drawn(WORLD, scale=np.pi / 180)
    assert holds(land, *np.deg2rad([2.35, 48.86]))
    assert max(np.abs(path.vertices).max() for path in land.get_paths()) < 10


def test_a_window_over_the_antimeridian_has_land_on_both_sides():
    land, _ = drawn(Extent(165.0, -48.0, 195.0, -10.0))
    assert holds(land, 175.6, -39.0)  # New Zealand
    assert holds(land, 180.0, -16.5) or holds(land, 178.0, -17.8)  # Fiji


@pytest.mark.parametrize(
    ("extent", "detail"),
    [
        (WORLD, Detail.CRUDE),
        (EUROPE, Detail.LOW),
        (Extent(0.0, 45.0, 10.0, 50.0), Detail.INTERMEDIATE),
    ],
)
def test_lines_are_as_fine_as_the_window_is_small(extent, detail):
    window = (extent.west, extent.south, extent.east, extent.north)
    expected = sum(len(shore.points) for shore in coast.shores(detail, *window))
    shown = sum(len(path.vertices) - 1 for part in drawn(extent) for path in part.get_paths())
    assert shown == expected


def test_without_the_package_there_is_land_but_no_lake(monkeypatch):
    def absent(name):
        return coast.PackagedFile("no-such-package", name)

    monkeypatch.setattr(coast, "_file", absent)
    land, lakes = drawn(EUROPE)
    assert holds(land, 2.35, 48.86)
    assert not holds(land, -5.0, 48.0)
    assert len(lakes.get_paths()) == 0
    _, seas = drawn(Extent(40.0, 30.0, 60.0, 50.0))
    assert holds(seas, 51.0, 42.0)  # the Caspian Sea
