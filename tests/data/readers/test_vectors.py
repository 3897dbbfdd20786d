import json
import sys
from datetime import date

import fsspec
import geopandas
import numpy as np
import pandas
import pytest
import shapely

from geocsp.data.options import Columns, ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.vectors import read_vectors
from geocsp.errors import DataError, MissingExtraError

POINT = {"type": "Point", "coordinates": [9.0, 45.0]}


def read(source, **options):
    return read_vectors(str(source), ReadOptions(**options))


def frame(crs="EPSG:32632", shapes=None):
    return geopandas.GeoDataFrame(
        {
            "image": ["a.jpg", "b.jpg", "c.jpg"],
            "species": ["x", None, "y"],
            "date": pandas.to_datetime(["2020-01-01T12:00Z", None, "2020-07-01T00:00Z"]),
            "count": [1, 2, 3],
        },
        geometry=shapes or [shapely.Point(500_000, 0), shapely.box(499_000, -9, 501_000, 9), None],
        crs=crs,
    )


def feature(geometry, **properties):
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def geojson(tmp_path, *features, name="a.geojson", **others):
    path = tmp_path / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features} | others))
    return path


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.fgb", "a.GeoJSONL"])
def test_points_and_shapes_of_any_file_become_degrees(tmp_path, name):
    path = tmp_path / name
    settings = {"SPATIAL_INDEX": "NO"} if name == "a.fgb" else {}
    given = frame() if name in ("a.gpkg", "a.fgb") else frame().to_crs("EPSG:4326")
    driver = "GeoJSONSeq" if name == "a.GeoJSONL" else None
    given.to_file(path, driver=driver, **settings)
    table = read(path)
    assert table.lonlat == pytest.approx(np.array([[9.0, 0], [9.0, 0]]), abs=1e-6)
    assert table.images.path(0) == str(tmp_path / "a.jpg")
    assert table.class_names == ("x",)
    assert table.labels.tolist() == [0, -1]
    assert table.time[0, 1] == pytest.approx(12.6, abs=1e-6)
    assert np.isnan(table.time[1]).all()
    assert table.problems == (Problem(str(path), 2, "no geometry"),)
    assert table.notes == (
        "column 'date' is taken as time",
        "column 'species' is taken as label",
    )


def test_shapefiles_with_and_without_a_stated_crs(tmp_path):
    given = frame(shapes=[shapely.Point(500_000, 0), None, shapely.Point(600_000, 0)])
    given.drop(columns="date").to_file(tmp_path / "a.shp")
    table = read(tmp_path / "a.shp")
    assert table.lonlat[0] == pytest.approx([9, 0], abs=1e-9)
    assert [problem.row for problem in table.problems] == [1]
    (tmp_path / "a.prj").unlink()
    table = read(tmp_path / "a.shp")
    assert len(table) == 0
    assert "if these are metres, name their crs" in table.problems[0].reason
    assert table.notes[-1] == (
        "the file states no coordinate reference system; its coordinates are taken as degrees"
    )
    table = read(tmp_path / "a.shp", crs="EPSG:32632")
    assert table.lonlat[0] == pytest.approx([9, 0], abs=1e-9)


def test_text_that_is_not_utf8_is_told(tmp_path):
    given = geopandas.GeoDataFrame({"image": ["ä.jpg"]}, geometry=[shapely.Point(1, 1)], crs=4326)
    given.to_file(tmp_path / "a.shp", encoding="ISO-8859-1")
    assert read(tmp_path / "a.shp").images.names.to_pylist() == ["ä.jpg"]
    (tmp_path / "a.cpg").unlink()
    with pytest.raises(DataError, match=r"its text is not UTF-8; a \.cpg file beside a shapefile"):
        read(tmp_path / "a.shp")


def test_a_layer_of_several_has_to_be_named(tmp_path):
    path = tmp_path / "a.gpkg"
    frame().to_file(path, layer="trees")
    frame().iloc[:1].to_file(path, layer="birds")
    with pytest.raises(DataError, match=r"a\.gpkg has 2 layers; name one of trees, birds as layer"):
        read(path)
    with pytest.raises(DataError, match="has no layer 'cats'; its layers are trees, birds"):
        read(path, layer="cats")
    assert len(read(path, layer="birds")) == 1


