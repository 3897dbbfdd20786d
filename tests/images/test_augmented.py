import sys

import numpy as np
import pytest
import torch
from toys import ToyEncoder, toy_photos

from geocsp.data import cache as cache_module
from geocsp.data.named.bluemarble import bluemarble
from geocsp.errors import DataError
from geocsp.images.augmented import augmented_features, crop_framing
from geocsp.images.extract import extract, features_of
from geocsp.images.framing import Framing
from geocsp.train.augment import Augmentation

NOTHING = Augmentation(smallest=1, stretch=1, mirror=False, brightness=0, contrast=0)
EVERYTHING = Augmentation()
MIRROR = Augmentation(smallest=1, stretch=1, brightness=0, contrast=0)


class Noise:
    def __init__(self, count):
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, 10, 10, 3), dtype=np.uint8)
        self.fingerprint = f"noise {count}"
        self.loaded = 0

    def __len__(self):
        return len(self.pixels)

    def images(self, rows):
        self.loaded += len(rows)
        return self.pixels[rows]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 10)
    monkeypatch.setattr(sys.modules["geocsp.images.extract"], "BATCH", 4)


def views_of(source, cache, augmentation=EVERYTHING, views=2, seed=0, **options):
    options = {"bfloat16": False} | options
    return augmented_features(
        ToyEncoder(), source, augmentation, views, seed=seed, cache=cache, **options
    )


def test_without_changes_each_view_has_the_features_of_the_images(tmp_path):
    views = views_of(Noise(23), tmp_path, NOTHING)
    plain = extract(ToyEncoder(), Noise(23), cache=tmp_path, bfloat16=False)
    assert views.shape == (2, 23, 5)
    assert views.dtype == torch.float32
    assert torch.equal(views, plain.expand(2, -1, -1))


def test_each_image_is_changed_as_the_augmentation_says(tmp_path):
    """Each is one of the two ways to see it, and both occur."""
    source, encoder = Noise(40), ToyEncoder()
    views = views_of(source, tmp_path, MIRROR, views=3)
    straight, turned = (
        features_of(encoder, pixels.copy(), bfloat16=False).half().float()
        for pixels in (source.pixels, source.pixels[:, :, ::-1])
    )
    as_straight = (views - straight).abs().amax(2) < 1e-2
    as_turned = (views - turned).abs().amax(2) < 1e-2
    assert bool((as_straight ^ as_turned).all())
    assert 30 < int(as_turned.sum()) < 90
    assert not torch.equal(as_turned[0], as_turned[1])


def test_views_and_seeds_differ_and_the_same_seed_is_the_same(tmp_path):
    first = views_of(Noise(23), tmp_path / "a")
    assert torch.equal(first, views_of(Noise(23), tmp_path / "b"))
    other = views_of(Noise(23), tmp_path / "a", seed=1)
    every = torch.cat([first, other])
    for one in range(4):
        for two in range(one):
            assert not bool((every[one] == every[two]).all(dim=1).any())


def test_the_number_of_threads_makes_no_difference(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        many = views_of(Noise(60), tmp_path / "many")
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(many, views_of(Noise(60), tmp_path / "one"))


def test_more_views_cost_only_the_new_ones(tmp_path):
    source, seen = Noise(23), []
    first = views_of(source, tmp_path)
    assert source.loaded == 46
    more = views_of(
        source, tmp_path, views=3, on_progress=lambda view, state: seen.append((view, state.done))
    )
    assert source.loaded == 69
    assert torch.equal(more[:2], first)
    assert seen == [(0, 23), (1, 23)] + [(2, done) for done in (0, 4, 8, 10, 14, 18, 20, 23)]


def test_other_augmentation_or_images_have_a_cache_of_their_own(tmp_path):
    views_of(Noise(23), tmp_path)
    views_of(Noise(23), tmp_path, Augmentation(brightness=0.1))
    views_of(Noise(22), tmp_path)
    views_of(Noise(23), tmp_path, seed=5)
    assert len(list(tmp_path.iterdir())) == 8


def test_tiles_of_the_blue_marble(tmp_path):
    data = bluemarble(30)
    views = views_of(data, tmp_path, Augmentation(overhead=True))
    assert views.shape == (2, 30, 5)
    assert not torch.equal(views[0], views[1])


def test_images_of_a_table(tmp_path):
    table = toy_photos(tmp_path / "photos", 9)
    views = views_of(table, tmp_path / "cache")
    assert views.shape == (2, 9, 5)
    assert torch.equal(views, views_of(table, tmp_path / "other"))
    assert not torch.equal(views[0], views[1])
    plain = views_of(table, tmp_path / "cache", NOTHING)
    assert float((views - plain).abs().max()) > 0.01


def test_an_image_of_a_table_that_cannot_be_used_is_told(tmp_path):
    table = toy_photos(tmp_path / "photos", 9, broken=[5])
    with pytest.raises(DataError, match=r"image 5 .*usable_images leaves out"):
        views_of(table, tmp_path / "cache")


def test_crops_are_cut_from_a_larger_square():
    half = Augmentation(smallest=0.5)
    assert crop_framing(Framing(8), half) == Framing(12)
    assert crop_framing(Framing(224, resize=256), half) == Framing(317, resize=317)
    assert crop_framing(Framing(224, resize=256, squeeze=True), half) == Framing(317)
    assert crop_framing(Framing(224, resize=256), MIRROR) == Framing(224, resize=256)


def test_bad_settings_are_told(tmp_path):
    with pytest.raises(ValueError, match="at least one view, got 0"):
        views_of(Noise(3), tmp_path, views=0)
    encoder = ToyEncoder()
    encoder.framing = Framing(8, as_bytes=False)
    with pytest.raises(ValueError, match="brightness and contrast to 0"):
        augmented_features(encoder, Noise(3), Augmentation(), 2, seed=0, cache=tmp_path)
