import sys

import numpy as np
import pyarrow as pa
import pytest
import shapely

from geocsp.data.columns.geometries import points_of
from geocsp.errors import DataError, MissingExtraError

SHAPES = [shapely.Point(9, 45), None, shapely.box(0, 10, 2, 20), shapely.Point()]
WANTED = np.array([[9, 45], [np.nan, np.nan], [1, 15], [np.nan, np.nan]])
DAMAGED = "the geometry is damaged or a curve"
WHY = {1: "no geometry", 3: "the geometry is empty"}


@pytest.mark.parametrize(
    "column",
    [
        pa.array(shapely.to_wkb(SHAPES)),
        pa.array(shapely.to_wkb(SHAPES), pa.large_binary()),
        pa.array(shapely.to_wkb(SHAPES, hex=True)),
        pa.array(shapely.to_wkt(SHAPES)),
        pa.array([f"SRID=4326;{text}" if text else " " for text in shapely.to_wkt(SHAPES)]),
    ],
)
def test_points_and_centroids_of_any_spelling(column):
    lonlat, why = points_of(column, "geom", None)
    np.testing.assert_array_equal(lonlat, WANTED)
    assert why == WHY


def test_geoarrow_points_need_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "shapely", None)
    struct = pa.array([{"x": 9.0, "y": 45.0}, None])
    listed = pa.array([[9.0, 45.0], None], pa.list_(pa.float64(), 2))
    for column in (struct, listed):
        lonlat, why = points_of(column, "geom", None)
        np.testing.assert_array_equal(lonlat, WANTED[:2])
        assert why == {1: "no geometry"}


@pytest.mark.parametrize(
    "cells", [[b"\x01\x01\x00", b"", b"\xff" * 21], ["POINT (1", "POLYGON", "hello", "00FF" * 12]]
)
def test_damaged_geometries_are_told_by_row(cells):
    lonlat, why = points_of(pa.array([*cells, None]), "geom", None)
    assert np.isnan(lonlat).all()
    assert set(why.values()) <= {DAMAGED, "no geometry"}
    assert [why[row] for row in range(len(cells))] == [DAMAGED] * len(cells)


def test_curves_are_left_out_and_the_others_read():
    curve = b"\x01\x08\x00\x00\x00\x03\x00\x00\x00" + np.arange(6.0).tobytes()
    lonlat, why = points_of(pa.array([shapely.to_wkb(SHAPES[0]), curve]), "geom", None)
    assert lonlat[0].tolist() == [9, 45]
    assert why == {1: DAMAGED}


@pytest.mark.filterwarnings("error")
def test_infinite_corners_give_no_warning():
    texts = ["POLYGON ((0 0, inf 1, 1 1, 0 0))", "POLYGON ((-190 0, 190 0, 1e300 1, -190 0))"]
    lonlat, _ = points_of(pa.array(texts), "geom", None)
    assert not np.isfinite(lonlat[0]).all()


def test_metres_become_degrees():
    column = pa.array(["POINT (500000 0)", "POINT (1e15 1e15)", None])
    lonlat, why = points_of(column, "geom", "EPSG:32632")
    assert lonlat[0] == pytest.approx([9, 0], abs=1e-9)
    assert np.isnan(lonlat[1:]).all()
    assert why == {1: "x 1e+15, y 1e+15 cannot be converted to degrees", 2: "no geometry"}


def test_shapes_across_the_antimeridian_have_their_centre_there():
    halves = shapely.MultiPolygon(
        [shapely.box(178, -18, 180, -16), shapely.box(-180, -18, -179, -16)]
    )
    lonlat, _ = points_of(pa.array([halves.wkt]), "geom", None)
    assert lonlat.tolist() == [[179.5, -17.0]]
    # The same numbers in metres are no such thing.
    lonlat, _ = points_of(pa.array([halves.wkt]), "geom", "EPSG:3857")
    assert lonlat[0, 0] == pytest.approx((2 * 179 - 179.5) / 3 / 111_319.49, abs=1e-6)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.5]),
        pa.array([{"lon": 1.0}]),
        pa.array([[1.0]]),
        pa.array([{"x": "a", "y": "b"}]),
    ],
)
def test_columns_of_something_else_are_refused(column):
    with pytest.raises(DataError, match=r"column 'geom' holds .*, not geometries"):
        points_of(column, "geom", None)


def test_shapes_need_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "shapely", None)
    with pytest.raises(MissingExtraError, match=r"shapely is not installed.*geocsp\[geo\]"):
        points_of(pa.array(["POINT (1 2)"]), "geom", None)
