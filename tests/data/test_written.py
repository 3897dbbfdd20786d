import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geocsp.data.images import Bands, FileImages, Images
from geocsp.data.table import Categories, GeoTable
from geocsp.data.written import read_written
from geocsp.errors import DataError


def test_a_written_table_comes_back_as_it_was(tmp_path):
    table = GeoTable(
        FileImages(pa.chunked_array([["a.jpg", "b.jpg"], ["c.jpg"]]), folder=str(tmp_path)),
        np.array([[1.5, 2.25], [np.nan, np.nan], [0.0, 0.0]]),
        np.array([[0.25, 12.0], [np.nan, np.nan], [0.5, np.nan]]),
        label=Categories(np.array([2, -1, 0]), ("z", "unused", "a")),
        split=Categories(np.array([0, 0, 1]), ("train", "test")),
    )
    again = read_written(table.write(tmp_path / "table.parquet"))
    assert again.images.names.to_pylist() == ["a.jpg", "b.jpg", "c.jpg"]
    np.testing.assert_array_equal(again.lonlat, table.lonlat)
    np.testing.assert_array_equal(again.time, table.time)
    assert again.label.codes.tolist() == [2, -1, 0]
    assert again.class_names == ("z", "unused", "a")
    assert again.split.names == ("train", "test")
    assert again.group is None
    assert again.label.codes.dtype == np.int64


def test_what_is_no_such_table_is_one_clear_error(tmp_path):
    path = tmp_path / "table.parquet"
    with pytest.raises(DataError, match=r"table\.parquet is missing"):
        read_written(path)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"table\.parquet is damaged"):
        read_written(path)
    pq.write_table(pa.table({"image": ["a"]}), path)
    with pytest.raises(DataError, match=r"table\.parquet is damaged or no table of geocsp"):
        read_written(path)
    pq.write_table(pa.table({"image": ["a"], "lon": [1.0], "lat": [1.0], "label": ["x"]}), path)
    with pytest.raises(DataError, match=r"table\.parquet is damaged or no table of geocsp"):
        read_written(path)


def test_images_of_a_written_table_are_found_from_anywhere(tmp_path, monkeypatch):
    table = GeoTable(
        FileImages(pa.chunked_array([["a.jpg"]]), folder=str(tmp_path)),
        np.ones((1, 2)),
        group=Categories(np.array([0]), ("g",)),
    )
    again = read_written(table.write(tmp_path / "table.parquet"))
    assert again.images.path(0) == str(tmp_path / "a.jpg")
    assert again.group.names == ("g",)


def test_bands_come_back_and_images_within_others_say_where_they_are(tmp_path):
    bands = Bands((3, 2, 1), 0, 3000)
    names = pa.chunked_array([["a.tif"]])
    table = GeoTable(FileImages(names, str(tmp_path), bands), np.ones((1, 2)))
    again = read_written(table.write(tmp_path / "table.parquet"))
    assert again.images.bands == bands
    assert again.images_fingerprint == table.images_fingerprint

    class Within(Images):
        names, bands = pa.chunked_array([["a.tar/b.jpg"]]), Bands()
        load = stamps = take = None

    Within.__abstractmethods__ = frozenset()
    path = GeoTable(Within(), np.ones((1, 2))).write(tmp_path / "within.parquet")
    with pytest.raises(DataError, match="is within another file; read the source itself"):
        read_written(path).images.load(0)
