from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import torch
from toys import toy_photos

import geocsp.train.sources
from geocsp.data.named.no_images import NoImages
from geocsp.data.table import Categories, GeoTable
from geocsp.errors import DataError
from geocsp.images.features import open_features
from geocsp.presets import BEST, PRESETS, Component, changed
from geocsp.train.examples import Pixels
from geocsp.train.sources import Extraction, needs_images, read_examples

SMALL = changed(BEST, {"image.pixels": 32})
CPU = torch.device("cpu")


@pytest.fixture
def photos(tmp_path):
    return toy_photos(tmp_path / "photos", 7, broken=(2,))


@pytest.fixture
def reading(tmp_path):
    def run(source, table, preset=SMALL, **options):
        extraction = Extraction(tmp_path / "features", **options)
        return read_examples(source, lambda: table, preset, extraction, CPU)

    return run


@pytest.mark.parametrize("name", PRESETS)
def test_only_those_that_learn_from_labels_alone_need_no_images(name):
    assert needs_images(PRESETS[name]) == (name != "sinr")


def test_features_of_images_are_computed_once(photos, reading, tmp_path):
    seen = []
    examples = reading("photos", photos, on_progress=seen.append)
    assert len(examples) == 6
    assert examples.feature_dim == 1280
    assert seen[-1].done == 7
    assert [problem.file for problem in examples.problems] == ["002.png"]
    assert torch.equal(examples.images.read(), open_features(tmp_path / "features").read())
    assert len(reading(str(tmp_path / "features"), None)) == 6
    again = reading("photos", photos)
    assert again.fingerprint == examples.fingerprint


def test_only_images_to_train_on_go_through_the_network(photos, reading):
    split = Categories.of(["train", "test"] * 3 + ["train"])
    examples = reading("photos", replace(photos, split=split))
    assert len(examples.images.cache) == 4
    assert examples.notes == ("rows of other splits, which are not trained on: 3",)


def test_pixels_stay_pixels_where_the_encoder_is_trained_or_images_change(photos, reading):
    looked = []
    preset = changed(SMALL, {"image.train": ["head.*"]})
    examples = reading("photos", photos, preset, on_progress=looked.append, workers=2)
    assert isinstance(examples.images, Pixels)
    assert examples.images.images.names.to_pylist() == [f"{n:03d}.png" for n in (0, 1, 3, 4, 5, 6)]
    assert examples.images.workers == 2
    assert examples.lonlat.tolist() == photos.lonlat[[0, 1, 3, 4, 5, 6]].astype("f4").tolist()
    assert (looked[-1].done, looked[-1].total) == (7, 7)
    assert [problem.file for problem in examples.problems] == ["002.png"]
    assert examples.fingerprint == reading("photos", photos, preset).fingerprint
    larger = reading("photos", photos, changed(preset, {"image.pixels": 48}))
    assert larger.fingerprint != examples.fingerprint
    augmented = reading("photos", photos, changed(SMALL, {"image.augmentation": {}}))
    assert (
        augmented.images.augmentation
        == changed(SMALL, {"image.augmentation": {}}).image.augmentation
    )
    assert augmented.images.augmentation is not None


def test_features_cannot_become_pixels_again(photos, reading, tmp_path):
    reading("photos", photos)
    with pytest.raises(DataError, match="holds features; to train from pixels, name the images"):
        reading(str(tmp_path / "features"), None, changed(SMALL, {"image.train": ["*"]}))


def test_images_are_not_opened_where_labels_are_enough(photos, reading, monkeypatch, tmp_path):
    monkeypatch.setattr(geocsp.train.sources, "compute_features", partial(pytest.fail, "opened"))
    examples = reading("photos", photos, PRESETS["sinr"])
    assert examples.images is None
    assert len(examples) == 7
    assert examples.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_places_without_images_stay_places(reading):
    table = GeoTable(NoImages.of(3), np.array([[1.0, 2], [3, 4], [5, 6]]))
    examples = reading("places", table)
    assert examples.images is None
    assert examples.lonlat.tolist() == table.lonlat.tolist()


def test_features_are_left_out_where_labels_are_enough(photos, reading, tmp_path):
    reading("photos", photos)
    assert reading(str(tmp_path / "features"), None, PRESETS["sinr"]).images is None


def test_an_encoder_that_there_is_not_is_named(photos, reading):
    with pytest.raises(DataError, match="no image encoder 'guess'"):
        reading("photos", photos, changed(SMALL, {"image.encoder": "guess"}))


def test_a_preset_without_an_objective_is_refused(photos, reading):
    with pytest.raises(ValueError, match="labels alone"):
        reading("photos", photos, replace(SMALL, objective=None))


def test_published_features_come_before_computed_ones_unless_they_are_wanted_anew(
    photos, reading, monkeypatch
):
    published = object()
    monkeypatch.setattr(geocsp.train.sources, "published_examples", lambda *_: published)
    assert reading("inat2018:data", photos) is published
    assert len(reading("inat2018:data", photos, anew=True)) == 6
    objective = Component("simcse", {"jitter_km": 5.0})
    assert reading("inat2018:data", photos, replace(SMALL, objective=objective)).images is None


def test_an_image_named_twice_is_kept_twice(photos, reading):
    names = pa.chunked_array([["000.png", "000.png", "002.png"]])
    twice = photos.take(np.array([0, 1, 2]))
    twice = replace(twice, images=replace(twice.images, names=names))
    examples = reading("photos", twice, changed(SMALL, {"image.train": ["*"]}))
    assert examples.images.images.names.to_pylist() == ["000.png", "000.png"]
