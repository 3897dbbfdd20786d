import itertools
import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from geocsp.data.named.bluemarble import TURN_PIXELS
from geocsp.data.splits import SpatialBlocks, block_split, few_shot, overlapping
from geocsp.errors import DataError


def places(count, seed=0):
    uniform = np.random.default_rng(seed).random((count, 2))
    return uniform * [360, 180] - [180, 90]


def test_all_points_of_a_block_share_its_fold():
    lonlat = places(5000)
    fold = SpatialBlocks().fold_of(lonlat)
    block = np.floor((lonlat + np.array([180, 90])) / 5)
    by_block = {}
    for key, number in zip(map(tuple, block), fold, strict=True):
        assert by_block.setdefault(key, number) == number
    assert len(by_block) > 1000
    shares = np.bincount(fold, minlength=5) / len(fold)
    assert shares.min() > 0.17
    assert shares.max() < 0.23


def test_a_fold_depends_on_place_and_seed_alone():
    lonlat = places(300)
    whole = SpatialBlocks().fold_of(lonlat)
    assert np.array_equal(whole[100:], SpatialBlocks().fold_of(lonlat[100:]))
    assert (whole != SpatialBlocks(seed=1).fold_of(lonlat)).any()


def test_blocks_work_as_scikit_learn_splitter():
    lonlat = places(400)
    blocks = SpatialBlocks(folds=4)
    splits = list(blocks.split(lonlat))
    assert len(splits) == blocks.get_n_splits() == 4
    assert np.array_equal(np.sort(np.concatenate([test for _, test in splits])), np.arange(400))
    assert all(len(np.intersect1d(train, test)) == 0 for train, test in splits)
    scores = cross_val_score(LogisticRegression(), lonlat, lonlat[:, 0] > 0, cv=blocks)
    assert scores.min() > 0.9


@pytest.mark.parametrize("settings", [{"degrees": 0}, {"folds": 1}])
def test_senseless_blocks_are_refused(settings):
    with pytest.raises(
        DataError, match="blocks of at least 1e-06 degrees and at least 2 folds, got"
    ):
        SpatialBlocks(**settings)


def share_a_pixel(a, b, size, turn):
    columns = abs(int(a[0]) - int(b[0]))
    return min(columns, turn - columns) < size and abs(int(a[1]) - int(b[1])) < size


def test_overlap_equals_the_slow_comparison_of_all_pairs():
    generator = np.random.default_rng(1)
    corners = generator.integers(0, [100, 60], (150, 2))
    others = generator.integers(0, [100, 60], (12, 2))
    slow = [any(share_a_pixel(a, b, 7, 100) for b in others) for a in corners]
    found = overlapping(corners, others, 7, 100)
    assert found.tolist() == slow
    assert 0 < found.sum() < 150
    assert not overlapping(corners, others[:0], 7, 100).any()


def test_few_shot_per_class_takes_what_there_is():
    labels = np.repeat([0, 1, 2], [10, 2, 1])
    assert np.bincount(labels[few_shot(labels, per_class=3, seed=0)]).tolist() == [3, 2, 1]


def test_few_shot_leaves_out_rows_without_a_label():
    labels = np.array([-1, 2, -1, 0, -2, 2])
    assert few_shot(labels, ratio=1.0, seed=0).tolist() == [1, 3, 5]
    assert few_shot(labels[:0], ratio=1.0, seed=0).tolist() == []
    assert few_shot(np.full(9, -1), per_class=2, seed=0).tolist() == []


def test_few_shot_equals_the_slow_search_class_by_class():
    labels = np.random.default_rng(2).integers(-1, 40, size=3000)
    generator = np.random.default_rng(7)
    slow = []
    for label in range(40):
        rows = generator.permutation(np.flatnonzero(labels == label))
        slow += rows[: round(len(rows) * 0.3)].tolist()
    assert few_shot(labels, ratio=0.3, seed=7).tolist() == sorted(slow)


