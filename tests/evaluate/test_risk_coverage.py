import itertools
import math

import numpy as np
import pytest
import torch

from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers
from geocsp.evaluate.risk_coverage import risk_coverage


def said(confidence, right):
    """Answers with these confidences."""
    zeros = np.zeros(len(confidence), dtype=np.int64)
    labels = 1 - np.asarray(right, dtype=np.int64)
    shares = np.asarray(confidence, dtype=np.float32)
    return Answers(labels, zeros, shares, shares, labels, zeros, zeros, classes=2)


def curve(right):
    """Risk of the first k, for all k."""
    wrong = [1 - value for value in right]
    return [sum(wrong[:k]) / k for k in range(1, len(wrong) + 1)]


def test_ties_are_means_over_all_orders():
    confidence = [0.9, 0.7, 0.7, 0.7, 0.5, 0.5, 0.8]
    right = [1, 0, 1, 1, 0, 1, 0]
    found = risk_coverage(said(confidence, right))
    allowed = [
        order
        for order in itertools.permutations(range(7))
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order))
    ]
    assert len(allowed) == 12
    risks = np.mean([curve([right[row] for row in order]) for order in allowed], axis=0)
    np.testing.assert_allclose(found.risk, risks)
    np.testing.assert_allclose(found.coverage, np.arange(1, 8) / 7)
    assert found.area == pytest.approx(np.mean(risks))
    best = min(
        np.mean(curve([right[row] for row in order])) for order in itertools.permutations(range(7))
    )
    assert found.excess == pytest.approx(found.area - best)


def test_of_many_rows_the_best_area_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    right, confidence = rng.random(20_000) < 0.7, rng.random(20_000)
    found = risk_coverage(said(confidence, right))
    risk = 1 - right.mean()
    assert found.area == pytest.approx(risk, abs=0.01)  # confidence that says nothing
    assert found.area - found.excess == pytest.approx(
        risk + (1 - risk) * math.log(1 - risk), abs=1e-4
    )
    ordered = risk_coverage(said(np.where(right, 0.9, 0.1) + rng.random(20_000) / 20, right))
    assert ordered.excess == 0


def test_accuracy_at_a_coverage():
    found = risk_coverage(said([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0]))
    assert found.accuracy_at(0.2) == 1
    assert found.accuracy_at(0.21) == 1  # two rows
    assert found.accuracy_at(0.6) == pytest.approx(2 / 3)  # three rows, though 0.6 is rounded
    assert found.accuracy_at(1.0) == pytest.approx(3 / 5)
    assert found.accuracy_at(1e-9) == 1
    for wrong in (0.0, 1.1, math.nan):
        with pytest.raises(DataError, match="coverage"):
            found.accuracy_at(wrong)


@pytest.mark.parametrize("rows", [3, 7, 10, 49, 100, 1000])
def test_every_coverage_finds_its_own_risk(rows):
    rng = np.random.default_rng(rows)
    found = risk_coverage(said(rng.random(rows), rng.random(rows) < 0.5))
    accuracy = [found.accuracy_at(coverage) for coverage in found.coverage]
    np.testing.assert_array_equal(accuracy, 1 - found.risk)


def test_rows_without_an_answer_come_last_and_are_wrong():
    logits = torch.tensor([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0], [4.0, 0.0]])
    answered = torch.tensor([True, True, True, False])
    found = risk_coverage(Answers.of(logits, torch.zeros(4).long(), answered))
    assert found.risk.tolist() == [0, 0, 0, 0.25]


def test_equal_answers_are_a_guess_at_any_coverage():
    found = risk_coverage(Answers.of(torch.zeros(6, 4), torch.zeros(6).long()))
    np.testing.assert_allclose(found.risk, 0.75)
    assert found.excess == 0


def test_one_row():
    found = risk_coverage(said([0.5], [0]))
    assert (found.risk.tolist(), found.area, found.excess) == ([1], 1, 0)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no test rows"):
        risk_coverage(said([0.5], [0]).rows(np.arange(0)))
