"""Probes against a plain nested cross-validation in float64."""

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics

from geocsp.data.splitters import RandomFolds, SpatialBlocks
from geocsp.errors import DataError, MissingExtraError
from geocsp.evaluate.probes import Folds, Head, Target, probe, probe_fold
from geocsp.evaluate.probes.heads import ALPHAS, NEIGHBOURS, scores_of
from geocsp.evaluate.probes.synthetic import random_field

KINDS = {
    "random": (RandomFolds(3, seed=1), RandomFolds(3, seed=2)),
    "blocks": (SpatialBlocks(20.0, 3, seed=1), SpatialBlocks(20.0, 3, seed=2)),
}


def places(count=160, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-180, 180, count), rng.uniform(-60, 60, count)], axis=1)


def example(is_number, seed=0):
    rng = np.random.default_rng(seed)
    lonlat = places(seed=seed)
    embedding = rng.standard_normal((len(lonlat), 4)) * [1, 100, 0.01, 1] + [0, 50, 0, -3]
    wave = embedding[:, 0] + 0.02 * embedding[:, 1] + 0.5 * rng.standard_normal(len(lonlat))
    if is_number:
        return embedding, Target("t", wave), lonlat
    classes = np.digitize(wave, [-0.5, 1.0, 2.0])
    return embedding, Target("t", classes, ("a", "b", "c", "d")), lonlat


def scaled(train, rows):
    return (rows - train.mean(axis=0)) / train.std(axis=0)


def ridge(train, values, rows, alpha, is_number):
    x, new = scaled(train, train), scaled(train, rows)
    classes = np.unique(values)
    y = values[:, None] if is_number else np.where(values[:, None] == classes, 1.0, -1.0)
    weight = np.linalg.inv(x.T @ x + alpha * np.eye(x.shape[1])) @ x.T @ (y - y.mean(axis=0))
    answers = new @ weight + y.mean(axis=0)
    return answers[:, 0] if is_number else classes[answers.argmax(axis=1)]


def knn(train, values, rows, count, is_number):
    x, new = scaled(train, train), scaled(train, rows)
    answers = []
    for row in new:
        near = values[np.argsort(np.square(x - row).sum(axis=1), kind="stable")[:count]]
        answers.append(near.mean() if is_number else np.bincount(near).argmax())
    return np.array(answers)


def score(truth, answers, is_number):
    return metrics.r2_score(truth, answers) if is_number else np.mean(truth == answers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_number", [True, False], ids=["number", "classes"])
@pytest.mark.parametrize("head", list(Head))
def test_a_probe_equals_a_plain_nested_cross_validation(head, is_number, kind):
    embedding, target, lonlat = example(is_number)
    outer, inner = KINDS[kind]
    found = probe(embedding, target, lonlat, outer=outer, inner=inner, head=head)
    fit, settings = (ridge, ALPHAS) if head is Head.RIDGE else (knn, NEIGHBOURS)
    values = target.values
    assert len(found.folds) == 3
    for (train, test), fold in zip(outer.split(lonlat), found.folds, strict=True):
        splits = [(train[a], train[b]) for a, b in inner.split(lonlat[train])]
        usable = [s for s in settings if head is Head.RIDGE or s <= min(len(a) for a, _ in splits)]
        means = [
            np.mean(
                [
                    score(
                        values[b],
                        fit(embedding[a], values[a], embedding[b], s, is_number),
                        is_number,
                    )
                    for a, b in splits
                ]
            )
            for s in usable
        ]
        best = usable[int(np.argmax(np.round(means, 12)))]
        answers = fit(embedding[train], values[train], embedding[test], best, is_number)
        assert fold.chosen == best
        assert (fold.train, fold.test) == (len(train), len(test))
        expected = score(values[test], answers, is_number)
        assert fold.scores["r2" if is_number else "accuracy"] == pytest.approx(expected, abs=1e-9)


def test_scores_of_classes_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, answers = rng.integers(0, 4, 60), rng.integers(0, 6, 60)
    found = scores_of(truth, answers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        balanced = metrics.balanced_accuracy_score(truth, answers)
    macro = metrics.f1_score(truth, answers, labels=np.unique(truth), average="macro")
    assert found == pytest.approx(
        {"accuracy": np.mean(truth == answers), "balanced_accuracy": balanced, "macro_f1": macro}
    )


def test_scores_of_numbers():
    truth, answers = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 3.0])
    found = scores_of(truth, answers, mean=0.0)
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, answers))
    assert found["skill"] == pytest.approx(1 - 2 / 21)
    assert found["mae"] == pytest.approx(2 / 3)
    assert scores_of(np.ones(3), np.ones(3), mean=1.0) == {"r2": 0.0, "skill": 0.0, "mae": 0.0}


