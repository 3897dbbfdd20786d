import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from geocsp.data.named.bluemarble import TILE_PIXELS, TURN_PIXELS
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
    with pytest.raises(DataError, match="block degrees > 0"):
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


def test_windows_overlap_over_the_antimeridian_but_not_over_the_poles():
    right = np.array([[98, 10]])
    assert overlapping(np.array([[3, 10]]), right, 7, 100).all()
    assert not overlapping(np.array([[5, 10]]), right, 7, 100).any()
    assert not overlapping(np.array([[98, 58]]), np.array([[98, 0]]), 7, 100).any()


def test_few_shot_takes_a_rounded_share_of_every_class_and_at_least_one():
    labels = np.repeat([0, 1, 2, 3, -1], [100, 25, 30, 1, 50])
    rows = few_shot(labels, ratio=0.1, seed=0)
    assert np.bincount(labels[rows]).tolist() == [10, 2, 3, 1]  # 2.5 rounds half to even
    assert np.array_equal(rows, np.sort(rows))
    assert len(few_shot(labels, ratio=1.0, seed=0)) == 156


def test_few_shot_per_class_takes_what_there_is():
    labels = np.repeat([0, 1, 2], [10, 2, 1])
    assert np.bincount(labels[few_shot(labels, per_class=3, seed=0)]).tolist() == [3, 2, 1]


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


def test_no_pixel_is_in_two_sets_of_a_split(data):
    split = data.split(test_fold=2)
    sets = (split.train, split.validation, split.test)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        a, b = data.corners[sets[first]], data.corners[sets[second]]
        columns = np.abs(a[:, None, 0] - b[None, :, 0])
        columns = np.minimum(columns, TURN_PIXELS - columns)
        rows = np.abs(a[:, None, 1] - b[None, :, 1])
        assert not ((columns < TILE_PIXELS) & (rows < TILE_PIXELS)).any()


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


def test_an_empty_set_is_an_error():
    with pytest.raises(DataError, match="validation set of test fold 1 is empty"):
        block_split(
            np.array([1, 2]), np.array([[0, 0], [50, 50]]), test=1, validation=0, size=3, turn=100
        )
