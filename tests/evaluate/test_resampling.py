import numpy as np
import pytest

from geocsp.errors import DataError
from geocsp.evaluate import resampling
from geocsp.evaluate.resampling import RunValues, Table


def drawn(folds=2, blocks=5, seeds=3, rows=40, seed=0):
    """Runs of which each fold has blocks of different sizes."""
    rng = np.random.default_rng(seed)
    found = []
    for fold in range(folds):
        block = np.concatenate([np.arange(blocks), rng.integers(blocks, size=rows - blocks)])
        block = block * 10 + 1000 * fold
        found += [RunValues(rng.random(rows), block, f"f{fold}", s) for s in range(seeds)]
    return found


def test_a_draw_is_worth_what_its_repeated_rows_are():
    runs, rng = drawn(), np.random.default_rng(1)
    table = Table.of(runs)
    for number, fold in enumerate(table.folds):
        mine = [run for run in runs if run.fold == f"f{number}"]
        names = np.unique(mine[0].block)
        blocks, seeds = rng.integers(3, size=(20, 5)), rng.integers(3, size=(20, 3))
        blocks[:, 0] += 1
        seeds[:, 0] += 1
        found = fold.means(blocks.astype(float), seeds.astype(float))
        for draw in range(20):
            means = []
            for seed, run in enumerate(mine):
                rows = [
                    value
                    for name, times in zip(names, blocks[draw], strict=True)
                    for value in run.values[run.block == name].tolist() * int(times)
                ]
                means += [sum(rows) / len(rows)] * int(seeds[draw, seed])
            assert found[draw] == pytest.approx(np.mean(means))


def test_influences_are_slopes():
    fold = Table.of(drawn(folds=1)).folds[0]
    step = 1e-6
    of_blocks, of_seeds = fold.influence()
    for number, lean in enumerate(of_blocks):
        weights = np.ones((1, 5))
        weights[0, number] += step
        assert (fold.means(weights, np.ones((1, 3)))[0] - fold.mean) / step == pytest.approx(
            lean, abs=1e-5
        )
    for number, lean in enumerate(of_seeds):
        weights = np.ones((1, 3))
        weights[0, number] += step
        assert (fold.means(np.ones((1, 5)), weights)[0] - fold.mean) / step == pytest.approx(
            lean, abs=1e-5
        )
    assert of_blocks.sum() == pytest.approx(0)
    assert of_seeds.sum() == pytest.approx(0)


def test_degrees_of_freedom():
    assert Table.of(drawn(folds=1, seeds=1, blocks=9)).freedom() == pytest.approx(8)
    assert Table.of(drawn(folds=1, seeds=4, blocks=1)).freedom() == pytest.approx(3)
    assert 2 < Table.of(drawn(folds=3, seeds=3, blocks=9)).freedom() < 2 + 3 * 8
    assert Table.of(drawn(folds=1, seeds=1, blocks=1)).freedom() == np.inf


def test_all_but_one_are_drawn():
    rng = np.random.default_rng(0)
    times = resampling._drawn(rng, 20_000, 4)
    assert (times.sum(axis=1) == 3).all()
    np.testing.assert_allclose(times.mean(axis=0), 0.75, atol=0.02)
    np.testing.assert_allclose(times.var(axis=0), 3 * 0.25 * 0.75, rtol=0.05)
    assert (resampling._drawn(rng, 5, 1) == 1).all()
    assert set(resampling._drawn(rng, 50, 2).sum(axis=1)) == {1}


def test_a_fold_without_the_drawn_seeds_is_left_out(monkeypatch):
    monkeypatch.setattr(Table, "freedom", lambda self: np.inf)  # leaves deviations as they are
    means = {("a", 0): 0.2, ("a", 1): 0.4, ("b", 1): 0.1}
    block = np.zeros(1, dtype=np.int64)
    runs = [RunValues(np.array([mean]), block, fold, s) for (fold, s), mean in means.items()]
    table = Table.of(runs)
    assert table.mean == pytest.approx((0.3 + 0.1) / 2)
    of_seed_0, of_seed_1 = abs(0.2 - 0.2), abs((0.4 + 0.1) / 2 - 0.2)
    found = np.unique(table.deviations(500, 0).round(9))
    assert found == pytest.approx([of_seed_0, of_seed_1])


def test_the_memory_is_bounded(monkeypatch):
    sizes, draw = [], resampling._drawn

    def watched(rng, draws, things):
        sizes.append(draws * things)
        return draw(rng, draws, things)

    monkeypatch.setattr(resampling, "_drawn", watched)
    monkeypatch.setattr(resampling, "_WEIGHTS", 50)
    assert len(Table.of(drawn()).deviations(1000, 0)) == 1000
    assert max(sizes) == 50


def test_bad_input_is_refused():
    runs = drawn()
    with pytest.raises(DataError, match="no runs"):
        Table.of([])
    with pytest.raises(DataError, match="fold f0, seed 1: there are two such runs"):
        Table.of([*runs, runs[1]])
    other = RunValues(np.zeros(2), np.array([0, 10]), "f0", 7)
    with pytest.raises(DataError, match="fold f0, seed 7: tested in other blocks"):
        Table.of([*runs, other])
    with pytest.raises(DataError, match="at least 100, got 99"):
        Table.of(runs).deviations(99, 0)
    for values, block in (([0.0, 1.0], [0]), ([], []), ([[0.0]], [[0]])):
        with pytest.raises(DataError, match="fold a, seed 3: values and blocks"):
            RunValues(np.array(values), np.array(block, dtype=np.int64), "a", 3)
    with pytest.raises(DataError, match="fold a, seed 3: value 1 is nan"):
        RunValues(np.array([0.0, np.nan]), np.array([0, 0]), "a", 3)