def test_what_is_linear_is_known_and_noise_is_not():
    lonlat = places(400)
    rng = np.random.default_rng(0)
    embedding = rng.standard_normal((400, 6))
    outer, inner = KINDS["blocks"]
    linear = Target("t", embedding @ rng.standard_normal(6) + 5)
    exact = probe(embedding, linear, lonlat, outer=outer, inner=inner)
    assert exact.interval("r2").mean > 0.9999
    noise = Target("t", rng.standard_normal(400))
    for head in Head:
        nothing = probe(embedding, noise, lonlat, outer=outer, inner=inner, head=head)
        assert nothing.interval("r2").mean < 0.05
    coin = Target("t", rng.integers(0, 2, 400), ("a", "b"))
    guessed = probe(embedding, coin, lonlat, outer=outer, inner=inner)
    assert abs(guessed.interval("accuracy").mean - 0.5) < 0.1


def test_a_constant_embedding_knows_the_mean_or_the_most_frequent_class():
    lonlat = places(300)
    values = np.random.default_rng(0).choice([0, 0, 0, 1, 2], 300)
    outer, inner = KINDS["random"]
    target = Target("t", values, ("a", "b", "c"))
    found = probe(np.ones((300, 1)), target, lonlat, outer=outer, inner=inner)
    expected = [np.mean(values[test] == 0) for _, test in outer.split(lonlat)]
    assert found.values("accuracy") == pytest.approx(expected)
    assert found.interval("balanced_accuracy").mean == pytest.approx(1 / 3)
    number = Target("t", values.astype(float))
    found = probe(np.ones((300, 1)), number, lonlat, outer=outer, inner=inner)
    assert found.values("skill") == pytest.approx([0, 0, 0])


def test_random_folds_flatter_neighbours_of_a_smooth_field():
    lonlat = places(1500)
    target = Target("t", random_field(lonlat, degrees=13))
    scores = {}
    for kind in Folds:
        outer, inner = (kind.splitter(seed=s, count=4, degrees=30.0) for s in (0, 1))
        found = probe(lonlat, target, lonlat, outer=outer, inner=inner, head=Head.KNN)
        scores[kind] = found.interval("r2").mean
    assert scores[Folds.RANDOM] > scores[Folds.BLOCKS] + 0.2


def test_blocks_stay_whole_inside_and_outside():
    lonlat = places(500)
    outer, inner = (Folds.BLOCKS.splitter(seed=s, count=4, degrees=20.0) for s in (0, 1))
    block = np.floor((lonlat + np.array([180, 90])) / 20) @ [1, 100]
    for train, test in outer.split(lonlat):
        assert not set(block[train]) & set(block[test])
        for a, b in inner.split(lonlat[train]):
            assert not set(block[train][a]) & set(block[train][b])
    assert inner.fold_of(lonlat).tolist() != outer.fold_of(lonlat).tolist()


def test_rows_without_a_label_do_not_matter():
    embedding, target, lonlat = example(is_number=True)
    outer, inner = KINDS["random"]
    known = np.arange(len(lonlat)) % 4 > 0
    values = np.where(known, target.values, np.nan)
    some = probe(embedding, Target("t", values), lonlat, outer=outer, inner=inner)
    only = Target("t", target.values[known])
    same = probe(embedding[known], only, lonlat[known], outer=outer, inner=inner)
    assert some == same
    splits = list(outer.split(lonlat))
    by_fold = [
        probe_fold(embedding, Target("t", values), lonlat, *split, inner=inner) for split in splits
    ]
    assert tuple(by_fold) == some.folds


def test_scale_and_shift_of_an_embedding_do_not_matter():
    embedding, target, lonlat = example(is_number=False)
    outer, inner = KINDS["random"]
    for head in Head:
        one, other = (
            probe(e, target, lonlat, outer=outer, inner=inner, head=head)
            for e in (embedding, embedding * [1e3, 1e-3, 7, 1] + 10)
        )
        assert one == other


