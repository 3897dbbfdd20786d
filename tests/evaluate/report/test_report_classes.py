import numpy as np
import pytest
from scipy import stats
from synthetic_results import write_results

from geocsp.evaluate.report.classes import accuracies, confusions, most_frequent, share_of, support
from geocsp.evaluate.report.pooled import Shown, mean_hits, pooled
from geocsp.evaluate.report.view import Side, View
from geocsp.evaluate.results import Measure, Regime

SIDE = Side("best", Measure.FUSED)
SHOWN = Shown("landcover", Regime.INDUCTIVE, "5 %", "best", Measure.FUSED)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("classes") / "run")


def plain(results, measure=Measure.FUSED):
    """Row, label, block and hit of every answer, one by one."""
    for run in results.runs:
        if (run.row, run.shot) == ("best", "5 %"):
            said = results.answers(run, measure)
            for place, row in enumerate(results.test_rows(run)):
                hit = said.predicted[place] == said.labels[place]
                yield int(row), int(said.labels[place]), int(results.block[row]), bool(hit)


def test_accuracy_of_a_class_is_that_of_its_answers(results):
    found = accuracies(View(results), SHOWN, SIDE, [3, 0])
    assert list(found) == [3, 0]
    for number, estimate in found.items():
        hits = [hit for _, label, _, hit in plain(results) if label == number]
        assert estimate.mean == pytest.approx(np.mean(hits))
        assert estimate.low < estimate.mean < estimate.high


def test_a_row_without_runs_has_no_accuracy(results):
    assert accuracies(View(results), SHOWN, Side("best", Measure.PRODUCT), [0]) is None


def test_support_counts_each_test_image_once(results):
    found = pooled(View(results), SHOWN, SIDE)
    labels = {row: label for row, label, _, _ in plain(results)}
    assert support(found).tolist() == np.bincount(list(labels.values()), minlength=5).tolist()
    assert len(found.answers) == 2 * len(labels)  # two seeds


def test_mean_hits_are_shares_of_seeds(results):
    hits, tested = mean_hits(View(results), SHOWN, SIDE)
    wanted = {}
    for row, _, _, hit in plain(results):
        wanted.setdefault(row, []).append(hit)
    for row, values in wanted.items():
        assert hits[row] == np.mean(values)
        assert tested[row] == 2
    assert np.isnan(hits[tested == 0]).all()


def test_confusions_are_shares_of_what_was_said(results):
    found = pooled(View(results), SHOWN, SIDE)
    parts = confusions(found, 1, 10)
    said = found.answers.predicted[found.answers.labels == 1]
    assert sum(part.share for part in parts) == pytest.approx(1)
    for part in parts:
        assert part.share == pytest.approx(sum(said == part.number) / len(said))
    assert [part.share for part in parts] == sorted((p.share for p in parts), reverse=True)
    assert confusions(found, 1, 2) == parts[:2]


def test_the_most_frequent_classes_come_first_and_empty_ones_not_at_all():
    assert most_frequent(np.array([3, 0, 7, 3, 1]), 3) == [2, 0, 3]
    assert most_frequent(np.array([3, 0, 7, 3, 1]), 9) == [2, 0, 3, 4]


def test_clusters_of_one_row_give_wilsons_interval():
    hits = np.array([1.0] * 30 + [0.0] * 10)
    found = share_of(hits, np.ones(40, dtype=np.int64))
    rows = (hits.mean() * (1 - hits.mean())) / (hits.var(ddof=1) / 40)
    rows = int(rows * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 39)) ** 2)
    wanted = stats.binomtest(round(0.75 * rows), rows).proportion_ci(0.95, "wilson")
    assert found.mean == 0.75
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.01)


def test_rows_that_share_their_errors_say_less():
    apart = share_of(np.array([1.0, 0.0] * 50), np.ones(100, dtype=np.int64))
    together = share_of(np.array([10.0, 0.0] * 5), np.full(10, 10))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        shares = generator.beta(3, 1.5, 25)
        counts = generator.integers(1, 30, 25)
        found = share_of(generator.binomial(counts, shares).astype(float), counts)
        inside.append(found.low <= 3 / 4.5 <= found.high)
    assert 0.92 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize("hits", [0.0, 5.0])
def test_certainty_is_never_claimed(hits):
    found = share_of(np.full(8, hits), np.full(8, 5))
    assert found.mean == hits / 5
    assert found.high - found.low > 0.3
    alone = share_of(np.array([hits]), np.array([5]))
    assert (alone.low, alone.high) == (0.0, 1.0)
