import errno
import json
import sys
import threading
import time
from dataclasses import asdict

import numpy as np
import pytest
import torch

from geocsp.data import cache as cache_module
from geocsp.data.cache import FeatureCache, Storage
from geocsp.errors import DataError
from geocsp.images import ImageEncoder, extract
from geocsp.images.extract import ExtractionPlan, ExtractProgress, Loaded, features_of
from geocsp.images.framing import Framing

extract_module = sys.modules["geocsp.images.extract"]


class MeanColour(ImageEncoder):
    dim = 3

    def __init__(self, gain=1.0):
        super().__init__()
        self.framing = Framing(8)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("deviation", torch.ones(3))
        self.register_buffer("gain", torch.tensor(gain))
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        return image.mean(dim=(2, 3)) * self.gain


class Noise:
    def __init__(self, count, fails_at=None):
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        self.fails_at = fails_at
        self.fingerprint = f"noise {count}"

    def __len__(self):
        return len(self.pixels)

    def images(self, rows):
        if self.fails_at in rows:
            raise OSError("the disk is gone")
        return self.pixels[rows]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 10)
    monkeypatch.setattr(extract_module, "BATCH", 4)


def test_features_are_those_of_the_encoder_in_half_precision(tmp_path):
    source, encoder = Noise(23), MeanColour()
    features = extract(encoder, source, cache=tmp_path, bfloat16=False)
    expected = torch.from_numpy(source.pixels).float().mean(dim=(1, 2))
    torch.testing.assert_close(features, expected.half().float(), atol=0.1, rtol=0)
    assert encoder.calls == 3 + 3 + 1


def test_progress_counts_images_up_to_all(tmp_path):
    seen = []
    extract(MeanColour(), Noise(23), cache=tmp_path, bfloat16=False, on_progress=seen.append)
    assert [state.done for state in seen] == [0, 4, 8, 10, 14, 18, 20, 23]
    assert {state.total for state in seen} == {23}
    assert seen[0].rate == 0
    assert all(state.rate > 0 for state in seen[1:])
    assert all(0 <= state.wait_share <= 1 for state in seen)
    seen.clear()
    extract(MeanColour(), Noise(23), cache=tmp_path, bfloat16=False, on_progress=seen.append)
    assert seen == [ExtractProgress(23, 23)]


def test_an_interrupted_run_goes_on_with_the_first_missing_shard(tmp_path):
    with pytest.raises(OSError, match="disk is gone"):
        extract(MeanColour(), Noise(23, fails_at=15), cache=tmp_path, bfloat16=False)
    encoder, seen = MeanColour(), []
    features = extract(
        encoder,
        Noise(23),
        cache=tmp_path,
        bfloat16=False,
        on_progress=lambda state: seen.append(state.done),
    )
    assert seen[0] == 10
    assert encoder.calls == 3 + 1
    whole = extract(MeanColour(), Noise(23), cache=tmp_path / "other", bfloat16=False)
    assert torch.equal(features, whole)


def test_another_encoder_data_set_or_precision_has_a_cache_of_its_own(tmp_path):
    extract(MeanColour(), Noise(23), cache=tmp_path, bfloat16=False)
    extract(MeanColour(gain=2.0), Noise(23), cache=tmp_path, bfloat16=False)
    extract(MeanColour(), Noise(22), cache=tmp_path, bfloat16=False)
    extract(MeanColour(), Noise(23), cache=tmp_path, bfloat16=True)
    assert len(list(tmp_path.iterdir())) == 4


def test_the_cache_says_what_it_was_made_from(tmp_path):
    encoder = MeanColour()
    extract(encoder, Noise(23), cache=tmp_path, bfloat16=False)
    (about,) = tmp_path.glob("*/about.json")
    facts = json.loads(about.read_text())
    assert facts.pop("versions").keys() == {"geocsp", "torch", "numpy", "pillow"}
    assert facts == {
        "rows": 23,
        "dim": 3,
        "dtype": "float16",
        "shard_rows": 10,
        "encoder": "MeanColour",
        "recipe": None,
        "framing": asdict(encoder.framing),
        "precision": "float32",
        "encoder_fingerprint": encoder.fingerprint(),
        "data_fingerprint": "noise 23",
    }


def test_bfloat16_features_are_close_to_float32():
    from geocsp.images import EfficientNetLite0

    torch.manual_seed(0)
    encoder = EfficientNetLite0(pixels=64)
    images = Noise(6).pixels
    exact = features_of(encoder, images, bfloat16=False)
    fast = features_of(encoder, images, bfloat16=True)
    assert fast.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(exact, fast)
    assert float(cosine.min()) > 0.99


