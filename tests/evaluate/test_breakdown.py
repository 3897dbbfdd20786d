import numpy as np
import pytest
import torch
from scipy import stats

from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers
from geocsp.evaluate.breakdown import EDGES_KM, by_confidence, by_distance, by_group, wilson


def drawn(rows=200, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    logits = torch.randn(rows, classes, generator=generator)
    logits[torch.arange(rows), labels] += 1.0
    return Answers.of(logits, labels)


def check(found, answers, rows, name):
    """A slice is about these rows."""
    right = answers.labels[rows] == answers.predicted[rows]
    interval = stats.binomtest(int(right.sum()), len(rows)).proportion_ci(method="wilson")
    assert found.name == name
    assert found.count == len(rows)
    assert found.top1 == pytest.approx(right.mean())
    assert (found.low, found.high) == pytest.approx(tuple(interval))
    assert found.confidence == pytest.approx(answers.confidence[rows].mean())


def test_groups_come_in_order_and_rows_without_a_place_last():
    answers, rng = drawn(), np.random.default_rng(0)
    groups = rng.choice([-1, 0, 1, 3], size=200)
    found = by_group(answers, groups, ["here", "there", "nowhere", "far"])
    for slice_, (group, name) in zip(
        found, [(0, "here"), (1, "there"), (3, "far"), (-1, "no place")], strict=True
    ):
        check(slice_, answers, np.flatnonzero(groups == group), name)


def test_distances():
    answers = drawn(rows=10)
    km = np.array([0, 24.9, 25, 60, 60, np.nan, 3000, 2500, np.nan, 10], dtype=np.float32)
    found = by_distance(answers, km)
    expected = {
        "0 to 25 km": [0, 1, 9],
        "25 to 50 km": [2],
        "50 to 100 km": [3, 4],
        "over 2500 km": [6, 7],
        "no place": [5, 8],
    }
    assert EDGES_KM[:4] == (0, 25, 50, 100)
    for slice_, (name, rows) in zip(found, expected.items(), strict=True):
        check(slice_, answers, np.array(rows), name)


def test_own_edges():
    found = by_distance(drawn(rows=3), np.array([0.0, 1.5, 7.0]), edges=(0.0, 1.5))
    assert [(one.name, one.count) for one in found] == [("0 to 1.5 km", 1), ("over 1.5 km", 2)]
    (found,) = by_distance(drawn(rows=3), np.array([0.0, 1.5, 7.0]), edges=(0.0,))
    assert (found.name, found.count) == ("over 0 km", 3)


def test_confidence_of_another_model():
    answers = drawn()
    confidence = np.random.default_rng(1).random(200).astype(np.float32)
    found = by_confidence(answers, confidence, bins=4)
    order = np.argsort(confidence)
    for number, slice_ in enumerate(found):
        rows = order[50 * number : 50 * (number + 1)]
        check(slice_, answers, rows, slice_.name)
    assert found[0].name.startswith(f"{confidence.min():.2f} to ")
    assert found[3].name.endswith(f" to {confidence.max():.2f}")


def test_equal_confidences_stay_together():
    answers = drawn(rows=8)
    assert [one.count for one in by_confidence(answers, np.full(8, 0.5))] == [8]
    found = by_confidence(answers, np.array([0.5] * 6 + [0.1, 0.9]), bins=2)
    assert [(one.name, one.count) for one in found] == [("0.10 to 0.50", 1), ("0.50 to 0.90", 7)]


def test_images_of_several_runs_count_once():
    answers = drawn(rows=60)
    groups, images = np.arange(60) % 2, np.arange(60) % 20
    found = by_group(answers, groups, ["even", "odd"], images)
    for group, slice_ in enumerate(found):
        rows = np.flatnonzero(groups == group)
        assert slice_.count == 10
        assert slice_.top1 == pytest.approx(answers.hits(1)[rows].mean())
        assert (slice_.low, slice_.high) == wilson(slice_.top1, 10)
    alone = by_group(answers, groups, ["even", "odd"], np.arange(60))
    assert alone == by_group(answers, groups, ["even", "odd"])


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (1, 1), (0, 1), (37, 90)])
def test_wilson_as_scipy_finds(right, count):
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(right / count, count) == pytest.approx(tuple(expected), abs=1e-12)


def test_no_rows_have_no_slices():
    none = drawn().rows(np.arange(0))
    assert by_group(none, np.zeros(0, dtype=np.int64), ["here"]) == ()
    assert by_distance(none, np.zeros(0)) == ()
    assert by_confidence(none, np.zeros(0)) == ()


def test_bad_input_is_refused():
    answers = drawn(rows=3)
    with pytest.raises(DataError, match=r"group of row 1 is 2, not in -1\.\.1"):
        by_group(answers, np.array([0, 2, 1]), ["a", "b"])
    with pytest.raises(DataError, match="group of row 0 is -2"):
        by_group(answers, np.array([-2, 1, 1]), ["a", "b"])
    with pytest.raises(DataError, match=r"groups must be \(3,\)"):
        by_group(answers, np.array([0, 1]), ["a", "b"])
    with pytest.raises(DataError, match=r"images must be \(3,\)"):
        by_group(answers, np.array([0, 1, 1]), ["a", "b"], np.arange(2))
    with pytest.raises(DataError, match="km of row 2 is -1"):
        by_distance(answers, np.array([0.0, np.nan, -1.0]))
    for edges in ((), (1.0, 2.0), (0.0, 5.0, 5.0)):
        with pytest.raises(DataError, match="edges must increase from 0"):
            by_distance(answers, np.zeros(3), edges)
    with pytest.raises(DataError, match="nan in row 1"):
        by_confidence(answers, np.array([0.0, np.nan, 1.0]))
    with pytest.raises(DataError, match=r"1\.5 in row 2"):
        by_confidence(answers, np.array([0.0, 1.0, 1.5]))
    with pytest.raises(DataError, match="got 0"):
        by_confidence(answers, np.zeros(3), bins=0)
