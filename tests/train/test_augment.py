import sys

import pytest
import torch

from geocsp.errors import MissingExtraError
from geocsp.train import augment
from geocsp.train.augment import Augmentation

NOTHING = Augmentation(smallest=1, stretch=1, mirror=False, brightness=0, contrast=0)


def pictures(count=16, channels=3, side=12):
    generator = torch.Generator().manual_seed(0)
    shape = (count, side, side, channels)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def how_turned(before, after):
    """Which of the 8 turns and mirrorings of a square gave this one."""
    ways = {
        (mirrored, turns): torch.rot90(before.flip(1) if mirrored else before, turns, (0, 1))
        for mirrored in (False, True)
        for turns in range(4)
    }
    return next(way for way, square in ways.items() if torch.equal(square, after))


@pytest.mark.parametrize("channels", [1, 3, 4, 10])
def test_the_same_seed_makes_the_same_changes(channels):
    images = pictures(channels=channels)
    everything = Augmentation(overhead=True)
    changed = [everything.apply(images, 9, seed) for seed in (1, 1, 2)]
    assert changed[0].shape == (16, 9, 9, channels)
    assert changed[0].dtype == torch.uint8
    assert torch.equal(changed[0], changed[1])
    assert not torch.equal(changed[0], changed[2])


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Augmentation().apply(pictures(), 9, 1)
    assert torch.equal(torch.rand(3), expected)


def test_nothing_switched_on_changes_nothing():
    assert torch.equal(NOTHING.apply(pictures(), 12, 1), pictures())
    assert not NOTHING.changes_light


def test_mirroring_swaps_left_and_right_of_half_of_the_images():
    images = pictures(count=200)
    flipped = Augmentation(smallest=1, brightness=0, contrast=0).apply(images, 12, 1)
    ways = [how_turned(a, b) for a, b in zip(images, flipped, strict=True)]
    assert set(ways) == {(False, 0), (True, 0)}
    assert 70 < ways.count((True, 0)) < 130


def test_from_above_all_eight_ways_to_lay_an_image_are_as_likely():
    images = pictures(count=400)
    turned = Augmentation(smallest=1, brightness=0, contrast=0, overhead=True).apply(images, 12, 1)
    ways = [how_turned(a, b) for a, b in zip(images, turned, strict=True)]
    counts = [ways.count(way) for way in set(ways)]
    assert len(counts) == 8
    assert min(counts) > 25


def test_crops_are_parts_of_the_image():
    ramp = torch.arange(100, dtype=torch.uint8).view(1, 1, 100, 1).expand(50, 100, 100, 3)
    cropped = Augmentation(smallest=0.25, mirror=False, brightness=0, contrast=0).apply(ramp, 40, 3)
    assert cropped.shape == (50, 40, 40, 3)
    widths = (cropped[:, 0, -1, 0].int() - cropped[:, 0, 0, 0].int()).float()
    share = widths / 99
    assert float(share.min()) > 0.4
    assert float(share.max()) < 1.01
    assert len(set(widths.tolist())) > 10
    rows_apart = (cropped.int() - cropped[:, :1].int()).abs()  # but for rounding, all are alike
    assert int(rows_apart.max()) <= 1


def test_light_changes_as_far_as_it_may():
    grey = torch.full((200, 2, 2, 3), 100, dtype=torch.uint8)
    brighter = Augmentation(smallest=1, brightness=0.1, contrast=0).apply(grey, 2, 1)[:, 0, 0, 0]
    assert 74 <= int(brighter.min()) < 80
    assert 120 < int(brighter.max()) <= 126
    stronger = Augmentation(smallest=1, brightness=0, contrast=0.1).apply(grey, 2, 1)[:, 0, 0, 0]
    assert 90 <= int(stronger.min()) < 93
    assert 107 < int(stronger.max()) <= 110


def test_rasters_keep_their_numbers():
    numbers = torch.randn(16, 12, 12, 5) * 1e4
    turned = Augmentation(smallest=1, brightness=0, contrast=0, overhead=True)
    after = turned.apply(numbers, 12, 1)
    assert after.dtype == torch.float32
    sums = (numbers.sum((1, 2)), after.sum((1, 2)))
    torch.testing.assert_close(*sums, rtol=1e-3, atol=10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"smallest": 0}, "smallest must be in"),
        ({"smallest": 1.1}, "smallest must be in"),
        ({"stretch": 0.9}, "stretch at least 1, got 0.5 and 0.9"),
        ({"brightness": -0.1}, "brightness and contrast must be in"),
        ({"contrast": 2}, "got 0.2 and 2"),
    ],
)
def test_wrong_settings_are_told(wrong, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**wrong)


def test_the_extra_is_named(monkeypatch):
    augment._network.cache_clear()
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(MissingExtraError, match=r"geocsp\[train\]"):
        Augmentation().network(8)