def test_few_shot_subsets_of_a_seed_are_nested_and_differ_between_seeds():
    labels = np.arange(500) % 5
    small, large = (set(few_shot(labels, ratio=r, seed=4).tolist()) for r in (0.05, 0.2))
    assert small < large
    assert small != set(few_shot(labels, ratio=0.05, seed=5).tolist())
    assert small == set(few_shot(labels, ratio=0.05, seed=4).tolist())


@pytest.mark.parametrize(
    "settings",
    [{}, {"ratio": 0.1, "per_class": 1}, {"ratio": 0.0}, {"ratio": 1.1}, {"per_class": 0}],
)
def test_few_shot_refuses_senseless_amounts(settings):
    with pytest.raises(DataError):
        few_shot(np.zeros(3, dtype=np.int64), seed=0, **settings)


def test_dropped_points_are_counted(data):
    split = data.split(test_fold=2)
    fold = SpatialBlocks().fold_of(data.lonlat)
    assert np.array_equal(split.test, np.flatnonzero(fold == 2))
    assert len(split.train) + split.dropped_train == ((fold != 2) & (fold != 0)).sum()
    assert len(split.validation) + split.dropped_validation == (fold == 0).sum()
    assert split.dropped_train > 0


def test_a_fold_cannot_test_and_validate(data):
    with pytest.raises(DataError, match="cannot be the test and the validation fold"):
        data.split(test_fold=0)


