import numpy as np
import pytest

from geocsp.errors import DataError
from geocsp.evaluate.probes import effective_rank, rankme


def orthonormal(rows, columns, seed=0):
    matrix = np.random.default_rng(seed).standard_normal((rows, columns))
    return np.linalg.qr(matrix - matrix.mean(axis=0))[0]


def with_singular_values(values, rows=200, columns=8):
    left = orthonormal(rows, len(values))  # columns of mean zero
    return left * values @ orthonormal(columns, len(values), 1).T


@pytest.mark.parametrize("count", [1, 3, 8])
def test_equal_directions_count_one_each(count):
    matrix = with_singular_values([2.0] * count) if count < 8 else orthonormal(200, 8)
    assert effective_rank(matrix) == pytest.approx(count)


def test_the_rank_is_the_exponential_of_the_entropy_of_singular_values():
    values = np.array([8.0, 4.0, 2.0, 2.0])
    p = values / 16
    expected = np.exp(-(p * np.log(p)).sum())
    assert effective_rank(with_singular_values(values)) == pytest.approx(expected)
    added = p + 1e-7
    told = np.exp(-(added * np.log(added)).sum() - 4 * 1e-7 * np.log(1e-7))
    assert rankme(with_singular_values(values)) == pytest.approx(told)


def test_a_shift_counts_in_rankme_alone():
    matrix = with_singular_values([3.0, 3.0])
    assert effective_rank(matrix + 100) == pytest.approx(effective_rank(matrix))
    assert rankme(matrix + 100) < 1.2
    assert rankme(matrix) == pytest.approx(2, abs=1e-3)


def test_turning_and_scaling_do_not_matter():
    matrix = np.random.default_rng(0).standard_normal((100, 5)) * [5, 4, 3, 2, 1]
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))
    turned = 1e4 * matrix @ turn
    for measure in (effective_rank, rankme):
        assert measure(turned) == pytest.approx(measure(matrix))


def test_more_columns_than_rows():
    matrix = np.random.default_rng(0).standard_normal((6, 50))
    assert 4 < effective_rank(matrix) <= 5
    assert 5 < rankme(matrix) <= 6.001


@pytest.mark.parametrize("matrix", [np.ones((5, 3)), np.full((4, 2), 1e8), np.ones((1, 3))])
def test_equal_rows_have_rank_0(matrix):
    assert effective_rank(matrix) == 0
    assert rankme(matrix) == pytest.approx(1, abs=1e-4)


def test_zeros_have_rank_0():
    assert effective_rank(np.zeros((4, 3))) == rankme(np.zeros((4, 3))) == 0


@pytest.mark.parametrize("measure", [effective_rank, rankme])
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), r"got \(3,\)"),
        (np.ones((0, 3)), r"got \(0, 3\)"),
        (np.array([[1.0], [np.nan]]), "row 1 is not finite"),
    ],
)
def test_what_is_no_embedding_is_refused(measure, matrix, message):
    with pytest.raises(DataError, match=message):
        measure(matrix)
