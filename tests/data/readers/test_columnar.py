import numpy as np
import pyarrow as pa
import pytest

from geocsp.data.images import FileImages
from geocsp.data.options import Columns, ReadOptions
from geocsp.data.readers.columnar import Beside, Layout, leaf, leaf_types
from geocsp.errors import DataError


def images(count):
    return FileImages(pa.chunked_array([pa.array([f"{n}.jpg" for n in range(count)])]))


def table_of(*blocks, classes=None, **columns):
    options = ReadOptions(Columns(**columns))
    beside = Beside(options, classes or {})
    for block in map(pa.record_batch, blocks):
        beside.add(block, Layout.of(block.schema, "image", options, "x.parquet"))
    count = sum(len(next(iter(block.values()))) for block in blocks)
    return beside.table(images(count), lambda row: ("x.parquet", row), ())


def test_columns_in_structs_have_dotted_names():
    inner = pa.struct([("lat", pa.float64()), ("more", pa.struct([("lon", pa.float64())]))])
    kinds = {"image": pa.binary(), "spot": inner, "label": pa.string()}
    schema = pa.schema(kinds)
    assert leaf_types(schema, "image") == {
        "label": pa.string(),
        "spot.lat": pa.float64(),
        "spot.more.lon": pa.float64(),
    }
    block = pa.RecordBatch.from_pylist([{"spot": {"lat": 1, "more": {"lon": 2}}}, {}], schema)
    assert leaf(block, "spot.more.lon").to_pylist() == [2, None]
    assert leaf(block, "label").to_pylist() == [None, None]


def test_blocks_become_one_table():
    first = {"lon": [1.0], "lat": [2.0], "label": ["a"], "split": ["train"]}
    second = {"longitude": [3.0], "latitude": [4.0], "label": [7], "time": ["2026-01-01"]}
    table = table_of(first, second)
    assert table.lonlat.tolist() == [[1, 2], [3, 4]]
    assert table.class_names == ("7", "a")
    assert table.split.codes.tolist() == [0, -1]
    assert table.time[1, 0] == 0
    assert np.isnan(table.time[0]).all()
    assert "column 'longitude' is taken as lon" in table.notes


def test_numbered_classes_keep_their_numbers():
    block = {"lon": [1.0] * 4, "lat": [2.0] * 4, "label": [1, -1, None, 5]}
    table = table_of(block, classes={"label": ["z", "y", "x"]})
    assert table.class_names == ("z", "y", "x")
    assert table.label.codes.tolist() == [1, -1, -1, -1]


def test_problems_name_the_row_among_all_blocks():
    table = table_of({"lon": ["1", "2"], "lat": ["1", "2"]}, {"lon": ["east"], "lat": ["3"]})
    (problem,) = table.problems
    assert (problem.file, problem.row) == ("x.parquet", 2)
    assert problem.reason == "lon 'east' is not a number"


def test_times_that_cannot_be_read_are_noted():
    block = {"lon": [1.0] * 2, "lat": [2.0] * 2, "date": ["2026-01-01", "noon"]}
    assert table_of(block).notes[-1] == "1 times could not be read and count as unknown"


def test_a_column_that_was_named_must_be_there():
    with pytest.raises(DataError, match=r"x\.parquet has no column 'x' for lon"):
        table_of({"lon": [1.0], "lat": [2.0]}, lon="x", lat="lat")
    with pytest.raises(DataError, match="has no column lat"):
        table_of({"a": [1.0], "b": [2.0]}, lon="a")
