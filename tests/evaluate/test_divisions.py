import numpy as np
import pyarrow as pa
import pytest
import torch

from geocsp.coords import great_circle_km
from geocsp.data.images import FileImages
from geocsp.data.splitters import SpatialBlocks
from geocsp.data.table import Categories, GeoTable
from geocsp.errors import DataError
from geocsp.evaluate.sources import Division, divisions
from geocsp.evaluate.sources.divisions import PUBLISHED


def table(count=600, split=None, seed=0, unplaced=10, spread=(360.0, 150.0)):
    generator = np.random.default_rng(seed)
    lonlat = (generator.random((count, 2)) - 0.5) * spread
    lonlat[generator.choice(count, unplaced, replace=False)] = np.nan
    images = FileImages(pa.chunked_array([pa.array([f"{n}.jpg" for n in range(count)])]), "/none")
    return GeoTable(images, lonlat, split=split)


def splits(*names, count=600, shares=None):
    codes = np.random.default_rng(1).choice(len(names), count, p=shares)
    return Categories(codes, names)


def named(split, name):
    return np.flatnonzero(split.codes == split.names.index(name))


def apart(lonlat, some, others, km):
    """The slow way: every distance."""
    some, others = (part[np.isfinite(lonlat[part]).all(axis=1)] for part in (some, others))
    places = torch.from_numpy(lonlat)
    pairs = torch.cartesian_prod(torch.from_numpy(some), torch.from_numpy(others))
    return float(great_circle_km(places[pairs[:, 0]], places[pairs[:, 1]]).min()) >= km


def disjoint(fold):
    parts = [set(part.tolist()) for part in (fold.train, fold.validation, fold.test)]
    assert all(parts)
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    for part in (fold.train, fold.validation, fold.test):
        assert (np.diff(part) > 0).all()
    return set.union(*parts)


@pytest.mark.parametrize("train", ["train", "training", "Train", "TRAINING"])
@pytest.mark.parametrize("held", ["validation", "val", "valid", "dev", "Val"])
@pytest.mark.parametrize("test", ["test", "testing", "Test"])
def test_splits_of_three_parts_are_taken_as_they_are(train, held, test):
    split = splits("extra", test, held, train)
    own = table(split=split)
    assert divisions.tested_split(own) == test
    (fold,) = Division().divide(own).values()
    assert np.array_equal(fold.train, named(split, train))
    assert np.array_equal(fold.validation, named(split, held))
    assert np.array_equal(fold.test, named(split, test))
    assert fold.dropped == 0
    assert list(Division().divide(own)) == [PUBLISHED]


@pytest.mark.parametrize("test", ["val", "validation", "test"])
def test_without_a_third_part_blocks_of_the_training_rows_calibrate(test):
    split = splits("train", test, shares=(0.8, 0.2))
    own = table(split=split)
    (fold,) = Division(calibrate=0.2).divide(own).values()
    disjoint(fold)
    assert np.array_equal(fold.test, named(split, test))
    train = named(split, "train")
    assert set(fold.train) | set(fold.validation) <= set(train)
    assert fold.dropped == len(train) - len(fold.train) - len(fold.validation)
    assert 0.1 < len(fold.validation) / len(train) < 0.3
    assert np.isfinite(own.lonlat[fold.train]).all()
    assert np.isfinite(own.lonlat[fold.validation]).all()
    blocks = [
        set(map(tuple, np.floor(own.lonlat[part] / 5))) for part in (fold.train, fold.validation)
    ]
    assert not blocks[0] & blocks[1]
    other = Division(calibrate=0.2, seed=1).divide(own)[PUBLISHED]
    assert set(other.validation) != set(fold.validation)
    again = Division(calibrate=0.2).divide(own)[PUBLISHED]
    assert np.array_equal(again.validation, fold.validation)


@pytest.mark.parametrize("names", [("validation", "test"), ("a", "b"), ("train", "extra")])
def test_splits_that_say_not_what_to_train_and_test_give_way_to_blocks(names):
    own = table(split=splits(*names))
    assert divisions.tested_split(own) is None
    assert list(Division().divide(own)) == ["0", "1", "2", "3", "4"]
    assert list(Division().divide(table())) == ["0", "1", "2", "3", "4"]