def test_features_do_not_depend_on_the_number_of_workers(tmp_path):
    from geocsp.images import EfficientNetLite0

    torch.manual_seed(0)
    encoder, threads = EfficientNetLite0(pixels=32), torch.get_num_threads()
    plans = [
        ExtractionPlan.make(encoder, Noise(23), folder=tmp_path / str(workers))
        for workers in (1, 2, 5)
    ]
    for workers, plan in zip((1, 2, 5), plans, strict=True):
        plan.run(encoder, Noise(23), workers=workers)
    first, *others = (plan.store.read() for plan in plans)
    assert all(torch.equal(first, other) for other in others)
    assert torch.get_num_threads() == threads


def test_no_more_batches_are_loaded_ahead_than_memory_should_hold(tmp_path):
    loaded, source = [], Noise(200)

    class Counting:
        fingerprint = "counting"

        def __len__(self):
            return 200

        def images(self, rows):
            loaded.extend(rows.tolist())
            return source.images(rows)

    ahead = []
    plan = ExtractionPlan.make(MeanColour(), Counting(), folder=tmp_path, bfloat16=False)
    plan.run(
        MeanColour(),
        Counting(),
        workers=2,
        on_progress=lambda state: ahead.append(len(loaded) - state.done),
    )
    assert max(ahead) <= (2 * 2 + 2) * 4
    assert sorted(loaded) == list(range(200))


def test_another_storage_has_a_cache_of_its_own(tmp_path):
    stores = [
        ExtractionPlan.make(MeanColour(), Noise(5), cache=tmp_path, storage=storage).store.folder
        for storage in Storage
    ]
    assert stores[0] != stores[1]


def test_each_worker_computes_on_one_thread(tmp_path):
    seen = []

    class Spy(MeanColour):
        def forward(self, image):
            seen.append(torch.get_num_threads())
            return super().forward(image)

    torch.set_num_threads(2)
    try:
        extract(Spy(), Noise(23), cache=tmp_path, bfloat16=False)
        assert set(seen) == {1}
    finally:
        torch.set_num_threads(1)


def test_bfloat16_is_what_the_network_computes_in():
    from geocsp.images import EfficientNetLite0

    torch.manual_seed(0)
    encoder, images = EfficientNetLite0(pixels=64), Noise(6).pixels
    exact, fast = (features_of(encoder, images, bfloat16=fast) for fast in (False, True))
    assert not torch.equal(exact, fast)


class Flawed(Noise):
    """Rows 1, 6 and 12 fail: two batches of the first shard, one of the second."""

    def load(self, rows):
        found = {row: f"no {row}" for row in rows.tolist() if row in (1, 6, 12)}
        return Loaded(self.pixels[rows], found)


def test_failures_of_all_batches_of_a_shard_are_kept_and_counted(tmp_path):
    source, seen = Flawed(23), []
    plan = ExtractionPlan.make(MeanColour(), source, folder=tmp_path, bfloat16=False)
    plan.run(MeanColour(), source, on_progress=seen.append)
    assert plan.store.failures() == {1: "no 1", 6: "no 6", 12: "no 12"}
    assert [state.failed for state in seen] == [0, 1, 2, 2, 3, 3, 3, 3]
    (tmp_path / "000002.npy").unlink()
    seen.clear()
    plan.run(MeanColour(), source, on_progress=seen.append)
    assert [state.failed for state in seen] == [3, 3]


def test_rate_counts_this_run_alone_and_waiting_is_weighted_by_images(tmp_path, monkeypatch):
    store = FeatureCache(tmp_path, rows=30, dim=1)
    store.write(0, torch.zeros(10, 1))
    clock, seen = iter([0.0, 2.0, 4.0]), []
    monkeypatch.setattr(extract_module.time, "perf_counter", lambda: next(clock))
    meter = extract_module.Meter(store, [1, 2], seen.append)
    meter.advance(8, 0, 0.5)
    meter.advance(2, 0, 0.0)
    assert [state.rate for state in seen] == [0.0, 4.0, 2.5]
    assert [state.wait_share for state in seen] == [0.0, 0.5, 0.4]


def test_after_an_error_what_waits_is_not_loaded(tmp_path):
    loaded = []

    class Dying(Noise):
        def images(self, rows):
            loaded.append(rows[0])
            if rows[0] > 0:
                time.sleep(0.2)
            return super().images(rows)

    source = Dying(400, fails_at=1)
    plan = ExtractionPlan.make(MeanColour(), source, folder=tmp_path, bfloat16=False)
    with pytest.raises(OSError, match="disk is gone"):
        plan.run(MeanColour(), source, workers=8)
    assert len(loaded) <= 12  # of 17 in the queue


def test_a_full_disk_stops_the_workers(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    plan = ExtractionPlan.make(MeanColour(), Noise(400), folder=tmp_path, bfloat16=False)
    plan.start(MeanColour(), Noise(400))
    monkeypatch.setattr(cache_module, "write_atomically", full)
    with pytest.raises(DataError, match="No space left") as caught:
        plan.fill(plan.store.missing(), MeanColour(), Noise(400), workers=2)
    assert caught.tb is not None  # the traceback keeps the frames alive
    assert not [t for t in threading.enumerate() if t.name.startswith("geocsp-images")]
