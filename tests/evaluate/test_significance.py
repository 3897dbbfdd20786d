import numpy as np
import pytest
from scipy import stats

from geocsp.errors import DataError
from geocsp.evaluate.significance import (
    RunValues,
    benjamini_hochberg,
    bootstrap_interval,
    compare,
    holm,
)


def simulated(rng, folds=3, blocks=15, seeds=4, of_block=0.3, of_seed=0.1, mean=0.0, rows=8):
    """Differences with shared parts for each block and each seed, and noise of each row."""
    found, seed_parts = [], rng.normal(0, of_seed, seeds)
    for fold in range(folds):
        block = np.repeat(np.arange(blocks), rng.geometric(1 / rows, blocks))
        part = mean + rng.normal(0, of_block, blocks)[block]
        found += [
            RunValues(part + seed_parts[s] + rng.normal(0, 0.3, len(block)), block, f"f{fold}", s)
            for s in range(seeds)
        ]
    return found


def of_means(means):
    """Runs of one block from ``{(fold, seed): mean}``."""
    return [
        RunValues(np.array([mean, mean]), np.zeros(2, dtype=np.int64), fold, seed)
        for (fold, seed), mean in means.items()
    ]


def shifted(runs, shift):
    return [RunValues(run.values + shift, run.block, run.fold, run.seed) for run in runs]


def test_the_estimate_is_the_plain_mean_over_runs():
    runs = simulated(np.random.default_rng(0))
    assert len({len(run.values) for run in runs}) == 3
    plain = np.mean([run.values.mean() for run in runs])
    found = compare(runs, draws=100)
    assert found.difference == pytest.approx(plain)
    assert bootstrap_interval(runs, draws=100).mean == pytest.approx(plain)
    by_fold = [
        np.mean([run.values.mean() for run in runs if run.fold == fold])
        for fold in ("f0", "f1", "f2")
    ]
    assert (found.folds_won, found.folds) == (sum(mean > 0 for mean in by_fold), 3)


def slow_half_width(runs, draws, rng, freedom):
    """The same bootstrap, row by row."""
    folds, seeds = sorted({run.fold for run in runs}), sorted({run.seed for run in runs})
    values = {(run.fold, run.seed): run for run in runs}
    mean = np.mean([run.values.mean() for run in runs])
    deviations = []
    for _ in range(draws):
        drawn_seeds = rng.choice(seeds, size=len(seeds) - 1)
        of_folds = []
        for fold in folds:
            names = np.unique(values[fold, seeds[0]].block)
            drawn = rng.choice(names, size=len(names) - 1)
            rows = np.concatenate(
                [np.flatnonzero(values[fold, seeds[0]].block == name) for name in drawn]
            )
            of_folds.append(np.mean([values[fold, s].values[rows].mean() for s in drawn_seeds]))
        deviations.append(abs(np.mean(of_folds) - mean) * np.sqrt(freedom / rng.chisquare(freedom)))
    return np.quantile(deviations, 0.95)


def test_as_a_slow_loop_finds():
    runs = simulated(np.random.default_rng(1), folds=2, blocks=6, seeds=5)
    found = compare(runs, draws=20_000)
    means = np.array([run.values.mean() for run in runs]).reshape(2, 5).mean(axis=0)
    parts = [(means.var(ddof=1) / 5, 4)]
    for fold in ("f0", "f1"):
        mine = [run for run in runs if run.fold == fold]
        excess = np.mean([run.values - run.values.mean() for run in mine], axis=0)
        sums = np.array([excess[mine[0].block == name].sum() for name in range(6)])
        parts.append(((sums / len(excess)).var(ddof=1) * 6 / 4, 5))
    total = sum(variance for variance, _ in parts)
    freedom = total**2 / sum(variance**2 / count for variance, count in parts)
    slow = slow_half_width(runs, 3000, np.random.default_rng(2), freedom)
    assert found.high - found.difference == pytest.approx(slow, rel=0.08)
    assert found.difference - found.low == pytest.approx(found.high - found.difference)


def test_of_blocks_alone_it_is_students_interval():
    rng = np.random.default_rng(0)
    means = rng.normal(0.1, 1.0, 12)
    runs = [RunValues(means.repeat(5), np.arange(12).repeat(5), "f", 0)]
    low, high = stats.t.interval(0.95, 11, means.mean(), stats.sem(means))
    found = compare(runs, draws=50_000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert found.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue, abs=0.02)