def test_odd_features_are_told_by_row_and_the_others_read(tmp_path):
    path = geojson(
        tmp_path,
        feature(POINT, image="a.jpg", lon=1, lat=1),
        feature({"type": "Point", "coordinates": ["x", 1]}, image="b.jpg"),
        feature({"type": "Point", "coordinates": [9.0, 145.0]}, image="c.jpg"),
        feature({"type": "Polygon", "coordinates": []}, image="d.jpg"),
        feature(POINT, image=None),
        feature(POINT, image="f.jpg", when=date(2020, 1, 1).isoformat()),
    )
    table = read(path)
    assert table.images.names.to_pylist() == ["a.jpg", "f.jpg"]
    assert table.lonlat.tolist() == [[9, 45]] * 2
    reasons = {problem.row: problem.reason for problem in table.problems}
    assert reasons == {
        1: "no geometry",
        2: "latitude 145 is outside [-90, 90] degrees; are longitude and latitude swapped?",
        3: "the geometry is empty",
        4: "names no image",
    }


def test_the_old_way_to_state_a_crs_in_geojson(tmp_path):
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    point = {"type": "Point", "coordinates": [500_000, 0]}
    table = read(geojson(tmp_path, feature(point, image="a.jpg"), crs=crs))
    assert table.lonlat == pytest.approx(np.array([[9.0, 0.0]]), abs=1e-9)


def test_columns_that_are_named_are_the_places(tmp_path):
    path = geojson(tmp_path, feature(POINT, image="a.jpg", lon=1.5, lat=2.5))
    assert read(path, columns=Columns(lon="lon", lat="lat")).lonlat.tolist() == [[1.5, 2.5]]
    assert read(path).lonlat.tolist() == [[9, 45]]


def test_layers_without_geometries_are_tables(tmp_path):
    path = tmp_path / "a.gpkg"
    pandas_frame = pandas.DataFrame({"image": ["a.jpg"], "lon": [1.5], "lat": [2.5]})
    __import__("pyogrio").write_dataframe(pandas_frame, path)
    assert read(path).lonlat.tolist() == [[1.5, 2.5]]


def test_a_map_for_google_earth(tmp_path):
    (tmp_path / "a.kml").write_text(
        '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark>'
        "<name>a.jpg</name><Point><coordinates>9,45</coordinates></Point></Placemark></Document></kml>"
    )
    table = read(tmp_path / "a.kml", columns=Columns(image="Name"))
    assert table.lonlat.tolist() == [[9, 45]]


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg"])
def test_files_on_other_file_systems(tmp_path, name):
    frame().to_crs("EPSG:4326").to_file(tmp_path / name)
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/vectors-test/{name}", (tmp_path / name).read_bytes())
    table = read(f"memory://vectors-test/{name}")
    assert table.lonlat == pytest.approx(np.array([[9.0, 0], [9.0, 0]]), abs=1e-6)
    assert table.images.path(0) == "memory://vectors-test/a.jpg"
    memory.pipe("/vectors-test/a.shp", b"\0\0\x27\x0a")
    with pytest.raises(DataError, match="a shapefile is several files; copy them"):
        read("memory://vectors-test/a.shp")
    memory.rm("/vectors-test", recursive=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.json",
            "[1, 2]",
            r"a\.json does not begin as GeoJSON does; is it another kind of file\?",
        ),
        (
            "a.json",
            '{"images": [], "annotations": []}',
            r"a\.json cannot be read: .*not recognized",
        ),
        ("a.json", "", "does not begin as GeoJSON does"),
        ("a.geojson", '{"type": "FeatureCollection", "features": [{', "cannot be read: "),
        ("a.gpkg", "SQLite format 3\0", "cannot be read: "),
        ("a.gpkg", "PK", r"does not begin as \.gpkg does"),
        ("a.fgb", "fgb\x03fgb\x00", r"a\.fgb has no layers"),
        ("a.fgb", "{}", r"does not begin as \.fgb does"),
        ("a.shp", "\0\0\x27\x0a", "cannot be read: "),
        ("a.kml", "<gpx></gpx>", r"does not begin as \.kml does"),
    ],
)
def test_files_that_are_no_such_thing_are_told(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_a_file_is_not_led_to_another(tmp_path):
    frame().to_file(tmp_path / "secret.gpkg", layer="v")
    (tmp_path / "a.geojson").write_text(
        f"<OGRVRTDataSource><OGRVRTLayer name='v'><SrcDataSource>{tmp_path}/secret.gpkg"
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(DataError, match=r"a\.geojson does not begin as GeoJSON does"):
        read(tmp_path / "a.geojson")


def test_without_a_file_or_images_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"none\.gpkg does not exist"):
        read(tmp_path / "none.gpkg")
    path = geojson(tmp_path, feature(POINT, name="x"))
    with pytest.raises(DataError, match="has no column image; its columns are name; name it with"):
        read(path)
    with pytest.raises(DataError, match="has no column image; its columns are none"):
        read(geojson(tmp_path))


def test_vector_files_need_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'geocsp\[geo\]' brings it"):
        read(tmp_path / "a.gpkg")
