import numpy as np
import pytest

from geocsp.errors import DataError
from geocsp.evaluate.probes import Target


def test_numbers_without_a_value_are_unknown():
    target = Target("t", np.array([1.0, np.nan, -3.0]), unit="m")
    assert target.is_number
    assert target.known.tolist() == [True, False, True]
    assert len(target) == 3


def test_whole_numbers_become_floating_point():
    assert Target("t", np.array([1, 2])).values.dtype == np.float64


def test_places_of_no_class_are_unknown():
    target = Target("t", np.array([0, -1, 1]), ("a", "b"))
    assert not target.is_number
    assert target.known.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        (np.zeros((2, 2)), None, r"one value a place, got \(2, 2\)"),
        (np.array([0.0, np.inf]), None, "row 1 is not finite"),
        (np.array([0.0, 1.0]), ("a", "b"), "must be integers, got float64"),
        (np.array([0, 2]), ("a", "b"), "row 1 is class 2; classes are 0 to 1"),
        (np.array([-2, 0]), ("a", "b"), "row 0 is class -2"),
    ],
)
def test_values_that_cannot_be_are_refused(values, names, message):
    with pytest.raises(DataError, match=message):
        Target("t", values, names)
