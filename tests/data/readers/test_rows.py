import numpy as np
import pyarrow as pa
import pytest

from geocsp.data.columns.coordinates import LonLat
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.rows import Plan, Rows
from geocsp.errors import DataError

PLACES = LonLat("lon", "lat")


def plan(**roles):
    return Plan({"image": "image"} | roles, PLACES)


def block(images=("a", "b"), lon=(1.0, 2.0), lat=(3.0, 4.0), **others):
    return pa.record_batch({"image": images, "lon": lon, "lat": lat} | others)


def origin(row):
    return "f", row


def collected(*blocks, options=None, folder="", **roles):
    rows = Rows(options or ReadOptions(), str(folder))
    for given in blocks:
        rows.add(given, plan(**roles), origin)
    return rows.table([], [])


def test_a_plan_knows_its_columns():
    roles = {"image": "i", "lon": "lon", "lat": "lat", "label": "k", "group": "k"}
    assert Plan(roles, PLACES).columns == ["i", "k", "lon", "lat"]


def test_blocks_become_one_table():
    table = collected(block(k=["x", None]), block(("c", "d"), k=["w", "x"]), label="k")
    assert table.images.names.to_pylist() == ["a", "b", "c", "d"]
    assert table.lonlat.tolist() == [[1, 3], [2, 4]] * 2
    assert table.class_names == ("w", "x")
    assert table.labels.tolist() == [1, -1, 0, 1]
    assert table.time is table.split is table.group is None


def test_rows_that_cannot_be_used_are_left_out_of_all_columns():
    given = block(
        ("a", "", "c", "d"), (1.0, 1, None, 0), (2.0, 2, 2, 0), k=[1, 2, 3, 4], t=["2020"] * 4
    )
    table = collected(given, block(k=[5, 6], t=["2020", "?"]), label="k", time="t")
    assert table.images.names.to_pylist() == ["a", "a", "b"]
    assert table.class_names == ("1", "5", "6")
    assert table.time.shape == (3, 2)
    assert table.problems == (
        Problem("f", 1, "names no image"),
        Problem("f", 2, "no longitude"),
        Problem("f", 3, "lon 0, lat 0: that is what many devices write when they know no place"),
    )
    assert table.notes == ("1 times could not be read and count as unknown",)


def test_rows_without_a_place_may_be_kept():
    options = ReadOptions(keep_unplaced=True)
    table = collected(block(lon=["x", ""], lat=["1", ""]), options=options)
    assert np.isnan(table.lonlat).all()
    assert table.problems == ()
    assert table.notes == (
        "1 places cannot be used and count as unknown; the first: f row 0: lon 'x' is not a number",
    )


def test_columns_that_only_some_blocks_have():
    rows = Rows(ReadOptions(), "")
    rows.add(block(k=["x", "y"], t=["2020-01-01"] * 2), plan(label="k", time="t"), origin)
    rows.add(block(), plan(), origin)
    rows.add(block(k=[7, 8]), plan(label="k"), origin)
    table = rows.table([Problem("g", None, "gone")], ["a note"])
    assert table.labels.tolist() == [2, 3, -1, -1, 0, 1]
    assert table.class_names == ("7", "8", "x", "y")
    np.testing.assert_array_equal(table.time[:, 0], [0, 0, *[np.nan] * 4])
    assert table.problems == (Problem("g", None, "gone"),)
    assert table.notes == ("a note",)


def test_hours_are_those_of_the_place():
    table = collected(
        block(lon=(15.0, 370.0), lat=(1.0, 1.0), t=["2020-01-01T01:00"] * 2), time="t"
    )
    assert table.time.tolist() == [[1 / 366 / 24, 2]]


def test_dates_and_hours_of_a_table_of_ours_stay_as_they_are():
    table = collected(block(date=[0.5, None], hour=[None, 23.5]), time="date", hour="hour")
    np.testing.assert_array_equal(table.time, [[0.5, np.nan], [np.nan, 23.5]])


@pytest.mark.parametrize(
    "images",
    [
        pa.array(["a", "b"], pa.large_string()),
        pa.array(["a", "b"], pa.string_view()),
        pa.array(["a", "b"]).dictionary_encode(),
        pa.array([b"a", b"b"]),
    ],
)
def test_names_of_images_may_be_stored_in_any_way(images):
    assert collected(block(images)).images.names.to_pylist() == ["a", "b"]


@pytest.mark.parametrize("images", [[1, 2], [1.5, 2], [b"\xff", b"b"], [["a"], ["b"]]])
def test_other_images_are_refused(images):
    with pytest.raises(DataError, match=r"column 'image' holds .*, not paths or URLs of images"):
        collected(block(images))


def test_a_block_with_an_error_leaves_nothing_behind():
    rows = Rows(ReadOptions(), "")
    rows.add(block(k=["x", "y"]), plan(label="k"), origin)
    with pytest.raises(DataError, match=r"column 'k' holds list<.*, which cannot name classes"):
        rows.add(block(k=[["x"], ["y"]]), plan(label="k"), origin)
    assert len(rows.table([], [])) == 2


def test_backslashes_are_slashes_unless_a_file_is_called_so(tmp_path):
    names = ("x\\a.jpg", None, "b.jpg")
    given = block(names, (1.0, 2, 3), (1.0, 2, 3))
    table = collected(given, folder=tmp_path)
    assert table.images.names.to_pylist() == ["x/a.jpg", "b.jpg"]
    assert table.notes == ("backslashes in image paths are read as slashes",)
    (tmp_path / "x\\a.jpg").touch()
    assert collected(given, folder=tmp_path).images.names.to_pylist() == ["x\\a.jpg", "b.jpg"]
    assert collected(given, folder="s3://bucket").notes == ()


def test_the_folder_of_the_options_wins():
    assert collected(block(), folder="here").images.folder == "here"
    options = ReadOptions(folder="there")
    assert collected(block(), options=options, folder="here").images.folder == "there"


def test_no_blocks_make_an_empty_table():
    assert len(collected()) == 0


def test_columns_stay_beside_their_rows_when_the_first_is_left_out():
    given = block(
        ("a", "b", "c"),
        (0.0, 2, 3),
        (0.0, 2, 3),
        k=["x", "y", "z"],
        t=["2020", "2021", "2022"],
        s=["train", "test", "val"],
    )
    table = collected(given, given, label="k", time="t", split="s")
    assert table.images.names.to_pylist() == ["b", "c"] * 2
    assert table.lonlat.tolist() == [[2, 2], [3, 3]] * 2
    assert [table.class_names[n] for n in table.labels] == ["y", "z"] * 2
    assert table.split.texts().to_pylist() == ["test", "val"] * 2
    days = block(("a", "b"), (0.0, 2), (0.0, 2), d=[0.25, 0.5], h=[1.0, 2.0])
    assert collected(days, time="d", hour="h").time.tolist() == [[0.5, 2.0]]


def test_unread_times_are_counted_over_blocks():
    table = collected(block(t=["?", "2020"]), block(t=["2020", "2020"]), time="t")
    assert table.notes == ("1 times could not be read and count as unknown",)
