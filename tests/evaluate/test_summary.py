import itertools
import math

import numpy as np
import pytest
from scipy import stats
from synthetic_results import ROWS, SyntheticRow, write_results

from geocsp.evaluate import Measure, Regime, Shot
from geocsp.evaluate.classification import METRICS, classification_metrics
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.significance import RunValues, compare
from geocsp.evaluate.summary import ALPHA, summarise

TABLE = (
    *ROWS,
    SyntheticRow("best", "best (ours)", Regime.TRANSDUCTIVE, place=1.9),
    SyntheticRow("csp-mc-bld", "CSP-MC-BLD", Regime.TRANSDUCTIVE, place=1.3),
    SyntheticRow("knn", "kNN", Regime.NONE, place=0.9),
)
SETTINGS = EvaluateSettings(
    rows=tuple({row.name: None for row in TABLE}),
    shots=(Shot(per_class=3), Shot(ratio=0.05)),
    references=("image", "sup-grid", "csp-mc-bld", "best", "nobody"),
    draws=200,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("summary") / "run"
    return write_results(folder, rows=TABLE, shots=("3 per class", "5 %"))


@pytest.fixture(scope="module")
def metrics(results):
    return [
        {m: classification_metrics(results.answers(run, m)) for m in run.measures}
        for run in results.runs
    ]


@pytest.fixture(scope="module")
def summary(results, metrics):
    return summarise(results, metrics, SETTINGS)


def runs_of(results, shot, row, regime):
    return {
        (run.fold, run.seed): (number, run)
        for number, run in enumerate(results.runs)
        if (run.shot, run.row, run.regime) == (shot, row, regime)
    }


def test_there_is_a_cell_for_every_row_shot_and_regime(summary):
    table, _ = summary
    keys = [(cell["task"], cell["shot"], cell["row"], cell["regime"]) for cell in table]
    expected = {
        ("landcover", shot, row.name, row.regime)
        for shot in ("3 per class", "5 %")
        for row in TABLE
    }
    assert len(keys) == len(expected)
    assert set(keys) == expected


def test_cells_are_means_with_students_interval(results, metrics, summary):
    for cell in summary[0]:
        runs = runs_of(results, cell["shot"], cell["row"], cell["regime"]).values()
        assert len(runs) == 4
        for name in ("labels", "parameters", "seconds", "pretrain_seconds"):
            values = [getattr(run, name) for _, run in runs]
            assert cell[name] == pytest.approx(sum(values) / 4)
        for measure in Measure:
            if measure not in next(iter(runs))[1].measures:
                assert measure not in cell
                continue
            assert set(cell[measure]) == set(METRICS)
            for metric in METRICS:
                values = [metrics[number][measure][metric] for number, _ in runs]
                mean = sum(values) / 4
                spread = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
                half = stats.t.ppf(0.975, 3) * spread / 2
                found = cell[measure][metric]
                assert found["mean"] == pytest.approx(mean)
                assert (found["low"], found["high"]) == pytest.approx((mean - half, mean + half))
                assert found["runs"] == 4


def reference(row, regime):
    """The regime that a reference is compared in, None if there is nothing to compare."""
    there = {(r.name, r.regime) for r in TABLE}
    order = (regime, Regime.NONE, Regime.INDUCTIVE)
    return next((kind for kind in order if (row, kind) in there), None)


def expected_pairs():
    for shot in ("3 per class", "5 %"):
        for row in TABLE:
            for other in SETTINGS.references:
                kind = reference(other, row.regime)
                if kind is None or other == row.name:
                    continue
                theirs = next(r for r in TABLE if (r.name, r.regime) == (other, kind)).measures
                for measure in row.measures:
                    against = Measure.IMAGE if set(theirs) == {Measure.IMAGE} else measure
                    if against in theirs:
                        yield shot, row.name, row.regime, measure, other, against, kind
            for measure in row.measures:
                if measure in (Measure.PRODUCT, Measure.FUSED, Measure.GUARDED):
                    yield shot, row.name, row.regime, measure, row.name, Measure.IMAGE, row.regime


def test_comparisons_are_those_of_plain_pairs(results, summary):
    found = {
        (c["shot"], c["first"], c["regime"], c["measure"], c["second"], c["against"]): c
        for c in summary[1]
    }
    expected = list(expected_pairs())
    assert len(found) == len(summary[1]) == len(expected)
    for *key, kind in expected:
        shot, row, regime, measure, other, against = key
        cell = found[tuple(key)]
        first, second = runs_of(results, shot, row, regime), runs_of(results, shot, other, kind)
        means, values = {}, []
        for (fold, seed), (_, run) in first.items():
            right = [
                results.answers(of, which).hits(1)
                for of, which in ((run, measure), (second[fold, seed][1], against))
            ]
            difference = right[0] - right[1]
            means.setdefault(fold, []).append(difference.mean())
            block = results.block[results.test_rows(run)]
            values.append(RunValues(difference, block, fold=fold, seed=seed))
        by_fold = [np.mean(each) for each in means.values()]
        assert cell["difference"] == pytest.approx(np.mean(by_fold))
        assert (cell["folds_won"], cell["folds"]) == (sum(m > 0 for m in by_fold), 2)
        plain = compare(values, draws=200)
        assert (cell["low"], cell["high"], cell["p"]) == (plain.low, plain.high, plain.p)


def test_each_regime_is_compared_with_its_own_and_else_with_what_there_is(summary):
    cells = [c for c in summary[1] if c["measure"] == "fused" and c["shot"] == "5 %"]

    def difference(first, regime, second):
        (cell,) = [
            c
            for c in cells
            if (c["first"], c["regime"], c["second"]) == (first, regime, second)
            and c["against"] == "fused"
        ]
        return cell["difference"]

    table = {
        (c["row"], c["regime"]): c["fused"]["top1"]["mean"]
        for c in summary[0]
        if c["shot"] == "5 %" and "fused" in c
    }
    pairs = [
        (("best", "transductive"), ("csp-mc-bld", "transductive")),
        (("best", "inductive"), ("csp-mc-bld", "inductive")),
        (("best", "transductive"), ("sup-grid", "none")),
        (("knn", "none"), ("best", "inductive")),
    ]
    for first, second in pairs:
        assert difference(*first, second[0]) == pytest.approx(
            table[first] - table[second], abs=0.01
        )


def holm_by_hand(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, highest = [0.0] * len(values), 0.0
    for rank, number in enumerate(order):
        highest = max(highest, min(1.0, values[number] * (len(values) - rank)))
        corrected[number] = highest
    return corrected


def test_p_is_corrected_over_rows_and_shots_of_each_family(summary):
    def family(cell):
        own = cell["first"] == cell["second"]
        with_what = "own image" if own else cell["second"]
        return cell["task"], cell["measure"], cell["regime"], with_what

    cells = sorted(summary[1], key=lambda cell: tuple(map(str, family(cell))))
    sizes = {}
    for key, members in itertools.groupby(cells, key=family):
        members = list(members)
        sizes[key] = len(members)
        corrected = holm_by_hand([cell["p"] for cell in members])
        for cell, p in zip(members, corrected, strict=True):
            assert cell["p_corrected"] == pytest.approx(p)
            assert cell["significant"] == (p < ALPHA)
    assert sizes["landcover", "fused", "inductive", "own image"] == 2 * 2
    assert sizes["landcover", "fused", "none", "best"] == 2 * 2
    assert sizes["landcover", "image", "inductive", "image"] == 2 * 2
    assert {cell["significant"] for cell in cells} == {True, False}
    assert any(cell["p"] < cell["p_corrected"] for cell in cells)


def test_answers_are_read_once_for_each_measure(results, metrics, monkeypatch):
    read = []
    real = type(results).answers

    def spy(self, run, measure):
        read.append((run, measure))
        return real(self, run, measure)

    monkeypatch.setattr(type(results), "answers", spy)
    summarise(results, metrics, SETTINGS)
    keys = [(run.file, run.shot, measure) for run, measure in read]
    assert len(keys) == len(set(keys))


def test_one_run_has_no_interval(tmp_path):
    single = write_results(
        tmp_path / "run", rows=ROWS, shots=("5 %",), folds=("1",), seeds=(0,), points=60
    )
    metrics = [
        {m: classification_metrics(single.answers(run, m)) for m in run.measures}
        for run in single.runs
    ]
    table, comparisons = summarise(single, metrics, SETTINGS)
    for cell in table:
        found = cell["image"]["top1"]
        assert found["low"] == found["mean"] == found["high"]
        assert found["runs"] == 1
    assert all(c["folds"] == 1 for c in comparisons)
    assert all(math.isfinite(c[name]) for c in comparisons for name in ("low", "high", "p"))
