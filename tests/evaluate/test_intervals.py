import pytest
from scipy import stats

from geocsp.evaluate import interval


def test_the_interval_is_student_t():
    values = [0.2, 0.5, 0.9, 0.4]
    found = interval(values)
    low, high = stats.t.interval(0.95, 3, loc=0.5, scale=stats.sem(values))
    assert found.mean == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.count == 4


def test_a_single_value_has_no_interval():
    found = interval([0.25])
    assert found.half_width is None
    assert found.low == found.high == found.mean == 0.25


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        interval([])
