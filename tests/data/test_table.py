import datetime
import decimal
import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geocsp.data import table as module
from geocsp.data.images import Bands, FileImages
from geocsp.data.quarantine import Problem
from geocsp.data.read import read
from geocsp.data.table import Categories, GeoTable
from geocsp.errors import DataError


def table_of(names=("a.jpg", "b.jpg", "c.jpg"), folder="", **columns):
    images = FileImages(pa.chunked_array([pa.array(names, pa.string())]), str(folder))
    return GeoTable(images, np.arange(1.0, 2 * len(names) + 1).reshape(-1, 2), **columns)


def indexed(values, indices):
    return pa.DictionaryArray.from_arrays(indices, values)


@pytest.mark.parametrize(
    ("values", "names", "codes"),
    [
        (["b", "a", None, "", "b"], ("a", "b"), [1, 0, -1, -1, 1]),
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        (["10", "9", "", "-1"], ("-1", "9", "10"), [2, 1, -1, 0]),
        (["10", "9", "x"], ("10", "9", "x"), [0, 1, 2]),
        (["007", "7", "8.0"], ("007", "7", "8"), [0, 1, 2]),
        ([3.0, float("nan"), 12.0], ("3", "12"), [0, -1, 1]),
        (["3.0", "3", "12.0"], ("3", "12"), [0, 0, 1]),
        ([0.5, 2.0, None], ("0.5", "2.0"), [0, 1, -1]),
        (["1.0", "1.0.1"], ("1.0", "1.0.1"), [0, 1]),
        ([True, False, None], ("False", "True"), [1, 0, -1]),
        (["nan", "inf", "1"], ("1", "inf"), [-1, 1, 0]),
        (["x", "NA", "x ", "NULL", "N/A", "none"], ("none", "x"), [1, -1, 1, -1, -1, 0]),
        (["NZ", "NA", "DE"], ("DE", "NA", "NZ"), [2, 1, 0]),
        (["NA", "NA"], (), [-1, -1]),
        (["é", "z", "E"], ("E", "z", "é"), [2, 1, 0]),
        ([None, ""], (), [-1, -1]),
        ([], (), []),
        (["9" * 5000, "1"], ("1", "9" * 5000), [1, 0]),
        ([1, "a", None], ("1", "a"), [0, 1, -1]),
    ],
)
def test_values_are_numbered_in_order(values, names, codes):
    found = Categories.of(values)
    assert found.names == names
    assert found.codes.tolist() == codes
    assert found.codes.dtype == np.int64


