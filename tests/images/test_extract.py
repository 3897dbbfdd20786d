import json
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch

from geocsp.data import cache as cache_module
from geocsp.images import ImageEncoder, extract
from geocsp.images.extract import ExtractionPlan, ExtractProgress, features_of
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
