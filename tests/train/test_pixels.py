import threading

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from toys import ToyEncoder, toy_photos, toy_table

import geocsp
from geocsp import GeoModel, PretrainSettings, pretrain
from geocsp.coords import sample_sphere
from geocsp.data.images import Bands, Images
from geocsp.errors import DataError
from geocsp.images import ImageEncoder, ModuleEncoder
from geocsp.images.decode import decode
from geocsp.images.framing import Framing
from geocsp.train.augment import Augmentation
from geocsp.train.pixels import PixelFeed, usable_images

BATCHES = list(torch.randperm(12, generator=torch.Generator().manual_seed(0)).split(4))
PLACES = sample_sphere(64, torch.Generator().manual_seed(0))


def only(feed, rows=BATCHES[0]):
    (loaded,) = feed.stream([rows])
    return loaded


def test_without_augmentation_images_are_framed_as_for_features(tmp_path):
    encoder, table = ToyEncoder(), toy_photos(tmp_path, 12)
    feed = PixelFeed(table.images, encoder, workers=2)
    assert len(feed) == 12
    for rows, loaded in zip(BATCHES, feed.stream(BATCHES), strict=True):
        paths = [tmp_path / f"{row:03d}.png" for row in rows.tolist()]
        squares = np.stack([decode(path, encoder.framing) for path in paths])
        expected = encoder.transform(torch.from_numpy(squares))
        assert torch.equal(loaded.take(slice(0, 4), 7), expected)
        assert torch.equal(loaded.take(slice(1, 3), 8), expected[1:3])


def test_augmented_images_depend_on_the_seed_alone(tmp_path):
    encoder, table = ToyEncoder(), toy_photos(tmp_path, 12)
    loaded = only(PixelFeed(table.images, encoder, Augmentation()))
    part = slice(0, 3)
    again = [loaded.take(part, seed) for seed in (1, 1, 2)]
    assert again[0].shape == (3, 3, 8, 8)
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], again[2])
    afresh = only(PixelFeed(table.images, encoder, Augmentation(), workers=3))
    assert torch.equal(afresh.take(part, 1), again[0])


@pytest.mark.parametrize(
    ("framing", "wide"),
    [
        (Framing(8), Framing(16)),
        (Framing(8, resize=9), Framing(16, resize=16)),
        (Framing(8, resize=9, squeeze=True), Framing(16)),
    ],
)
def test_for_crops_more_pixels_are_decoded(tmp_path, framing, wide):
    encoder = ToyEncoder()
    encoder.framing = framing
    images = toy_photos(tmp_path, 12).images
    assert PixelFeed(images, encoder, Augmentation(smallest=0.25))._framing() == wide
    assert PixelFeed(images, encoder, Augmentation(smallest=1))._framing() == framing
    loaded = only(PixelFeed(images, encoder, Augmentation(smallest=0.25)))
    assert loaded.squares.shape == (4, 16, 16, 3)


class Rasters(Images):
    """Rasters in memory."""

    def __init__(self, numbers):
        self.numbers, self.bands = numbers, Bands()
        self.names = pa.chunked_array([[f"raster {i}" for i in range(len(numbers))]])

    def load(self, row):
        return self.numbers[row]

    def stamps(self):
        return [""] * len(self)

    def take(self, rows):
        return Rasters(self.numbers[rows])


class RasterEncoder(ImageEncoder):
    dim = 5

    def __init__(self):
        super().__init__()
        self.framing = Framing(8, channels=5, as_bytes=False)
        self.register_buffer("mean", torch.full((5,), 1000.0))
        self.register_buffer("deviation", torch.full((5,), 500.0))

    def forward(self, image):
        return image.mean((2, 3))


def test_rasters_of_many_bands_and_any_numbers():
    numbers = np.random.default_rng(0).normal(1000, 500, (12, 8, 8, 5)).astype(np.float32)
    with pytest.raises(ValueError, match="set brightness and contrast to 0"):
        PixelFeed(Rasters(numbers), RasterEncoder(), Augmentation())
    turns = Augmentation(smallest=1, brightness=0, contrast=0, overhead=True)
    loaded = only(PixelFeed(Rasters(numbers), RasterEncoder(), turns))
    planes = loaded.take(slice(0, 4), 1)
    assert planes.shape == (4, 5, 8, 8)
    expected = (torch.from_numpy(numbers[BATCHES[0].numpy()]).mean((1, 2)) - 1000) / 500
    torch.testing.assert_close(planes.mean((2, 3)), expected, atol=1e-4, rtol=0)


def test_an_image_that_cannot_be_used_is_named_and_no_thread_stays(tmp_path):
    table = toy_photos(tmp_path, 12, broken={7})
    before = threading.active_count()
    with pytest.raises(DataError, match=r"image 007\.png is damaged: .*; usable_images leaves out"):
        list(PixelFeed(table.images, ToyEncoder()).stream(BATCHES))
    assert threading.active_count() == before


def test_unusable_images_are_found_before_training(tmp_path):
    table = toy_photos(tmp_path, 70, broken={7, 30})
    (tmp_path / "011.png").unlink()
    told = []
    kept = usable_images(table, Framing(8), workers=2, on_progress=lambda *done: told.append(done))
    assert len(kept) == 67
    assert told == [(64, 70), (70, 70)]
    reasons = {problem.file: problem.reason for problem in kept.problems}
    assert sorted(reasons) == ["007.png", "011.png", "030.png"]
    assert reasons["011.png"] == "cannot be read: No such file or directory"
    expected = np.delete(table.lonlat, [7, 11, 30], axis=0)
    assert np.array_equal(kept.lonlat, expected)
    list(PixelFeed(kept.images, ToyEncoder()).stream([torch.arange(67)]))