@pytest.mark.parametrize(
    ("column", "names", "codes"),
    [
        (indexed(["z", "b", "unused"], [1, 0, None, 1]), ("b", "z"), [0, 1, -1, 0]),
        (indexed(["a", "a", None], [0, 1, 2]), ("a",), [0, 0, -1]),
        (indexed([5, 6, 10], pa.array([2, 0], pa.uint8())), ("5", "10"), [1, 0]),
        (pa.array([10, None, 9], pa.int16()), ("9", "10"), [1, -1, 0]),
        (pa.array([3, None, float("nan"), 12], pa.float32()), ("3", "12"), [0, -1, -1, 1]),
        (pa.array(np.array([2, 1], np.float16)), ("1", "2"), [1, 0]),
        (pa.array([True, None, False]), ("False", "True"), [1, -1, 0]),
        (pa.array([b"b", b"a", b"\xff"]), ("\\xff", "a", "b"), [2, 1, 0]),
        (pa.array(["b", "a", ""], pa.large_string()), ("a", "b"), [1, 0, -1]),
        (pa.array(["b", "a", None], pa.string_view()), ("a", "b"), [1, 0, -1]),
        (pa.array([datetime.date(2021, 1, 2), None]), ("2021-01-02",), [0, -1]),
        (pa.array([decimal.Decimal("1.00"), decimal.Decimal("-2.00")]), ("-2", "1"), [1, 0]),
        (pa.nulls(2), (), [-1, -1]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_columns_of_any_type_are_numbered(column, names, codes):
    for given in (column, pa.chunked_array([column]), pa.chunked_array([column[:1], column[1:]])):
        found = Categories.of(given)
        assert found.names == names
        assert found.codes.tolist() == codes


def test_blocks_with_dictionaries_of_their_own_are_one_column():
    blocks = [pa.array(["b", "a"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
    found = Categories.of(pa.chunked_array(blocks))
    assert (found.names, found.codes.tolist()) == (("a", "b", "c"), [1, 0, 2, 0])


def test_columns_of_lists_are_refused():
    with pytest.raises(DataError, match="list<item: int64> cannot name classes, splits or groups"):
        Categories.of(pa.array([[1], [2]]))


def test_categories_are_told_briefly():
    assert (
        repr(Categories.of([str(n) for n in range(2000)])) == "Categories(2,000 rows, 2,000 names)"
    )


def test_texts_are_the_names_row_by_row():
    found = Categories.of(["b", None, "a"])
    assert found.texts().to_pylist() == ["b", None, "a"]
    assert Categories.of([None, None]).texts().to_pylist() == [None, None]


def test_rows_are_taken_by_number_or_mask_and_classes_keep_their_numbers():
    table = table_of(
        time=np.zeros((3, 2)),
        label=Categories.of(["x", "y", "z"]),
        split=Categories.of(["train", "test", "train"]),
        problems=(Problem("a", 1, "bad"),),
        notes=("note",),
    )
    for rows in (np.array([2, 0]), np.array([2, 0], dtype=np.int32)):
        taken = table.take(rows)
        assert taken.images.names.to_pylist() == ["c.jpg", "a.jpg"]
        assert taken.lonlat.tolist() == [[5, 6], [1, 2]]
        assert taken.labels.tolist() == [2, 0]
        assert taken.class_names == ("x", "y", "z")
        assert (taken.problems, taken.notes) == (table.problems, table.notes)
    assert table.take(np.array([False, True, False])).lonlat.tolist() == [[3, 4]]
    assert table.part("train").images.names.to_pylist() == ["a.jpg", "c.jpg"]
    assert len(table.take(np.array([], dtype=np.int64))) == 0


def test_a_split_that_is_not_there_is_told():
    with pytest.raises(DataError, match="no split 'val' in the table; splits: none"):
        table_of().part("val")
    with pytest.raises(DataError, match="no split 'val' in the table; splits: test, train"):
        table_of(split=Categories.of(["train", "test", None])).part("val")


def test_without_labels_all_are_unknown():
    assert table_of().labels.tolist() == [-1, -1, -1]
    assert table_of().class_names == ()


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(DataError, match="3 images but 2 rows of time"):
        table_of(time=np.zeros((2, 2)))


def test_a_table_is_told_in_one_short_line():
    assert repr(table_of()) == "GeoTable(3 images)"
    table = table_of(
        time=np.zeros((3, 2)),
        label=Categories.of(["x", "y", "z"]),
        split=Categories.of(["train", "test", "train"]),
        group=Categories.of(["g", "g", "g"]),
        problems=(Problem("a", 1, "bad"),),
    )
    assert repr(table) == (
        "GeoTable(3 images, 3 classes, splits test, train, 1 groups, times, 1 problem)"
    )


def test_fingerprints_change_with_whatever_changes(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"1")
    tables = [
        table_of(folder=tmp_path),
        table_of(("a.jpg", "b.jpg", "d.jpg"), tmp_path),
        table_of(folder=tmp_path, time=np.zeros((3, 2))),
        table_of(folder=tmp_path, label=Categories.of(["x", "y", "z"])),
        table_of(folder=tmp_path, group=Categories.of(["x", "y", "z"])),
        table_of(folder=tmp_path, label=Categories(np.zeros(3, np.int64), ("x\ny",))),
        table_of(folder=tmp_path, label=Categories(np.zeros(3, np.int64), ("x", "y"))),
        GeoTable(table_of(folder=tmp_path).images, np.zeros((3, 2))),
        GeoTable(
            FileImages(table_of().images.names, str(tmp_path), Bands(low=0, high=1)),
            table_of().lonlat,
        ),
    ]
    assert len({table.fingerprint for table in tables}) == len(tables)
    assert len({table.images_fingerprint for table in tables}) == 3
    first = tables[0].fingerprint
    assert table_of(folder=tmp_path).fingerprint == first
    os.utime(tmp_path / "a.jpg", (1, 1))
    assert tables[0].fingerprint != first


def test_names_that_are_no_text_have_a_fingerprint():
    odd = Categories(np.zeros(3, np.int64), (os.fsdecode(b"\xe9"),))
    assert len(table_of(label=odd).fingerprint) == 64


def full(folder, names=("a.jpg", "b.jpg", "c.jpg")):
    return table_of(
        names,
        folder,
        time=np.array([[0.5, 12], [np.nan, np.nan], [0.25, np.nan]]),
        label=Categories.of(["x", None, "z"]),
        split=Categories.of(["train", "test", "train"]),
        group=Categories.of(["10", "9", "9"]),
    )


def same(read_again, table):
    np.testing.assert_array_equal(read_again.lonlat, table.lonlat)
    np.testing.assert_array_equal(read_again.time, table.time)
    for name in ("label", "split", "group"):
        left, right = getattr(read_again, name), getattr(table, name)
        assert left.names == right.names
        assert left.codes.tolist() == right.codes.tolist()


def test_a_written_table_is_read_again(tmp_path):
    table = full(tmp_path)
    path = table.write(tmp_path / "table.parquet")
    again = read(path)
    same(again, table)
    assert again.images.names.to_pylist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert again.images.path(0) == str(tmp_path / "a.jpg")
    assert again.notes == ()


def test_a_table_written_elsewhere_names_its_images_in_full(tmp_path):
    names = ("a.jpg", "/data/b.jpg", "s3://bucket/c.jpg")
    table = full(tmp_path / "photos", names)
    again = read(str(table.write(str(tmp_path / "new" / "tables" / "t.parquet"))))
    same(again, table)
    assert again.images.names.to_pylist() == [str(tmp_path / "photos" / "a.jpg"), *names[1:]]


def test_names_relative_to_a_url_or_to_where_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = full("s3://bucket/photos/").write(tmp_path / "t.parquet")
    assert pq.read_table(written)["image"][0].as_py() == "s3://bucket/photos/a.jpg"
    written = full("").write(Path("new/t.parquet"))
    assert pq.read_table(written)["image"][0].as_py() == f"{tmp_path}/a.jpg"
    written = full("").write("here.parquet")
    assert pq.read_table(written)["image"][0].as_py() == "a.jpg"


def test_classes_that_are_many_keep_their_numbers(tmp_path):
    count = 200_000
    label = Categories.of([f"class {n:020d}" for n in range(count)])
    table = table_of([f"{n}.jpg" for n in range(count)], label=label.take(np.arange(count)[::-1]))
    path = table.write(tmp_path / "t.parquet")
    column = pq.read_table(path)["label"].combine_chunks()
    assert column.dictionary.to_pylist() == list(label.names)


def test_tables_are_written_as_parquet_alone(tmp_path):
    with pytest.raises(DataError, match=r"t\.csv: tables are written as Parquet; end the name in"):
        table_of().write(tmp_path / "t.csv")


def test_a_full_disk_leaves_the_old_table(tmp_path, monkeypatch):
    path = table_of().write(tmp_path / "t.parquet")
    before = path.read_bytes()

    def no_space(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_atomically", no_space)
    with pytest.raises(DataError, match=r"cannot write .*t\.parquet: No space left on device"):
        full("").write(path)
    assert path.read_bytes() == before


def test_folders_that_are_no_text_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="cannot be written as text; rename the folder"):
        table_of(folder=os.fsdecode(b"/caf\xe9")).write(tmp_path / "t.parquet")


def test_images_are_told_apart_by_name_and_by_every_row(tmp_path):
    def table(names):
        for name in names:
            (tmp_path / name).write_bytes(b"1")
            os.utime(tmp_path / name, (1, 1))
        return table_of(names, tmp_path)

    assert table(["a", "b", "c"]).images_fingerprint != table(["a", "c", "b"]).images_fingerprint
    names = pa.array(np.arange(70_000)).cast(pa.string())
    many = FileImages(pa.chunked_array([names]), str(tmp_path / "none"))
    other = FileImages(pa.chunked_array([[*names.to_pylist()[:-1], "x"]]), many.folder)
    first, second = (GeoTable(some, np.zeros((70_000, 2))) for some in (many, other))
    assert first.images_fingerprint != second.images_fingerprint
    assert list(first._names()) == names.to_pylist()


def test_paths_of_windows_are_complete(tmp_path):
    table = full(tmp_path / "photos", ("C:\\x\\a.jpg", "D:/b.jpg", "c.jpg"))
    names = pq.read_table(table.write(tmp_path / "t.parquet"))["image"].to_pylist()
    assert names == ["C:\\x\\a.jpg", "D:/b.jpg", f"{tmp_path}/photos/c.jpg"]
