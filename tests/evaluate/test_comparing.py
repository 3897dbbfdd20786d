import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats
from synthetic_results import ROWS, SyntheticRow, write_results

from geocsp.evaluate.comparing import ABSENT, Change, changes, compare_runs
from geocsp.evaluate.results import Measure, Regime, Results
from geocsp.evaluate.significance import holm

SHOTS = ("5 %",)
BETTER = (*ROWS[:3], SyntheticRow("best", "best (ours)", place=2.4))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return write_results(root / "a", shots=SHOTS), write_results(
        root / "b", rows=BETTER, shots=SHOTS
    )


def cell(found, **keys):
    (one,) = [d for d in found.differences if all(getattr(d, k) == v for k, v in keys.items())]
    return one


def accuracy(results, measure, fold=None, seed=None):
    runs = [
        run
        for run in results.runs
        if (run.shot, run.row) == ("5 %", "best")
        and fold in (None, run.fold)
        and seed in (None, run.seed)
    ]
    return [float(results.answers(run, measure).hits(1).mean()) for run in runs]


def test_a_folder_does_not_differ_from_itself(folders):
    first, _ = folders
    found = compare_runs(first, Results.read(first.folder))
    assert found.changes == found.only_first == found.only_second == found.notes == ()
    assert len(found.differences) == 1 + 4 + 4 + 4
    for one in found.differences:
        assert one.paired
        assert one.difference == 0.0
        assert one.p_corrected == 1.0
        assert not one.significant


def test_what_was_changed_is_named_and_what_became_of_it(folders):
    first, second = folders
    found = compare_runs(first, second, [Measure.LOCATION, Measure.FUSED])
    assert found.changes == (Change("rows.best.place", 1.6, 2.4),)
    assert len(found.differences) == 3 * 2
    one = cell(found, shot="5 %", row="best", measure=Measure.FUSED)
    before, after = (
        np.mean([np.mean(accuracy(r, Measure.FUSED, fold)) for fold in ("1", "2")])
        for r in (first, second)
    )
    assert (one.before, one.after) == pytest.approx((before, after))
    assert one.difference == pytest.approx(after - before)
    assert one.low < one.difference < one.high
    assert one.paired
    assert one.runs == (4, 4)
    assert one.low > 0
    assert one.significant
    unchanged = cell(found, shot="5 %", row="csp-mc-bld", measure=Measure.FUSED)
    assert unchanged.difference == 0
    assert not unchanged.significant


def test_p_is_corrected_over_all_that_is_compared(folders):
    found = compare_runs(*folders)
    p = [one.p for one in found.differences]
    assert [one.p_corrected for one in found.differences] == pytest.approx(list(holm(p)))
    assert any(one.p_corrected > one.p for one in found.differences)
    for one in found.differences:
        assert one.significant == (one.p_corrected < 0.05)


def test_a_change_for_the_worse_has_the_other_sign(folders):
    first, second = folders
    there, back = compare_runs(first, second), compare_runs(second, first)
    for one, other in zip(there.differences, back.differences, strict=True):
        assert other.difference == -one.difference
        assert (other.before, other.after) == (one.after, one.before)
        assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