def pixels_of(corners, rows):
    seen = np.zeros((TURN_PIXELS // 2, TURN_PIXELS), dtype=bool)
    reach = np.arange(32)
    columns = (corners[rows, 0][:, None] + reach) % TURN_PIXELS
    lines = corners[rows, 1][:, None] + reach
    seen[lines[:, :, None], columns[:, None, :]] = True
    return seen


@pytest.mark.parametrize(("seed", "folds"), [(0, [1, 1, 1, 4, 1]), (1, [3, 2, 1, 3, 4])])
def test_folds_are_the_same_in_every_process_and_on_every_machine(seed, folds):
    places = np.array([[0.5, 0.5], [-179.0, -89.0], [25.0, 23.0], [-63.0, -5.0], [139.7, 35.7]])
    assert SpatialBlocks(seed=seed).fold_of(places).tolist() == folds


@pytest.mark.parametrize("lat", [2.0, 52.0, -33.0])
def test_both_sides_of_the_antimeridian_at_180_are_one_place_in_one_fold(lat):
    places = np.array([[180.0, lat], [-180.0, lat]])
    for seed in range(4):
        assert len(set(SpatialBlocks(seed=seed).fold_of(places))) == 1


@pytest.mark.parametrize(
    ("corner", "other", "shared"),
    [
        ((0, 10), (31, 10), True),
        ((0, 10), (32, 10), False),
        ((0, 10), (31, 41), True),
        ((0, 10), (31, 42), False),
        ((0, 10), (5399, 10), True),
        ((0, 10), (5369, 10), True),
        ((0, 10), (5368, 10), False),
        ((5390, 10), (3, 10), True),
        ((0, 0), (0, 2668), False),
        ((5399, 0), (0, 2699), False),
    ],
)
def test_tiles_overlap_over_the_antimeridian_and_not_over_the_poles(corner, other, shared):
    assert overlapping(np.array([corner]), np.array([other]), 32, TURN_PIXELS).tolist() == [shared]


@pytest.mark.parametrize(
    ("ratio", "counts"),
    [
        (0.5, [2, 2, 4, 1, 50]),  # 2.5, 1.5, 3.5, 0.5, 50: halves go to even
        (0.001, [1, 1, 1, 1, 1]),
        (1.0, [5, 3, 7, 1, 100]),
    ],
)
def test_a_ratio_is_rounded_half_to_even_and_takes_at_least_one(ratio, counts):
    labels = np.random.default_rng(0).permutation(np.repeat(range(5), [5, 3, 7, 1, 100]))
    assert np.bincount(labels[few_shot(labels, ratio=ratio, seed=0)]).tolist() == counts


def test_subsets_of_one_seed_are_nested_across_ratios_and_numbers():
    labels = np.random.default_rng(1).integers(-1, 6, size=500)
    amounts = [{"per_class": 1}, {"ratio": 0.05}, {"per_class": 10}, {"ratio": 0.2}, {"ratio": 1}]
    subsets = [set(few_shot(labels, seed=3, **amount)) for amount in amounts]
    for small, large in itertools.pairwise(subsets):
        assert small < large


def test_every_row_of_a_class_is_as_likely():
    taken = np.zeros(10)
    for seed in range(500):
        taken[few_shot(np.zeros(10, dtype=np.int64), per_class=3, seed=seed)] += 1
    assert np.abs(taken - 150).max() < 5 * math.sqrt(500 * 0.3 * 0.7)


@pytest.mark.parametrize("fold", [1, 2, 3, 4])
def test_no_pixel_of_the_raster_is_in_two_sets(data, fold):
    split = data.split(fold)
    sets = [pixels_of(data.corners, rows) for rows in (split.train, split.validation, split.test)]
    assert all(pixels.any() for pixels in sets)
    assert np.sum(sets, axis=0).max() == 1


def test_folds_alone_would_share_pixels(data):
    fold = SpatialBlocks().fold_of(data.lonlat)
    train = pixels_of(data.corners, np.flatnonzero(fold > 1))
    assert (train & pixels_of(data.corners, np.flatnonzero(fold == 1))).any()


def test_a_split_keeps_every_row_it_may(data):
    fold = SpatialBlocks().fold_of(data.lonlat)
    split = data.split(2, 0)
    others = np.flatnonzero((fold != 2) & (fold != 0))
    near_test = overlapping(data.corners[others], data.corners[split.test], 32, TURN_PIXELS)
    np.testing.assert_array_equal(split.train, others[~near_test])
    held = np.flatnonzero(fold == 0)
    kept = data.corners[np.concatenate([split.test, split.train])]
    near_kept = overlapping(data.corners[held], kept, 32, TURN_PIXELS)
    np.testing.assert_array_equal(split.validation, held[~near_kept])
    assert split.dropped_validation == near_kept.sum() > 0


def test_a_split_on_a_line_of_tiles():
    corners = np.array([[0, 5], [10, 5], [20, 5], [34, 5], [50, 5], [98, 5]])
    fold = np.array([1, 2, 3, 0, 0, 3])
    split = block_split(fold, corners, test=1, validation=0, size=10, turn=100)
    assert split.test.tolist() == [0]
    assert split.train.tolist() == [1, 2]  # the last tile reaches over the antimeridian
    assert split.validation.tolist() == [3, 4]
    assert (split.dropped_train, split.dropped_validation) == (1, 0)
    wide = block_split(fold, corners, test=1, validation=0, size=15, turn=100)
    assert (wide.train.tolist(), wide.validation.tolist()) == ([2], [4])
    assert (wide.dropped_train, wide.dropped_validation) == (2, 1)


@pytest.mark.parametrize(
    ("fold", "name"), [([0, 1, 1], "train"), ([1, 2, 2], "validation"), ([0, 2, 3], "test")]
)
def test_a_split_with_any_empty_set_is_refused(fold, name):
    corners = np.array([[0, 0], [1000, 0], [2000, 0]])
    with pytest.raises(DataError, match=f"the {name} set of test fold 1 is empty"):
        block_split(np.array(fold), corners, test=1, validation=0, size=32, turn=TURN_PIXELS)


@pytest.mark.parametrize("fold", [5, -1])
def test_a_fold_that_does_not_exist_is_refused(data, fold):
    with pytest.raises(DataError, match=f"folds are 0 to 4, got {fold}"):
        data.split(fold)


def test_a_place_that_is_not_finite_has_no_fold():
    with pytest.raises(DataError, match=r"row 1 is \(lon nan, lat 1\): coordinates must be finite"):
        SpatialBlocks().fold_of(np.array([[0.0, 0.0], [np.nan, 1.0]]))


def test_the_north_pole_belongs_to_the_blocks_below():
    folds = SpatialBlocks().fold_of(np.array([[12.0, 90.0], [12.0, 89.0]]))
    assert folds[0] == folds[1]
