import threading
import time

import pytest
import torch

from geocsp.data.batches import feature_batches
from geocsp.data.cache import FeatureCache, Storage
from geocsp.errors import DataError


@pytest.fixture
def cache(tmp_path):
    store = FeatureCache(tmp_path, rows=50, dim=3, storage=Storage.FLOAT16, shard_rows=8)
    numbers = torch.arange(150.0).view(50, 3)
    for shard in range(store.shards):
        span = store.span(shard)
        store.write(shard, numbers[span.start : span.stop])
    return store


def test_batches_hold_the_features_of_their_rows(cache):
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    seen = []
    for batch, rows in zip(feature_batches(cache, order.split(12)), order.split(12), strict=True):
        assert torch.equal(batch.rows, rows.sort().values)
        expected = batch.rows[:, None] * 3 + torch.arange(3)
        assert torch.equal(batch.features, expected.float())
        seen += batch.rows.tolist()
    assert sorted(seen) == list(range(50))


def test_a_batch_outlives_the_next_one_being_read(cache):
    batches = feature_batches(cache, [torch.tensor([n]) for n in range(20)])
    kept = next(batches)
    for batch in batches:
        time.sleep(0.005)  # the one after this is being read meanwhile
        assert kept.features[0, 0] == 3 * kept.rows[0]
        kept = batch


def test_sizes_may_change_from_batch_to_batch(cache):
    sizes = [torch.arange(2), torch.arange(50), torch.empty(0, dtype=torch.int64), torch.arange(3)]
    assert [len(batch.features) for batch in feature_batches(cache, sizes)] == [2, 50, 0, 3]


def test_an_error_reaches_the_reader_and_no_thread_stays(cache):
    with pytest.raises(IndexError, match=r"rows must be in \[0, 50\), got 0 to 50"):
        list(feature_batches(cache, [torch.arange(3), torch.tensor([0, 50])]))
    batches = feature_batches(cache, [torch.arange(3)] * 5)
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("geocsp-batches")]


def test_an_incomplete_cache_gives_no_batches(cache):
    (cache.folder / "000002.npy").unlink()
    with pytest.raises(DataError, match="lacks 1 of 7 shards"):
        list(feature_batches(cache, [torch.arange(3)]))