def test_of_seeds_alone_it_is_students_interval():
    means = np.random.default_rng(3).normal(0.5, 1.0, 6)
    runs = of_means({("f", seed): mean for seed, mean in enumerate(means)})
    low, high = stats.t.interval(0.95, 5, means.mean(), stats.sem(means))
    found = compare(runs, draws=50_000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


@pytest.mark.parametrize(
    "parts",
    [{"of_seed": 0.0}, {"of_block": 0.1, "of_seed": 0.3}, {"seeds": 2, "blocks": 5}],
    ids=str,
)
def test_the_null_is_rejected_once_in_twenty_times(parts):
    rng = np.random.default_rng(7)
    worlds = [simulated(rng, **parts) for _ in range(400)]
    found = [compare(runs, draws=400, seed=k) for k, runs in enumerate(worlds)]
    assert np.mean([one.p <= 0.05 for one in found]) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.95 - 0.033
    rows = [stats.ttest_1samp(np.concatenate([r.values for r in runs]), 0) for runs in worlds]
    assert np.mean([one.pvalue <= 0.05 for one in rows]) > 0.3  # rows are not independent


def test_the_interval_is_not_needlessly_wide():
    rng = np.random.default_rng(8)
    found = [compare(simulated(rng, mean=0.3), draws=400, seed=k) for k in range(200)]
    spread = np.std([one.difference for one in found])
    assert np.mean([one.high - one.low for one in found]) < 1.6 * 2 * 1.96 * spread
    assert np.mean([one.low <= 0.3 <= one.high for one in found]) > 0.91
    assert np.mean([one.p <= 0.05 for one in found]) > 0.8


def test_p_and_interval_agree():
    runs = simulated(np.random.default_rng(4))
    centre = compare(runs, draws=999).difference
    half = compare(runs, draws=999).high - centre
    seen = set()
    for draws in (100, 999, 1000):
        for shift in np.linspace(-1.5, 1.5, 61) * half:
            found = compare(shifted(runs, shift - centre), draws=draws)
            assert (found.p <= 0.05) == (not found.low <= 0 <= found.high)
            seen.add(found.p <= 0.05)
    assert seen == {True, False}


def test_a_large_difference_has_the_smallest_p():
    runs = shifted(simulated(np.random.default_rng(5), of_seed=0.01, blocks=60), 5.0)
    found = compare(runs, draws=999)
    assert found.p == 1 / 1000
    assert (found.folds_won, found.folds) == (3, 3)
    lost = compare(shifted(runs, -10.0), draws=999)
    assert lost.p == 1 / 1000
    assert (lost.folds_won, lost.folds) == (0, 3)


def test_same_seed_same_numbers_in_any_order_of_rows():
    runs = simulated(np.random.default_rng(6))
    expected = compare(runs, draws=500)
    assert compare(runs, draws=500) == expected
    assert compare(runs, draws=500, seed=1) != expected
    turned = [RunValues(r.values[::-1], r.block[::-1] - 99, r.fold, r.seed + 5) for r in runs]
    found = compare(turned, draws=500)
    assert found.difference == pytest.approx(expected.difference)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_no_difference_at_all():
    found = compare(shifted(of_means({("a", 0): 0.0, ("a", 1): 0.0, ("b", 0): 0.0}), 0.0))
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert (found.folds_won, found.folds) == (0, 2)


def test_with_one_seed_blocks_are_drawn_and_with_one_block_seeds():
    runs = simulated(np.random.default_rng(0), seeds=1)
    assert compare(runs).high > compare(runs).low
    runs = of_means({("a", 0): 0.1, ("a", 1): 0.3})
    assert compare(runs).high > compare(runs).low


def test_with_one_seed_and_one_block_nothing_can_be_said():
    found = compare(of_means({("a", 0): 0.2, ("b", 0): 0.4}))
    assert found.difference == found.low == found.high == pytest.approx(0.3)
    assert found.p == 1
    assert (found.folds_won, found.folds) == (2, 2)


def test_folds_that_lack_seeds():
    means = {("a", 0): 0.2, ("a", 1): 0.4, ("b", 1): 0.1}
    found = compare(of_means(means), draws=4000)
    assert found.difference == pytest.approx((0.3 + 0.1) / 2)
    assert found.low < 0.15
    assert found.high > 0.25


def test_an_interval_of_one_row():
    runs = simulated(np.random.default_rng(2), mean=0.6)
    found, compared = bootstrap_interval(runs), compare(runs)
    assert (found.mean, found.low, found.high) == (
        compared.difference,
        compared.low,
        compared.high,
    )


def test_no_runs_are_refused():
    with pytest.raises(DataError, match="no runs"):
        compare([])
    with pytest.raises(DataError, match="at least 100"):
        bootstrap_interval(simulated(np.random.default_rng(0)), draws=10)


def slow_holm(p):
    order, before, found = sorted(range(len(p)), key=lambda k: p[k]), 0.0, {}
    for done, test in enumerate(order):
        before = max(before, min(1.0, p[test] * (len(p) - done)))
        found[test] = before
    return [found[test] for test in range(len(p))]


def test_holm():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    for seed in range(20):
        p = np.random.default_rng(seed).random(seed) ** 3
        p[seed // 2 :] = p[seed // 2 :].round(1)  # ties
        assert holm(p).tolist() == pytest.approx(slow_holm(p.tolist()))
    assert holm([]).tolist() == []
    assert holm([0.3]).tolist() == [0.3]


def test_benjamini_hochberg_as_scipy_finds():
    for seed in range(1, 20):
        p = np.random.default_rng(seed).random(seed) ** 3
        expected = stats.false_discovery_control(p)
        assert benjamini_hochberg(p).tolist() == pytest.approx(expected.tolist())
    assert benjamini_hochberg([]).tolist() == []


def test_holm_keeps_all_claims_right():
    rng = np.random.default_rng(0)
    wrong = [(holm(rng.random(10)) <= 0.05).any() for _ in range(2000)]
    assert 0.03 < np.mean(wrong) < 0.07


@pytest.mark.parametrize("correction", [holm, benjamini_hochberg])
@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_what_is_no_p_is_refused(correction, value):
    with pytest.raises(DataError, match="p-value 1 is"):
        correction([0.5, value])
