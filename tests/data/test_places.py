import numpy as np
import pytest
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
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("a.npy", "a.csv", "pickle.npy", "none.csv"):
        with pytest.raises(DataError, match="cannot read places"):
            read_places(tmp_path / name)
