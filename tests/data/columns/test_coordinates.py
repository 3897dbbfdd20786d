import numpy as np
import pyarrow as pa
import pytest

from geocsp.data.columns.coordinates import Geometry, LonLat, Pair, image_column, place_columns
from geocsp.data.options import Columns
from geocsp.errors import DataError


def placed(*names, crs=None):
    return place_columns(names, Columns().resolve(names, "a.csv"), crs, "a.csv")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("lon", "lat", "geometry", "latlon"), LonLat("lon", "lat")),
        (("lon", "lat_lon"), Pair("lat_lon", latitude_first=True)),
        (("LngLat", "geometry"), Pair("LngLat", latitude_first=False)),
        (("the_geom", "WKT"), Geometry("WKT")),
        (("lat", "Geometry"), Geometry("Geometry")),
    ],
)
def test_two_columns_come_before_a_pair_and_a_pair_before_geometries(names, wanted):
    assert placed(*names) == wanted


def test_the_crs_goes_with_the_columns():
    assert placed("x", "y", crs="EPSG:3035") == LonLat("x", "y", "EPSG:3035")
    assert placed("latlon", "geom", crs="EPSG:3035") == Geometry("geom", "EPSG:3035")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("image", "lat"), "a.csv has no column lon; its columns are image, lat; name them with "
         "columns=Columns(lon=..., lat=...), on the command line --lon-column and --lat-column"),
        (("lon",), "a.csv has no column lat; its columns are lon; name them with "
         "columns=Columns(lon=..., lat=...), on the command line --lon-column and --lat-column"),
        (("image", "location"), "a.csv has no column lon; its columns are image, location; if "
         "'location' is pairs of numbers, name it latlon or lonlat, as their order is"),
        (("a.jpg", "1.5", "2"), "a.csv has no column lon; its columns are a.jpg, 1.5, 2; the first "
         "line must name the columns"),
    ],
)  # fmt: skip
def test_what_is_missing_is_told_with_what_to_do(names, message):
    with pytest.raises(DataError) as error:
        placed(*names)
    assert str(error.value) == message


def test_no_image_is_told_with_what_to_do():
    with pytest.raises(DataError) as error:
        image_column({}, ["lon", "lat"], "a.csv")
    assert str(error.value) == (
        "a.csv has no column image; its columns are lon, lat; name it with "
        "columns=Columns(image=...), on the command line --image-column"
    )


def test_cells_that_are_no_numbers_make_their_row_a_row_without_a_place():
    block = {"x": pa.array(["1", "east", "3", ""]), "y": pa.array(["4", "north", "5 m", "6"])}
    found = LonLat("x", "y").read(block)
    np.testing.assert_array_equal(found.lonlat, [[1, 4], [np.nan] * 2, [np.nan] * 2, [np.nan, 6]])
    assert found.unreadable == {
        1: "x 'east' is not a number; y 'north' is not a number",
        2: "y '5 m' is not a number",
    }
    assert found.notes == ()


def test_decimal_commas_are_told():
    found = LonLat("x", "y").read({"x": pa.array(["1,5"]), "y": pa.array(["2"])})
    assert found.lonlat.tolist() == [[1.5, 2]]
    assert found.notes == ("decimal commas in column 'x' are read as decimal points",)
    metres = LonLat("x", "y", "EPSG:32632")
    found = metres.read({"x": pa.array(["500,123"]), "y": pa.array(["2"])})
    assert found.unreadable == {0: "x '500,123' is not a number"}


def test_metres_become_degrees():
    block = {"x": pa.array([5e5, 1e15, None]), "y": pa.array([0.0, 1e15, 0])}
    found = LonLat("x", "y", "EPSG:32632").read(block)
    assert found.lonlat[0] == pytest.approx([9, 0])
    assert np.isnan(found.lonlat[1]).all()
    assert np.isnan(found.lonlat[2, 0])
    assert found.unreadable == {1: "x 1e+15, y 1e+15 cannot be converted to degrees"}


@pytest.mark.parametrize(
    "text", ["48.9,2.4", "(48.9, 2.4)", "48.9 2.4", "[48.9; +2.4]", "4.89e1,2.4"]
)
def test_pairs_are_read_in_their_order(text):
    assert Pair("p", True).read({"p": pa.array([text])}).lonlat.tolist() == [[2.4, 48.9]]
    assert Pair("p", False).read({"p": pa.array([text])}).lonlat.tolist() == [[48.9, 2.4]]


def test_what_is_no_pair_is_told():
    cells = ["1", "1,2,3", "north, east", "1,-", "", None, " "]
    found = Pair("p", True).read({"p": pa.array(cells)})
    assert np.isnan(found.lonlat).all()
    assert found.unreadable == {row: f"p {cells[row]!r} is not two numbers" for row in range(4)}
    with pytest.raises(DataError, match="column 'p' holds double, not texts of two numbers"):
        Pair("p", True).read({"p": pa.array([1.5])})


def test_the_order_of_pairs_is_told():
    assert Pair("p", True).notes == ["column 'p' is taken as latitude first"]
    assert LonLat("x", "y").notes == Geometry("g").notes == []
