import math

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_f1_score,
    multiclass_recall,
)
from torchmetrics.functional.retrieval import retrieval_reciprocal_rank

from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers, Ties
from geocsp.evaluate.classification import METRICS, classification_metrics, per_class


def drawn(rows=300, classes=12, seed=0, occurring=None):
    """Logits that are right more often than chance, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(occurring or classes, (rows,), generator=generator)
    logits = torch.randn(rows, classes, generator=generator).double()
    logits[torch.arange(rows), labels] += 1.0
    return logits, labels


def test_as_torchmetrics_finds():
    logits, labels = drawn()
    found = classification_metrics(Answers.of(logits, labels))
    assert tuple(found) == METRICS
    assert {type(value) for value in found.values()} == {float}
    for count in (1, 3, 5, 10):
        expected = multiclass_accuracy(logits, labels, 12, top_k=count, average="micro")
        assert found[f"top{count}"] == pytest.approx(float(expected))
    predicted = logits.argmax(1)
    assert found["macro_f1"] == pytest.approx(
        float(multiclass_f1_score(predicted, labels, 12, average="macro"))
    )
    assert found["balanced_accuracy"] == pytest.approx(
        float(multiclass_recall(predicted, labels, 12, average="macro"))
    )
    assert found["ece"] == pytest.approx(
        float(multiclass_calibration_error(logits.softmax(1), labels, 12, n_bins=15)), abs=1e-6
    )
    assert found["nll"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)))
    ranks = [
        float(retrieval_reciprocal_rank(row, torch.arange(12) == label))
        for row, label in zip(
            logits.softmax(1), labels, strict=True
        )  # above 0, or it is not ranked
    ]
    assert found["mrr"] == pytest.approx(np.mean(ranks))


def test_classes_that_do_not_occur():
    logits, labels = drawn(occurring=7)
    logits[:, 10:] = -20.0  # neither occur nor are predicted; 7 to 9 are predicted
    found = classification_metrics(Answers.of(logits, labels))
    predicted = logits.argmax(1)
    assert set(predicted.tolist()) == set(range(10))
    f1 = multiclass_f1_score(predicted, labels, 12, average="none")
    assert found["macro_f1"] == pytest.approx(float(f1[:10].mean()))
    assert found["macro_f1"] == pytest.approx(
        float(multiclass_f1_score(predicted, labels, 12, average="macro"))
    )
    recall = multiclass_recall(predicted, labels, 12, average="none")
    assert found["balanced_accuracy"] == pytest.approx(float(recall[:7].mean()))


def test_per_class_as_scikit_learn_finds():
    logits, labels = drawn(occurring=9)
    logits[:, 11] = -20.0
    found = per_class(Answers.of(logits, labels))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, logits.argmax(1), labels=range(12), zero_division=np.nan
    )
    assert np.array_equal(found.support, support)
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.f1, f1)
    assert np.isnan(found.f1).tolist() == [False] * 11 + [True]
    for c in range(9):
        own = logits.softmax(1)[labels == c, c]
        assert found.truth[c] == pytest.approx(float(own.mean()))
    assert np.isnan(found.truth[9:]).all()


def test_all_equal_is_worth_a_guess():
    labels = torch.arange(8).repeat(3)
    answers = Answers.of(torch.zeros(24, 8), labels)
    found = classification_metrics(answers)
    assert found["top1"] == pytest.approx(1 / 8)
    assert found["top5"] == pytest.approx(5 / 8)
    assert found["top10"] == 1
    assert found["mrr"] == pytest.approx(1 / 4.5)
    assert found["nll"] == pytest.approx(math.log(8))
    assert found["ece"] == pytest.approx(0, abs=1e-7)
    assert found["balanced_accuracy"] == pytest.approx(1 / 8)  # the first class is predicted
    assert found["macro_f1"] == pytest.approx(2 * 3 / (3 + 24) / 8)
    assert classification_metrics(answers, Ties.OPTIMISTIC)["top1"] == 1
    assert classification_metrics(answers, Ties.PESSIMISTIC)["mrr"] == pytest.approx(1 / 8)
    assert classification_metrics(answers, Ties.LEGACY)["top3"] == pytest.approx(3 / 8)


def test_rows_without_an_answer_count_as_wrong():
    logits, labels = drawn(rows=200, classes=4)
    answered = torch.arange(200) % 5 > 0
    some = classification_metrics(Answers.of(logits, labels, answered))
    rest = classification_metrics(Answers.of(logits[answered], labels[answered]))
    for name in ("top1", "top3", "top5", "top10", "mrr"):
        assert some[name] == pytest.approx(0.8 * rest[name])
    assert rest["top5"] == rest["top10"] == 1
    assert some["nll"] == pytest.approx(0.8 * rest["nll"] + 0.2 * math.log(4))
    found = per_class(Answers.of(logits, labels, answered))
    predicted = torch.where(answered, logits.argmax(1), 4)  # a class that is no row's
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(4)
    )
    assert np.array_equal(found.support, support)
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.f1, f1)
    assert some["macro_f1"] == pytest.approx(f1.mean())
    assert some["balanced_accuracy"] == pytest.approx(recall.mean())


def test_no_answers_at_all():
    logits, labels = drawn(rows=20, classes=4)
    found = classification_metrics(Answers.of(logits, labels, torch.zeros(20, dtype=torch.bool)))
    assert found.pop("nll") == pytest.approx(math.log(4))
    assert found.pop("ece") == pytest.approx(0.25)
    assert set(found.values()) == {0}


def test_one_row_and_one_class():
    found = classification_metrics(Answers.of(torch.zeros(1, 1), torch.zeros(1).long()))
    assert (found.pop("nll"), found.pop("ece")) == (0, 0)
    assert set(found.values()) == {1}


def test_an_impossible_truth_has_a_finite_loss():
    logits = torch.tensor([[0.0, -math.inf], [0.0, 0.0]])
    found = classification_metrics(Answers.of(logits, torch.tensor([1, 1])))
    smallest = -math.log(torch.finfo(torch.float32).tiny)
    assert found["nll"] == pytest.approx((smallest + math.log(2)) / 2)


def test_no_rows_are_refused():
    answers = Answers.of(*drawn()).rows(np.arange(0))
    with pytest.raises(DataError, match="no test rows"):
        classification_metrics(answers)
