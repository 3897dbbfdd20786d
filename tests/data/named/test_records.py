import numpy as np
import pytest

from geocsp.data.named.records import NUMBER, TEXT, WHOLE, read_records
from geocsp.errors import DataError

KINDS = {"lon": NUMBER, "lat": NUMBER, "kind": WHOLE}


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_files_follow_one_another(tmp_path):
    first = write(tmp_path / "a.csv", "lat,kind,lon,who\n1,10,2,x\n3,20,4,\n")
    second = write(tmp_path / "b.csv", "\ufefflon,lat,kind\n5,6,30\n")
    records = read_records([first, second], KINDS, {"who": TEXT, "when": TEXT})
    np.testing.assert_array_equal(records.lonlat("lon", "lat"), [[2, 1], [4, 3], [5, 6]])
    assert records.columns["kind"].to_pylist() == [10, 20, 30]
    assert records.columns["who"].to_pylist() == ["x", "", None]
    assert records.columns["when"].to_pylist() == [None] * 3
    assert records.first("when", "who") is records.columns["who"]
    assert records.first("when") is None
    assert [records.origin(row) for row in range(3)] == [
        (str(first), 0),
        (str(first), 1),
        (str(second), 0),
    ]
    assert len(records) == 3


def test_values_that_are_no_number_are_unknown_and_the_others_stay(tmp_path):
    text = (
        "lon,lat,kind\n 1.5 ,-2e1,7\nx,+.5,7.0\nNaN,3,1e5\n,4,abc\n1_0,0x1,99999999999999999999\n"
    )
    records = read_records([write(tmp_path / "a.csv", text)], KINDS)
    np.testing.assert_array_equal(
        records.lonlat("lon", "lat"),
        [[1.5, -20], [np.nan, 0.5], [np.nan, 3], [np.nan, 4], [np.nan, np.nan]],
    )
    assert records.columns["kind"].to_pylist() == [7, 7, None, None, None]


def test_rows_of_another_length_are_left_out_and_the_others_keep_their_number(tmp_path):
    text = 'lon,lat,kind\n1,2\n3,4,5\n"6\n7",8,9,10\n11,12,13\n'
    path = write(tmp_path / "a.csv", text)
    records = read_records([path], KINDS)
    np.testing.assert_array_equal(records.lonlat("lon", "lat"), [[3, 4], [11, 12]])
    assert records.row.tolist() == [1, 3]
    assert [(p.file, p.row, p.reason) for p in records.problems] == [
        (str(path), 0, "has 2 fields where the heading has 3"),
        (str(path), 2, "has 4 fields where the heading has 3"),
    ]


def test_rows_of_another_length_are_told_once_where_numbers_are_read_one_by_one(tmp_path):
    records = read_records([write(tmp_path / "a.csv", "lon,lat,kind\n1,2\nx,4,5\n")], KINDS)
    assert [p.row for p in records.problems] == [0]
    assert records.row.tolist() == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no column 'kind'; its columns are none"),
        ("lon,lat\n1,2\n", "has no column 'kind'; its columns are lon, lat"),
        (b"lon,lat,kind,\xff\xfe\n1,2,3,4\n", "is damaged or no CSV"),
        (b"\x00\x01\x02\x03", "has no column 'kind'"),
    ],
)
def test_a_damaged_file_is_named(content, message, tmp_path):
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(DataError) as error:
        read_records([path], KINDS)
    assert str(error.value).startswith(f"{path} {message}")
    assert "\n" not in str(error.value)


def test_texts_that_are_no_text_are_told(tmp_path):
    path = write(tmp_path / "a.csv", b"lon,lat,kind\n1,2,\xff\xfe\n")
    with pytest.raises(DataError, match=r"a\.csv is damaged or no CSV"):
        read_records([path], KINDS | {"kind": TEXT})


def test_a_heading_alone_has_no_rows(tmp_path):
    records = read_records([write(tmp_path / "a.csv", "lon,lat,kind\n")], KINDS)
    assert len(records) == 0
    assert records.lonlat("lon", "lat").shape == (0, 2)