def test_pairs_are_sharper_than_means(folders, tmp_path):
    first, second = folders
    other = write_results(tmp_path / "other", rows=BETTER, shots=SHOTS, fingerprint="other")
    paired = compare_runs(first, second)
    found = compare_runs(first, other)
    assert [change.path for change in found.changes] == ["data.fingerprint", "rows.best.place"]
    assert found.notes[0].startswith("The data differ")
    keys = {"shot": "5 %", "row": "best", "measure": Measure.LOCATION}
    sharp, blunt = cell(paired, **keys), cell(found, **keys)
    assert not blunt.paired
    before, after = (accuracy(r, Measure.LOCATION) for r in (first, other))
    test = stats.ttest_ind(after, before, equal_var=False)
    assert blunt.p == pytest.approx(test.pvalue)
    assert (blunt.low, blunt.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert blunt.difference == pytest.approx(sharp.difference)


def test_only_the_runs_that_both_have_are_paired(folders, tmp_path):
    first, _ = folders
    fewer = write_results(tmp_path / "fewer", rows=BETTER, shots=SHOTS, seeds=(0,))
    found = compare_runs(first, fewer)
    one = cell(found, shot="5 %", row="best", measure=Measure.IMAGE)
    assert one.paired
    assert one.runs == (2, 2)
    wanted = np.mean([accuracy(first, Measure.IMAGE, f, 0)[0] for f in ("1", "2")])
    assert one.before == pytest.approx(wanted)
    assert one.after == pytest.approx(np.mean(accuracy(fewer, Measure.IMAGE)))


def test_single_runs_without_a_pair_are_not_tested(tmp_path):
    first = write_results(tmp_path / "a", shots=SHOTS, folds=("1",), seeds=(0,))
    second = write_results(tmp_path / "b", shots=SHOTS, folds=("1",), seeds=(1,))
    found = compare_runs(first, second)
    assert "13 of 13 differences are unpaired" in found.notes[0]
    for one in found.differences:
        assert one.p is one.low is one.high is one.p_corrected is None
        assert not one.significant
        assert not one.paired


def test_other_test_rows_are_not_paired(folders, tmp_path):
    first, _ = folders
    other = write_results(tmp_path / "other", shots=SHOTS, folds=("2", "1"))
    found = compare_runs(first, other, [Measure.FUSED])
    assert not any(one.paired for one in found.differences)
    assert found.notes == (
        "3 of 3 differences are unpaired, because folds, seeds or test rows differ.",
    )


def test_other_classes_are_not_compared(folders, tmp_path):
    first, _ = folders
    classes = ("forest", "grassland", "cropland", "desert", "ice")
    other = write_results(tmp_path / "other", shots=SHOTS, tasks=(("landcover", classes),))
    found = compare_runs(first, other)
    assert found.differences == ()
    assert found.notes == ("Task landcover has other classes in each folder and is not compared.",)
    (change,) = found.changes
    assert change.path == "data.tasks.landcover"


def test_what_only_one_has_is_listed(folders, tmp_path):
    first, _ = folders
    rows = (*ROWS[:3], SyntheticRow("mse", "MSE"))
    other = write_results(tmp_path / "other", rows=rows, shots=("5 %", "10 %"))
    found = compare_runs(first, other, [Measure.IMAGE])
    assert found.only_first == ("row best",)
    assert found.only_second == (
        "row mse",
        "image (landcover, 10 %, none)",
        "sup-grid (landcover, 10 %, none)",
        "csp-mc-bld (landcover, 10 %, inductive)",
    )
    assert {one.shot for one in found.differences} == {"5 %"}


def test_regimes_are_not_mixed(tmp_path):
    rows = (SyntheticRow("best", "best"), SyntheticRow("best", "best", Regime.TRANSDUCTIVE, 2.0))
    first = write_results(tmp_path / "a", rows=rows, shots=SHOTS)
    found = compare_runs(first, first, [Measure.LOCATION])
    assert [one.regime for one in found.differences] == ["inductive", "transductive"]


def test_the_comparison_can_be_kept_as_json(folders):
    text = json.dumps(asdict(compare_runs(*folders, [Measure.FUSED])), allow_nan=False)
    assert json.loads(text)["changes"] == [{"path": "rows.best.place", "before": 1.6, "after": 2.4}]


def test_changes_name_the_deepest_value_that_differs():
    before = {
        "a": {"b": 1, "c": [1, 2]},
        "gone": 1,
        "shots": [{"n": 1}, {"n": 3}],
        "same": {"x": 0},
    }
    after = {
        "a": {"b": 1, "c": [1]},
        "new": {"k": 2},
        "shots": [{"n": 1}, {"n": 5}],
        "same": {"x": 0},
    }
    assert list(changes(before, after)) == [
        Change("a.c", [1, 2], [1]),
        Change("gone", 1, ABSENT),
        Change("shots[1].n", 3, 5),
        Change("new", ABSENT, {"k": 2}),
    ]
    assert list(changes({"a": {}}, {"a": None})) == [Change("a", {}, None)]
    assert list(changes(before, before)) == []
