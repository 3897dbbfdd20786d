import threading

import numpy as np
import pytest
import torch
from toys import toy_table

from geocsp.data.batches import read_ahead
from geocsp.data.cache import FeatureCache
from geocsp.errors import DataError
from geocsp.images.features import Features
from geocsp.train.feeds import DiskFeed, MemoryFeed, NoFeed, feed_of

FEATURES = torch.arange(80.0).view(20, 4)
BATCHES = list(torch.randperm(20, generator=torch.Generator().manual_seed(0)).split(5))


def features(folder):
    cache = FeatureCache(folder / "cache", 20, 4)
    cache.write(0, FEATURES.to(cache.storage.dtype), {})
    cache.describe(encoder="none")
    return Features(toy_table(folder, 20), cache, np.random.default_rng(0).permutation(20))


def test_memory_gives_the_rows_asked_for_in_that_order():
    feed = feed_of(FEATURES, 20)
    assert isinstance(feed, MemoryFeed)
    assert len(feed) == 20
    for rows, loaded in zip(BATCHES, feed.stream(BATCHES), strict=True):
        assert torch.equal(loaded.take(slice(0, 5), 0), FEATURES[rows])
        assert torch.equal(loaded.take(slice(2, 4), 1), FEATURES[rows[2:4]])


def test_a_feature_that_is_not_finite_is_told():
    broken = FEATURES.clone()
    broken[7, 1] = torch.inf
    with pytest.raises(DataError, match="features of row 7 are not finite"):
        feed_of(broken, 20)


def test_disk_gives_the_rows_asked_for_in_that_order(tmp_path):
    stored = features(tmp_path)
    feed = feed_of(stored, 20)
    assert isinstance(feed, DiskFeed)
    assert len(feed) == 20
    for asked, loaded in zip(BATCHES, feed.stream(iter(BATCHES)), strict=True):
        assert torch.equal(loaded.take(slice(0, 5), 0), FEATURES[stored.rows[asked.numpy()]])
        assert torch.equal(loaded.take(slice(1, 3), 0), FEATURES[stored.rows[asked.numpy()]][1:3])


def test_a_gpu_gets_page_locked_batches_of_their_own(tmp_path, monkeypatch):
    stored, pinned = features(tmp_path), []
    empty = torch.empty

    def noted(*size, pin_memory=False, **how):
        pinned.append(pin_memory)
        return empty(*size, **how)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", noted)
    feed = DiskFeed(stored)
    kept = list(feed.stream(BATCHES))
    assert sum(pinned) == len(BATCHES)
    for asked, loaded in zip(BATCHES, kept, strict=True):
        assert torch.equal(loaded.take(slice(0, 5), 0), FEATURES[stored.rows[asked.numpy()]])


def test_no_images_are_empty_rows():
    feed = feed_of(None, 20)
    assert isinstance(feed, NoFeed)
    assert len(feed) == 20
    assert [len(loaded.take(slice(0, 5), 0)) for loaded in feed.stream(BATCHES)] == [5] * 4


def test_a_feed_is_a_feed():
    feed = NoFeed(3)
    assert feed_of(feed, 3) is feed


class Slow:
    """Counts what is read, and knows who reads."""

    def __init__(self, broken=-1):
        self.read, self.broken = [], broken
        self.thread = None

    def __call__(self, rows):
        self.thread = threading.current_thread().name
        self.read.append(rows)
        if self.broken in rows:
            raise DataError(f"row {self.broken} is bad")
        return rows


def test_one_batch_is_read_ahead_and_not_more():
    reader, used = Slow(), []
    for loaded in read_ahead(reader, BATCHES):
        used.append(loaded)
        assert len(reader.read) in (len(used), min(len(used) + 1, len(BATCHES)))
    assert all(a is b for a, b in zip(used, BATCHES, strict=True))
    assert reader.thread.startswith("geocsp-ahead")
    assert list(read_ahead(reader, [])) == []


def test_an_error_comes_with_its_batch_and_no_thread_stays():
    before = threading.active_count()
    reader = Slow(broken=int(BATCHES[2][0]))
    stream = read_ahead(reader, BATCHES)
    assert next(stream) is BATCHES[0]
    assert next(stream) is BATCHES[1]
    with pytest.raises(DataError, match="is bad"):
        next(stream)
    assert threading.active_count() == before
    stream = read_ahead(Slow(), BATCHES)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_features_that_are_no_table_are_refused():
    with pytest.raises(DataError, match=r"features must be \(N, F\), got \(20,\)"):
        feed_of(torch.zeros(20), 20)