def test_folds_that_are_asked_for_replace_a_split():
    own = table(split=splits("train", "val", "test"))
    assert list(Division(folds=3).divide(own)) == ["0", "1", "2"]


@pytest.mark.parametrize("buffer", [0.0, 300.0])
def test_folds_of_blocks_test_every_place_once(buffer):
    own = table()
    division = Division(folds=4, blocks=10.0, buffer_km=buffer, seed=2)
    placed = np.flatnonzero(np.isfinite(own.lonlat).all(axis=1))
    block = SpatialBlocks(degrees=10.0, folds=4, seed=2).fold_of(own.lonlat[placed])
    tested = []
    for number, fold in enumerate(division.divide(own).values()):
        used = disjoint(fold)
        assert used <= set(placed)
        assert fold.dropped == len(own) - len(used)
        assert np.array_equal(fold.test, placed[block == number])
        assert set(fold.validation) <= set(placed[block == (number + 1) % 4])
        if buffer:
            assert apart(own.lonlat, fold.train, fold.test, buffer)
            assert apart(own.lonlat, fold.validation, np.r_[fold.test, fold.train], buffer)
            assert fold.dropped > 10
        else:
            assert fold.dropped == 10
        tested += fold.test.tolist()
    assert sorted(tested) == placed.tolist()


@pytest.mark.parametrize("names", [("train", "val", "test"), ("train", "test")])
def test_the_buffer_goes_around_the_rows_of_published_splits_too(names):
    own = table(split=splits(*names))
    wide = Division().divide(own)[PUBLISHED]
    fold = Division(buffer_km=200.0).divide(own)[PUBLISHED]
    disjoint(fold)
    assert np.array_equal(fold.test, wide.test)
    assert set(fold.train) < set(wide.train)
    assert apart(own.lonlat, fold.train, fold.test, 200.0)
    assert apart(own.lonlat, fold.validation, np.r_[fold.test, fold.train], 200.0)
    assert np.isfinite(own.lonlat[np.r_[fold.train, fold.validation]]).all()
    lost = len(wide.train) + len(wide.validation) - len(fold.train) - len(fold.validation)
    assert fold.dropped == wide.dropped + lost


def test_the_buffer_drops_no_row_that_is_far_enough():
    own = table(split=splits("train", "val", "test"), unplaced=0)
    wide = Division().divide(own)[PUBLISHED]
    fold = Division(buffer_km=200.0).divide(own)[PUBLISHED]
    far = [row for row in wide.train if apart(own.lonlat, np.array([row]), wide.test, 200.0)]
    assert fold.train.tolist() == far


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"folds": 2}, "at least 3 folds"),
        ({"buffer_km": -1.0}, "buffer >= 0"),
        ({"calibrate": 0.0}, r"share in \(0, 1\)"),
        ({"calibrate": 1.0}, r"share in \(0, 1\)"),
    ],
)
def test_divisions_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(DataError, match=message):
        Division(**wrong)


@pytest.mark.parametrize("blocks", [0.0, -5.0, float("nan")])
def test_blocks_without_a_width_are_refused(blocks):
    for split in (None, splits("train", "test")):
        with pytest.raises(DataError, match="degrees"):
            Division(blocks=blocks).divide(table(split=split))


def test_too_few_rows_for_the_parts_are_refused():
    with pytest.raises(DataError, match="is empty"):
        Division(folds=5).divide(table(count=4, unplaced=0))
    split = splits("train", "val", count=20)
    few = table(count=20, unplaced=0, spread=(0.1, 0.1), split=split)
    with pytest.raises(DataError, match="hold"):
        Division().divide(few)
    with pytest.raises(DataError, match="5 rows without a place"):
        Division().divide(table(count=5, unplaced=5))
    split = Categories(np.array([0, 0, 0, 0, 1]), ("train", "test"))
    with pytest.raises(DataError, match="none of the 4 training rows has a place"):
        Division().divide(table(count=5, unplaced=5, split=split))
