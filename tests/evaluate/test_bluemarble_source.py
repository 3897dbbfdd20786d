from dataclasses import replace

import numpy as np
import pytest
import torch

from geocsp.data.named.bluemarble import TILE_PIXELS, TURN_PIXELS
from geocsp.errors import DataError
from geocsp.evaluate.sources import BlueMarbleSource, bluemarble
from geocsp.images import EfficientNetLite0, extract

SOURCE = BlueMarbleSource(points=2000, pixels=32, test_folds=(1, 3), tasks=("landcover",))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return replace(SOURCE, cache=tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def benchmark(source):
    return source.load()


def test_a_process_makes_it_once_and_computes_no_feature_twice(source, benchmark, monkeypatch):
    assert replace(source).load() is benchmark
    bluemarble._load.cache_clear()  # as in another process
    monkeypatch.setattr(EfficientNetLite0, "forward", None)
    again = source.load()
    assert again is not benchmark
    assert torch.equal(again.features, benchmark.features)
    assert again.fingerprint == benchmark.fingerprint


def test_features_places_and_labels_are_those_of_the_tiles(source, benchmark, data):
    expected = extract(EfficientNetLite0(pixels=32), data, cache=source.cache)
    assert torch.equal(benchmark.features, expected)
    assert np.array_equal(benchmark.lonlat, data.lonlat)
    assert list(benchmark.tasks) == ["landcover"]
    assert np.array_equal(benchmark.tasks["landcover"].codes, data.tasks["landcover"].labels)
    assert benchmark.tasks["landcover"].names == data.tasks["landcover"].class_names
    assert benchmark.views is None
    assert benchmark.published == {}
    assert data.fingerprint in benchmark.fingerprint


def test_no_pixel_is_in_two_sets_of_a_fold(benchmark, data):
    """The slow way: every pair of tiles."""
    assert list(benchmark.folds) == ["1", "3"]
    column, row = data.corners.T
    for fold in benchmark.folds.values():
        parts = [fold.train, fold.validation, fold.test]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            across = np.abs(column[parts[one]][:, None] - column[parts[other]][None])
            across = np.minimum(across, TURN_PIXELS - across)
            down = np.abs(row[parts[one]][:, None] - row[parts[other]][None])
            assert not ((across < TILE_PIXELS) & (down < TILE_PIXELS)).any()
        assert fold.dropped == len(data) - sum(map(len, parts))
        assert fold.dropped > 0
        for part in parts:
            assert (np.diff(part) > 0).all()


def test_the_validation_blocks_are_the_same_for_every_fold_and_never_tested(benchmark):
    one, other = benchmark.folds.values()
    assert set(one.validation) & set(other.validation)
    assert not set(one.validation) & set(other.test)
    assert not set(one.validation) & set(other.train)
    assert bluemarble.VALIDATION_FOLD not in bluemarble.TEST_FOLDS


@pytest.mark.slow
def test_views_are_features_of_changed_tiles(source, benchmark):
    found = replace(source, views=2).load()
    assert found.views.shape == (2, *benchmark.features.shape)
    assert torch.equal(found.features, benchmark.features)
    for view in found.views:
        alike = torch.nn.functional.cosine_similarity(view, benchmark.features).mean()
        mixed = torch.nn.functional.cosine_similarity(view, benchmark.features.flip(0)).mean()
        assert mixed < alike < 0.999
    assert not torch.equal(*found.views)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"points": 1999}, "at least 2000 points"),
        ({"test_folds": ()}, "test folds"),
        ({"test_folds": (0,)}, "test folds"),
        ({"test_folds": (1, 1)}, "twice"),
        ({"tasks": ()}, "tasks"),
        ({"tasks": ("soil",)}, "tasks"),
        ({"tasks": ("climate", "climate")}, "twice"),
        ({"views": 1}, "no views or 2 to 32"),
        ({"views": 33}, "no views or 2 to 32"),
        ({"pixels": 0}, "at least 1 pixel"),
    ],
)
def test_sources_that_cannot_be_are_refused_at_once(wrong, message):
    with pytest.raises(DataError, match=message):
        BlueMarbleSource(**wrong)