def test_where_no_image_is_usable_the_first_is_told(tmp_path):
    table = toy_photos(tmp_path, 2, broken={0, 1})
    with pytest.raises(DataError, match=r"none of 2 images could be used: 000\.png: is damaged"):
        usable_images(table, Framing(8))


def photos_of_places(folder):
    """Photos whose colours tell their places."""
    for number, (lon, lat) in enumerate(PLACES.tolist()):
        colour = np.array([lon / 360 * 240 + 128, lat / 180 * 240 + 128, 90])
        noise = np.random.default_rng(number).normal(0, 10, (12, 12, 3))
        pixels = (colour + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return toy_table(folder, len(PLACES))


class Small(torch.nn.Module):
    """A network with norm over the batch and dropout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(8, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Dropout(0.05)
        )

    def forward(self, image):
        return self.body(self.stem(image).relu()).relu().mean((2, 3))


def small_encoder():
    return ModuleEncoder(Small(), framing=Framing(8), mean=128.0, deviation=60.0)


def learn(folder, *patterns, augmentation=None, epochs=25, **settings):
    torch.manual_seed(0)
    encoder = small_encoder()
    location = geocsp.create("location", "xyz", dim=8, hidden=32, dropout=0.0)
    model = GeoModel(location, encoder.dim, image=encoder)
    model.train_image(*patterns)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    feed = PixelFeed(photos_of_places(folder).images, encoder, augmentation)
    how = PretrainSettings(epochs=epochs, batch_size=32, learning_rate=1e-2, **settings)
    history = pretrain(model, geocsp.create("objective", "clip"), feed, PLACES, how, seed=0)
    after = encoder.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    return model, [epoch["loss"] for epoch in history], moved


WEIGHTS = {f"module.{name}" for name, _ in Small().named_parameters()}


@pytest.mark.parametrize(
    ("patterns", "moved"),
    [
        ((), set()),
        (("body.*",), {name for name in WEIGHTS if "body" in name}),
        (("*",), WEIGHTS),
    ],
)
def test_learning_from_photos_moves_only_the_weights_that_were_named(tmp_path, patterns, moved):
    model, losses, changed = learn(tmp_path, *patterns)
    assert losses[-1] < losses[0] - 0.5
    assert changed == moved
    feed = PixelFeed(toy_table(tmp_path, 64).images, model.image)
    images = only(feed, torch.arange(64)).take(slice(0, 64), 0)
    similar = model.embed_images(images) @ torch.nn.functional.normalize(model.embed(PLACES)).T
    rank = (similar > similar.diagonal()[:, None]).sum(1).double()
    assert float(rank.median()) < 12  # of 64; 32 by chance


def test_what_a_frozen_encoder_sees_equals_its_features(tmp_path):
    model, losses, _ = learn(tmp_path, epochs=2)
    feed = PixelFeed(toy_table(tmp_path, 64).images, model.image)
    images = only(feed, torch.arange(64)).take(slice(0, 64), 0)
    with torch.no_grad():
        features = model.image(images)
    torch.manual_seed(0)
    encoder = small_encoder()
    location = geocsp.create("location", "xyz", dim=8, hidden=32, dropout=0.0)
    cached = GeoModel(location, encoder.dim)
    how = PretrainSettings(epochs=2, batch_size=32, learning_rate=1e-2)
    history = pretrain(cached, geocsp.create("objective", "clip"), features, PLACES, how, seed=0)
    assert losses == pytest.approx([epoch["loss"] for epoch in history], abs=1e-5)
    torch.testing.assert_close(model.embed(PLACES), cached.embed(PLACES), atol=1e-5, rtol=1e-4)


def test_learning_through_augmentation_in_passes(tmp_path):
    _, losses, changed = learn(
        tmp_path, "*", augmentation=Augmentation(), micro_batch=10, epochs=15, image_rate=0.5
    )
    assert losses[-1] < losses[0] - 0.3
    assert changed == WEIGHTS


def test_the_same_run_ends_in_the_same_weights(tmp_path):
    runs = [learn(tmp_path, "*", augmentation=Augmentation(), epochs=2) for _ in range(2)]
    first, second = (torch.cat([p.flatten() for p in run[0].parameters()]) for run in runs)
    assert torch.equal(first, second)
    assert runs[0][1] == runs[1][1]


def test_passes_equal_the_whole_batch_without_dropout(tmp_path):
    losses = [learn(tmp_path, "stem.*", epochs=3, micro_batch=rows)[1] for rows in (None, 7)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_model_without_an_image_encoder_says_so(tmp_path):
    table = toy_photos(tmp_path, 64)
    model = GeoModel(geocsp.create("location", "xyz", dim=8, hidden=8), 5)
    feed = PixelFeed(table.images, ToyEncoder())
    how = PretrainSettings(epochs=1, batch_size=32)
    with pytest.raises(ValueError, match=r"features \(B, 5\) for a model without image encoder"):
        pretrain(model, geocsp.create("objective", "clip"), feed, PLACES, how, seed=0)
