import gzip

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import torch

from geocsp.data.places import read_places
from geocsp.errors import DataError


def table(tmp_path, text, name="places.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "heading", ["lat,id,lon", "Latitude,id,Longitude", "decimalLatitude,id,decimalLongitude"]
)
def test_columns_are_found_by_name_whatever_their_order(tmp_path, heading):
    places = read_places(table(tmp_path, f"{heading}\n40.5,a,-3.25\n-12,b,179\n"))
    assert places.dtype == torch.float64
    assert places.tolist() == [[-3.25, 40.5], [179.0, -12.0]]


def test_other_tables_are_read_too(tmp_path):
    wanted = [[-3.25, 40.5], [179.0, -12.0]]
    assert read_places(table(tmp_path, "x\ty\n-3.25\t40.5\n179\t-12\n", "a.tsv")).tolist() == wanted
    assert read_places(table(tmp_path, "lon;lat\n-3,25;40,5\n179;-12\n")).tolist() == wanted
    assert read_places(table(tmp_path, 'latlng\n"40.5,-3.25"\n"-12,179"\n')).tolist() == wanted
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"lng,lat\n-3.25,40.5\n179,-12\n"))
    assert read_places(tmp_path / "a.csv.gz").tolist() == wanted
    columns = pa.table({"Longitude": [-3.25, 179], "id": ["a", "b"], "Latitude": ["40.5", "-12"]})
    pq.write_table(columns, tmp_path / "a.parquet")
    assert read_places(tmp_path / "a.parquet").tolist() == wanted


def test_geometries_are_read_too(tmp_path):
    frame = geopandas.GeoDataFrame(geometry=[shapely.Point(500_000, 0)], crs="EPSG:32632")
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_places(tmp_path / "a.parquet").numpy() == pytest.approx(np.array([[9.0, 0]]))
    geopandas.GeoDataFrame(geometry=[None]).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: row 0 has \[None\], not lon and lat"):
        read_places(tmp_path / "b.parquet")


def test_a_table_without_rows_has_no_places(tmp_path):
    assert read_places(table(tmp_path, "lon,lat\n")).shape == (0, 2)


def test_arrays_are_read_as_they_are(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, 2.0]], dtype=np.float32))
    assert read_places(tmp_path / "a.npy").tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,lat\n1,2\n", "no column lon; its columns are x, lat"),
        ("", "no column lon; its columns are none"),
        ("lon,lat\n1,2\n3\n", r"row 1 has \['3', None\]"),
        ("lon,lat\n1,2\n3,4,5\n", r"row 1 has \['3', '4'\].*cells are 3, those of the heading 2"),
        ("lon,lat\n1,2\n\n1,2\n1,x\n", r"row 2 has \['1', 'x'\]"),
        ("lon,lat\n1,\n", "row 0 .*finite"),
        ("lon,lat\n1,north\n", r"row 0 has \['1', 'north'\]"),
        ("lon,lat\n1,2\n10,95\n", "row 1 is .*swapped"),
        ("lon,lat\nnan,2\n", "row 0 .*finite"),
    ],
)
def test_bad_tables_are_told_with_their_row(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_places(table(tmp_path, text))


@pytest.mark.parametrize("content", [np.zeros(3), np.zeros((3, 3)), np.array(["a"])])
def test_arrays_that_are_no_places_are_refused(tmp_path, content):
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(DataError, match=r"a\.npy|could not convert"):
        read_places(tmp_path / "a.npy")


def test_files_that_cannot_be_read_are_one_clear_error(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"no array")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("a.npy", "a.csv", "a.parquet", "pickle.npy", "none.csv", "none.parquet"):
        with pytest.raises(DataError, match="cannot read places"):
            read_places(tmp_path / name)
