import itertools
import math

import numpy as np
import pytest
import torch

from geocsp.errors import DataError
from geocsp.evaluate import answers as module
from geocsp.evaluate.answers import Answers, Ties, join


def tied(rows=40, classes=6, seed=0):
    """Logits with few different values, so with many ties, and labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(4, (rows, classes), generator=generator).double()
    return logits, torch.randint(classes, (rows,), generator=generator)


def orders(scores):
    """All orders of the classes that the scores allow."""
    groups = [
        [c for c, score in enumerate(scores) if score == level]
        for level in sorted(set(scores), reverse=True)
    ]
    every = itertools.product(*(itertools.permutations(group) for group in groups))
    return [list(itertools.chain(*order)) for order in every]


def legacy_order(scores):
    return sorted(range(len(scores)), key=lambda c: (-scores[c], -c))


def test_probabilities_are_those_of_a_softmax():
    logits, labels = tied()
    found = Answers.of(logits, labels)
    for row, scores in enumerate(logits.tolist()):
        total = math.fsum(math.exp(score) for score in scores)
        assert found.truth[row] == pytest.approx(math.exp(scores[labels[row]]) / total)
        assert found.confidence[row] == pytest.approx(math.exp(max(scores)) / total)
        assert found.predicted[row] == scores.index(max(scores))
    assert found.labels.tolist() == labels.tolist()
    assert (len(found), found.classes) == (40, 6)
    assert found.answered.all()


def test_ranks_and_hits_are_means_over_all_orders():
    logits, labels = tied()
    found = Answers.of(logits, labels)
    for row, (scores, label) in enumerate(zip(logits.tolist(), labels.tolist(), strict=True)):
        ranks = [order.index(label) + 1 for order in orders(scores)]
        assert found.rank()[row] == pytest.approx(np.mean(ranks))
        assert found.rank(Ties.OPTIMISTIC)[row] == min(ranks)
        assert found.rank(Ties.PESSIMISTIC)[row] == max(ranks)
        assert found.rank(Ties.LEGACY)[row] == legacy_order(scores).index(label) + 1
        for count in (1, 3, 5, 10):
            inside = np.array(ranks) <= count
            assert found.hits(count)[row] == pytest.approx(inside.mean())
            assert found.hits(count, Ties.OPTIMISTIC)[row] == inside.any()
            assert found.hits(count, Ties.PESSIMISTIC)[row] == inside.all()
            legacy = legacy_order(scores).index(label) < count
            assert found.hits(count, Ties.LEGACY)[row] == legacy


def test_rows_without_an_answer_are_wrong_at_any_rank():
    logits, labels = tied(rows=6)
    logits[2] = math.nan  # not looked at
    answered = torch.tensor([True, False, False, True, True, True])
    found = Answers.of(logits, labels, answered)
    assert found.answered.tolist() == answered.tolist()
    assert found.predicted[1:3].tolist() == [-1, -1]
    assert found.truth[1:3] == pytest.approx(1 / 6)
    assert found.confidence[1:3] == pytest.approx(1 / 6)
    for ties in Ties:
        assert np.isinf(found.rank(ties)[1:3]).all()
        assert found.hits(6, ties).tolist() == [1, 0, 0, 1, 1, 1]
    kept = Answers.of(logits[answered], labels[answered])
    for name, array in kept.arrays().items():
        assert np.array_equal(found.rows(answered.numpy()).arrays()[name], array)


def test_a_class_of_its_own_is_still_not_an_answer():
    found = Answers.of(torch.zeros(2, 1), torch.zeros(2).long(), torch.tensor([True, False]))
    assert found.hits(1).tolist() == [1, 0]


def test_minus_infinity_is_no_probability():
    logits = torch.tensor([[0.0, -math.inf, -math.inf]])
    found = Answers.of(logits, torch.tensor([1]))
    assert found.truth.tolist() == [0]
    assert found.confidence.tolist() == [1]
    assert found.rank().tolist() == [2.5]


@pytest.mark.parametrize("cells", [1, 13, 6 * 40])
def test_chunks_change_nothing(monkeypatch, cells):
    logits, labels = tied()
    answered = torch.arange(40) % 7 > 0
    expected = Answers.of(logits, labels, answered).arrays()
    monkeypatch.setattr(module, "_CELLS", cells)
    for name, array in Answers.of(logits, labels, answered).arrays().items():
        assert np.array_equal(array, expected[name])
        assert array.dtype == expected[name].dtype


def test_stored_small_they_count_the_same():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randint(3, (50, 120), generator=generator).float()
    labels = torch.randint(120, (50,), generator=generator)
    found = Answers.of(logits, labels, torch.arange(50) > 3)
    small = {
        name: array.astype(np.int8) if array.dtype == np.int64 else array
        for name, array in found.arrays().items()
    }
    again = Answers(**small, classes=120)
    assert {array.dtype for array in again.arrays().values()} == {
        np.dtype(np.int64),
        np.dtype(np.float32),
    }
    for count in (1, 10, 1000):
        assert np.array_equal(again.hits(count), found.hits(count))
    for ties in Ties:
        assert np.array_equal(again.rank(ties), found.rank(ties))


def test_joined_parts_are_the_whole():
    logits, labels = tied()
    whole = Answers.of(logits, labels)
    joined = join([Answers.of(logits[:13], labels[:13]), whole.rows(np.arange(13, 40))])
    for name, array in whole.arrays().items():
        assert np.array_equal(joined.arrays()[name], array)
    assert joined.classes == 6


def test_parts_of_other_classes_are_not_joined():
    parts = [Answers.of(*tied(classes=6)), Answers.of(*tied(classes=5))]
    with pytest.raises(ValueError, match="same number of classes"):
        join(parts)
    with pytest.raises(ValueError, match="need answers"):
        join([])


def test_arrays_of_different_lengths_are_refused():
    arrays = Answers.of(*tied()).arrays()
    with pytest.raises(DataError, match=r"one length.*'truth': 39"):
        Answers(**arrays | {"truth": arrays["truth"][1:]}, classes=6)


def test_bad_input_is_refused():
    logits, labels = tied()
    with pytest.raises(DataError, match=r"label of row 3 is 6, not in 0\.\.5"):
        Answers.of(logits, labels.index_fill(0, torch.tensor([3]), 6))
    with pytest.raises(DataError, match="label of row 5 is -1"):
        Answers.of(logits, labels.index_fill(0, torch.tensor([5]), -1))
    with pytest.raises(DataError, match=r"\(N, Q\) and \(N,\)"):
        Answers.of(logits[:0], labels[:0])
    with pytest.raises(DataError, match=r"\(N, Q\) and \(N,\)"):
        Answers.of(logits, labels[1:])
    with pytest.raises(DataError, match=r"answered must be \(40,\)"):
        Answers.of(logits, labels, torch.ones(39, dtype=torch.bool))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_row_of_a_bad_logit_is_named_as_given(value):
    logits, labels = tied()
    logits[7, 2] = value
    answered = torch.arange(40) > 4
    with pytest.raises(DataError, match="row 7"):
        Answers.of(logits, labels, answered)
    with pytest.raises(DataError, match="row 7"):
        Answers.of(logits, labels)


def test_a_row_without_any_probability_is_refused():
    logits, labels = tied()
    logits[9] = -math.inf
    with pytest.raises(DataError, match="row 9"):
        Answers.of(logits, labels)