def test_the_same_input_gives_the_same_numbers():
    embedding, target, lonlat = example(is_number=True)
    outer, inner = KINDS["blocks"]
    first, second = (
        probe(embedding, target, lonlat, outer=outer, inner=inner, head=Head.KNN) for _ in range(2)
    )
    assert first == second


def test_a_class_of_one_row_is_no_obstacle():
    embedding, target, lonlat = example(is_number=False)
    values = target.values.copy()
    values[0] = 4
    rare = Target("t", values, (*target.class_names, "rare"))
    outer, inner = KINDS["random"]
    for head in Head:
        found = probe(embedding, rare, lonlat, outer=outer, inner=inner, head=head)
        assert all(math.isfinite(v) for m in found.metrics for v in found.values(m))


def test_the_interval_is_over_the_folds():
    embedding, target, lonlat = example(is_number=True)
    outer, inner = KINDS["random"]
    found = probe(embedding, target, lonlat, outer=outer, inner=inner)
    assert found.metrics == ("r2", "skill", "mae")
    assert found.interval("mae").mean == pytest.approx(np.mean(found.values("mae")))
    assert found.interval("mae").count == 3


def test_a_setting_at_the_edge_is_told():
    lonlat = places(400)
    rng = np.random.default_rng(1)
    outer, inner = KINDS["random"]
    signal = rng.standard_normal((400, 3))
    exact = Target("t", signal.sum(axis=1))
    assert probe(signal, exact, lonlat, outer=outer, inner=inner).at_edge  # no penalty is best
    noisy = Target("t", signal[:, 0] + rng.standard_normal(400))
    wide = np.concatenate([signal, rng.standard_normal((400, 60))], axis=1)
    assert not probe(wide, noisy, lonlat, outer=outer, inner=inner).at_edge


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, t, x: (e[:-1], t, x), r"got \(159, 4\), 160 places and 160 labels"),
        (lambda e, t, x: (e, t, x[:-1]), "159 places"),
        (lambda e, t, x: (e[:, 0], t, x), r"got \(160,\)"),
        (lambda e, t, x: (np.where(np.arange(160)[:, None] == 7, np.nan, e), t, x), "of row 7 is"),
        (lambda e, t, x: (e, t, np.where(np.arange(160)[:, None] == 3, 91, x)), "row 3"),
        (lambda e, t, x: (e, Target("t", np.full(160, 2.0)), x), "two different values"),
        (lambda e, t, x: (e, Target("t", np.full(160, np.nan)), x), "known of 0 of 160 places"),
        (lambda e, t, x: (e[:49], Target("t", t.values[:49]), x[:49]), "known of 49 of 49"),
    ],
)
def test_input_that_cannot_be_probed_is_refused(change, message):
    outer, inner = KINDS["random"]
    embedding, target, lonlat = change(*example(is_number=True))
    with pytest.raises(DataError, match=message):
        probe(embedding, target, lonlat, outer=outer, inner=inner)


def test_folds_that_are_empty_are_refused():
    embedding, target, _ = example(is_number=True)
    here = places() / 1000 + 1
    outer, inner = KINDS["blocks"]
    with pytest.raises(DataError, match="is empty"):
        probe(embedding, target, here, outer=outer, inner=inner)


def test_a_fold_of_one_class_is_refused():
    embedding, _, lonlat = example(is_number=False)
    _, inner = KINDS["random"]
    train, test = np.arange(100), np.arange(100, 160)
    target = Target("t", (np.arange(160) >= 100).astype(int), ("a", "b"))
    with pytest.raises(DataError, match="fewer than two values in 100 training rows"):
        probe_fold(embedding, target, lonlat, train, test, inner=inner)
    unknown = Target("t", np.where(np.arange(160) >= 100, -1, np.arange(160) % 2), ("a", "b"))
    with pytest.raises(DataError, match="no test row has a t"):
        probe_fold(embedding, unknown, lonlat, train, test, inner=inner)


def test_scikit_learn_is_asked_for(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    embedding, target, lonlat = example(is_number=True)
    outer, inner = KINDS["random"]
    with pytest.raises(MissingExtraError, match=r"scikit-learn.*geocsp\[evaluate\]"):
        probe(embedding, target, lonlat, outer=outer, inner=inner)
