import itertools

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers
from geocsp.evaluate.reliability import Bins, reliability


def drawn(rows=500, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, classes, generator=generator).double()
    return Answers.of(logits, torch.randint(classes, (rows,), generator=generator))


def said(confidence, right):
    """Answers with these confidences."""
    count = np.zeros(len(confidence), dtype=np.int64)
    labels = 1 - np.asarray(right, dtype=np.int64)
    shares = np.asarray(confidence, dtype=np.float32)
    return Answers(labels, count, shares, shares, labels, count, count, classes=2)


def slow(answers, edges):
    """Count, mean confidence and accuracy of every bin."""
    found = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        last = number == len(edges) - 2
        rows = [
            row
            for row, value in enumerate(answers.confidence.tolist())
            if low <= value and (value < high or last)
        ]
        hits = [float(answers.labels[row] == answers.predicted[row]) for row in rows]
        mean = np.mean(answers.confidence[rows].astype(float)) if rows else np.nan
        found.append((len(rows), mean, np.mean(hits) if rows else np.nan))
    return [np.array(column) for column in zip(*found, strict=True)]


@pytest.mark.parametrize("kind", list(Bins))
@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_as_a_slow_loop_finds(kind, bins):
    answers = drawn()
    found = reliability(answers, bins, kind)
    count, confidence, accuracy = slow(answers, found.edges)
    assert len(found.count) == bins
    assert np.array_equal(found.count, count)
    np.testing.assert_allclose(found.confidence, confidence)
    np.testing.assert_allclose(found.accuracy, accuracy)
    gaps = np.nan_to_num(np.abs(confidence - accuracy))
    assert found.ece == pytest.approx((gaps * count).sum() / 500)
    assert found.max_error == pytest.approx(gaps.max())


@pytest.mark.parametrize("bins", [3, 15])
def test_errors_as_torchmetrics_finds(bins):
    answers = drawn()
    arguments = torch.from_numpy(answers.confidence), torch.from_numpy(answers.hits(1)).long()
    found = reliability(answers, bins)
    for norm, value in (("l1", found.ece), ("max", found.max_error)):
        expected = binary_calibration_error(*arguments, n_bins=bins, norm=norm)
        assert value == pytest.approx(float(expected), abs=1e-6)


def test_edges():
    wide = reliability(drawn(), 4)
    assert wide.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert wide.count[0] > 0 or np.isnan(wide.accuracy[0])
    even = reliability(drawn(), 4, Bins.MASS)
    assert even.count.tolist() == [125] * 4
    assert np.all(np.diff(even.confidence) > 0)


def test_an_edge_belongs_to_the_bin_above_and_one_to_the_last():
    found = reliability(said([0.25, 0.5, 0.75, 1.0, 1.0], [1, 1, 0, 0, 1]), 4)
    assert found.count.tolist() == [0, 1, 1, 3]
    assert np.isnan(found.accuracy[0])
    assert np.isnan(found.confidence[0])
    assert found.accuracy[3] == pytest.approx(1 / 3)
    assert found.gaps == pytest.approx([0, 0.75, 0.5, 2.75 / 3 - 1 / 3])


def test_equal_confidences_stay_together():
    answers = said([0.6] * 7 + [0.9], [1, 0, 1, 0, 1, 0, 1, 1])
    found = reliability(answers, 4, Bins.MASS)
    assert found.count.tolist() == [8]
    assert reliability(said([0.6] * 8, [1] * 8), 4, Bins.MASS).count.tolist() == [8]


def test_equal_classes_are_calibrated():
    answers = Answers.of(torch.zeros(9, 4), torch.zeros(9).long())
    for kind in Bins:
        assert reliability(answers, 5, kind).ece == pytest.approx(0, abs=1e-7)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="0 rows"):
        reliability(drawn().rows(np.arange(0)))
    with pytest.raises(DataError, match="0 bins"):
        reliability(drawn(), 0)
