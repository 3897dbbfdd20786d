import numpy as np
import pyarrow as pa
import pytest

from geocsp.data.columns.numerals import numerals, shorten
from geocsp.errors import DataError


def of(*cells, commas=True):
    return numerals(pa.array(cells), "lon", commas=commas)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.5, None, -2]),
        pa.array([1.5, None, -2], pa.float32()),
        pa.array(["1.5", None, "-2"]),
        pa.array(["1.5", "", "-2"], pa.large_string()),
        pa.array(["1.5", "NA", "-2.0"], pa.string_view()),
        pa.array(["1.5", " ", " -2 "]),
        pa.array(["1.5", "nan", "-2e0"]).dictionary_encode(),
        pa.array([1.5, None, -2]).cast(pa.decimal128(6, 2)),
    ],
)
def test_numbers_are_read_whatever_they_are_stored_as(column):
    read = numerals(column, "lon")
    np.testing.assert_array_equal(read.values, [1.5, np.nan, -2])
    assert (read.unreadable, read.commas) == ({}, 0)


def test_a_column_of_nothing_has_no_numbers():
    assert np.isnan(numerals(pa.nulls(2), "lon").values).all()


@pytest.mark.parametrize("missing", ["", "NA", "n/a", "NaN", "null", "None", "-", "  "])
def test_words_for_nothing_are_no_numbers_and_no_mistakes(missing):
    read = of("north", missing)
    assert np.isnan(read.values).all()
    assert read.unreadable == {0: "'north'"}


def test_what_is_no_number_is_told_by_its_row_and_the_others_are_read():
    read = of("+1", ".5", "5.", "1e2", "inf", "0x10", "1_0", "12°30'", "1,2,3", "٣", "1 2")
    np.testing.assert_array_equal(read.values, [1, 0.5, 5, 100, np.inf, *[np.nan] * 6])
    assert list(read.unreadable) == [5, 6, 7, 8, 9, 10]
    assert read.unreadable[7] == '''"12°30'"'''


def test_decimal_commas_are_read_and_counted():
    read = of("12,5", "-0,25", "3")
    assert read.values.tolist() == [12.5, -0.25, 3]
    assert read.commas == 2


def test_commas_that_may_part_thousands_are_not_read():
    read = of("500,123", "1.5", commas=False)
    assert (read.unreadable, read.commas) == ({0: "'500,123'"}, 0)


def test_numbers_too_large_for_any_computer_are_infinite():
    assert of("1e999", "9" * 400, "x").values[:2].tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("column", [pa.array([True]), pa.array([[1.0]]), pa.array([b"1"])])
def test_columns_of_something_else_are_refused(column):
    with pytest.raises(
        DataError, match=f"column 'lon' holds {column.type}, not numbers".split("<")[0]
    ):
        numerals(column, "lon")


def test_long_cells_are_shortened():
    assert shorten("a" * 1000) == repr("a" * 39 + "…")
    assert shorten("b\n") == r"'b\n'"
