import numpy as np
import pytest

from geocsp.data.columns.projections import is_geographic, to_degrees
from geocsp.errors import DataError, MissingExtraError


@pytest.mark.parametrize("crs", [None, "EPSG:4326", "epsg:4326", "OGC:CRS84", "WGS84"])
def test_degrees_stay_as_they_are_without_any_library(crs, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyproj", None)
    xy = np.array([[8.5, 50.0]])
    assert to_degrees(xy, crs) is xy
    assert is_geographic(crs)


def test_metres_become_degrees_longitude_first():
    # The central meridian of UTM zone 32 is 9 degrees east; its false easting is 500 km.
    lonlat = to_degrees(np.array([[500_000.0, 0.0], [500_000.0, 5_000_000.0]]), "EPSG:32632")
    assert lonlat == pytest.approx(np.array([[9.0, 0.0], [9.0, 45.153477]]), abs=1e-6)
    assert not is_geographic("EPSG:32632")


def test_axes_that_are_latitude_first_do_not_matter():
    # ETRS89 says latitude first; what is given is longitude first always.
    lonlat = to_degrees(np.array([[8.5, 50.0]]), "EPSG:4258")
    assert lonlat == pytest.approx(np.array([[8.5, 50.0]]), abs=1e-5)
    assert is_geographic("EPSG:4258")


def test_what_is_not_in_the_projection_is_not_finite():
    assert not np.isfinite(to_degrees(np.array([[1e12, 1e12]]), "EPSG:32632")).all()


@pytest.mark.parametrize("crs", ["EPSG:0", "nonsense", "EPSG:99999", "{}", "+proj=none"])
def test_an_unknown_crs_is_told(crs):
    with pytest.raises(DataError, match="is no coordinate reference system with a way to degrees"):
        to_degrees(np.zeros((1, 2)), crs)


def test_another_crs_needs_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyproj", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'geocsp\[geo\]'"):
        to_degrees(np.zeros((1, 2)), "EPSG:3035")
