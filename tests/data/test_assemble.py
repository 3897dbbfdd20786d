import math

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from geocsp.data.assemble import Sieve, assemble, usable, why_unusable
from geocsp.data.images import FileImages, Images
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories
from geocsp.errors import DataError

METRES = "; if these are metres, name their crs"


def files(*names):
    return FileImages(pa.chunked_array([pa.array(names, pa.string())]))


def letters(count):
    return files(*(f"{chr(97 + n)}.jpg" for n in range(count)))


class Pictures(Images):
    def __init__(self, names):
        self.names = pa.chunked_array([pa.array(names, pa.string())])

    def load(self, row):
        return Image.new("RGB", (1, 1))

    def stamps(self):
        return ["" for _ in range(len(self))]

    def take(self, rows):
        return Pictures([self.names[int(row)].as_py() for row in rows])


def test_good_rows_stay_as_they_are():
    lonlat = np.array([[180.0, 90], [-180, -90], [0, 1e-9]])
    table = assemble(letters(3), lonlat)
    assert np.shares_memory(table.lonlat, lonlat)
    assert (table.problems, table.notes) == ((), ())
    assert table.images.names.to_pylist() == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("keep", [False, True])
def test_rows_without_a_usable_place_are_told_and_left_out_or_kept(keep):
    lonlat = np.array([[1, 2], [0, 0], [1, 91], [361, 1], [math.inf, 1], [190, 5], [-181, 1]])
    time = np.arange(14.0).reshape(7, 2)
    label = Categories.of(list("abcdefg"))
    table = assemble(letters(7), lonlat, time=time, label=label, keep_unplaced=keep)
    rows = [*range(7)] if keep else [0, 5]
    left_out = [] if keep else [f"{c}.jpg" for c in "bcdeg"]
    assert [problem.file for problem in table.problems] == left_out
    if not keep:
        assert table.problems[-1].reason == "longitude -181 is outside [-180, 360] degrees"
    assert table.time.tolist() == time[rows].tolist()
    assert table.labels.tolist() == rows
    assert table.class_names == tuple("abcdefg")
    wanted = np.full((7, 2), np.nan)
    wanted[[0, 5]] = [[1, 2], [-170, 5]]
    np.testing.assert_array_equal(table.lonlat, wanted[rows])
    *unknown, wrapped = table.notes
    assert wrapped == "1 longitudes from 180 to 360 were wrapped"
    zero = "lon 0, lat 0: that is what many devices write when they know no place"
    first = f"5 places cannot be used and count as unknown; the first: b.jpg: {zero}"
    assert unknown == ([first] if keep else [])
    assert lonlat[5].tolist() == [190, 5], "what the caller holds is not changed"


def test_places_that_are_unknown_are_no_problem_where_they_may_be():
    lonlat = np.array([[np.nan, np.nan], [1, 2], [np.nan, 3]])
    assert assemble(letters(3), lonlat, keep_unplaced=True).problems == ()
    assert [problem.reason for problem in assemble(letters(3), lonlat).problems] == [
        "no coordinates",
        "no longitude",
    ]


@pytest.mark.parametrize("keep", [False, True])
def test_files_without_a_name_are_always_left_out(keep):
    table = assemble(files("a", "", None, "b"), np.ones((4, 2)), keep_unplaced=keep)
    assert table.images.names.to_pylist() == ["a", "b"]
    assert [problem.reason for problem in table.problems] == ["names no image"] * 2


def test_other_images_need_no_name():
    assert len(assemble(Pictures([None, "", "a"]), np.ones((3, 2)))) == 3


def test_the_reader_may_know_where_a_row_is_from_and_why_it_has_no_place():
    table = assemble(
        letters(3),
        np.array([[np.nan, np.nan], [1, 2], [np.nan, np.nan]]),
        origin=lambda row: ("a.csv", 10 + row),
        reasons={2: "lat 'x' is not a number"},
        problems=[Problem("a.csv", 3, "has 1 cell")],
        notes=["a note"],
    )
    assert table.problems == (
        Problem("a.csv", 3, "has 1 cell"),
        Problem("a.csv", 10, "no coordinates"),
        Problem("a.csv", 12, "lat 'x' is not a number"),
    )
    assert table.notes == ("a note",)


@pytest.mark.parametrize(("bad", "told"), [(2, False), (3, True)])
def test_swapped_coordinates_are_told_where_most_rows_are(bad, told):
    lonlat = np.array([[50.0, 100.0]] * bad + [[100.0, 50.0]] * (4 - bad))
    notes = assemble(letters(4), lonlat).notes
    wanted = "longitude and latitude look swapped: 3 of 4 rows would be valid the other way round"
    assert notes == ((wanted,) if told else ())


def test_places_that_are_useless_either_way_do_not_look_swapped():
    lonlat = np.array([[0.0, 0.0], [500, 500], [np.nan, 1], [95, 95], [10, 200]])
    assert assemble(letters(5), lonlat).notes == ()


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(DataError, match="2 images but 1 places"):
        assemble(letters(2), np.ones((1, 2)))
    with pytest.raises(DataError, match="2 images but 3 rows of label"):
        assemble(letters(2), np.ones((2, 2)), label=Categories.of(["a", "b", "c"]))


def test_no_rows_are_no_problem():
    assert len(assemble(files(), np.empty((0, 2)))) == 0


def test_a_sieve_counts_over_blocks():
    sieve = Sieve()
    for start in (0, 2):
        sieve.sift(
            np.array([[200.0, 1], [5, 100]]), None, lambda row, start=start: ("f", start + row)
        )
    assert [problem.row for problem in sieve.problems] == [1, 3]
    assert sieve.notes == ["2 longitudes from 180 to 360 were wrapped"]


@pytest.mark.parametrize(
    ("lon", "lat", "reason"),
    [
        (math.nan, math.nan, "no coordinates"),
        (math.nan, 1, "no longitude"),
        (1, math.nan, "no latitude"),
        (math.inf, 1, "coordinates are not finite: lon inf, lat 1"),
        (0, -0.0, "lon 0, lat 0: that is what many devices write when they know no place"),
        (50, 100, "latitude 100 is outside [-90, 90] degrees; are longitude and latitude swapped?"),
        (100, 100, "latitude 100 is outside [-90, 90] degrees"),
        (5e5, 5e6, "latitude 5000000 is outside [-90, 90] degrees" + METRES),
        (5e5, 5, "longitude 500000 is outside [-180, 360] degrees" + METRES),
        (-200, 5, "longitude -200 is outside [-180, 360] degrees"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_place_is_told(lon, lat, reason):
    assert not usable(np.array([[lon, lat]])).any()
    assert why_unusable(lon, lat) == reason


def test_wrapping_is_for_longitudes_of_good_rows_alone():
    table = assemble(
        FileImages(pa.chunked_array([["a", "b", "c"]])),
        np.array([[360.0, 5.0], [200.0, 95.0], [1.0, 1.0]]),
    )
    assert table.lonlat.tolist() == [[0, 5], [1, 1]]
    assert table.notes == ("1 longitudes from 180 to 360 were wrapped",)


def test_a_kept_row_without_one_coordinate_is_no_problem():
    table = assemble(
        FileImages(pa.chunked_array([["a", "b"]])),
        np.array([[5.0, np.nan], [np.nan, 5.0]]),
        keep_unplaced=True,
    )
    assert len(table) == 2
    assert np.isnan(table.lonlat).all()
    assert table.problems == ()
