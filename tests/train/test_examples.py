import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from toys import ToyEncoder, toy_photos

from geocsp.data.images import FileImages
from geocsp.data.read import read
from geocsp.data.table import Categories, GeoTable
from geocsp.errors import DataError
from geocsp.images.features import compute_features, open_features
from geocsp.train.examples import (
    Examples,
    Pixels,
    is_features,
    published_examples,
    rows_to_train_on,
)

LONLAT = np.array([[10.5, 50.5], [np.nan, np.nan], [-20.25, 40.0], [30.0, 20.0], [5.0, -5.0]])


def table(**columns):
    images = FileImages(pa.chunked_array([[f"{row}.jpg" for row in range(len(LONLAT))]]))
    return GeoTable(images, LONLAT, **columns)


def categories(*texts):
    return Categories.of(texts)


def test_rows_without_a_place_are_left_out_and_told():
    rows, notes = rows_to_train_on(table())
    assert rows.tolist() == [0, 2, 3, 4]
    assert notes == ("rows without a place, which are not trained on: 1",)


def test_only_the_split_for_training_is_trained_on_where_there_is_one():
    split = categories("train", "train", "test", "train", "val")
    rows, notes = rows_to_train_on(table(split=split))
    assert rows.tolist() == [0, 3]
    assert notes[1] == "rows of other splits, which are not trained on: 2"
    rows, _ = rows_to_train_on(table(split=categories("a", "b", "test", "test", "c")))
    assert rows.tolist() == [0, 2, 3, 4]


def test_a_table_without_rows_to_train_on_is_refused():
    split = categories("test", "train", "test", "test", "test")
    with pytest.raises(DataError, match="none of 5 rows has a place and is of split 'train'"):
        rows_to_train_on(table(split=split))


@pytest.fixture
def examples():
    rows = np.array([0, 2, 3, 4])
    time = np.array([[0.5, 12.0]] * 5)
    whole = table(
        time=time,
        label=categories("b", "a", "a", None, "b"),
        group=categories("x", "x", "y", "y", "z"),
    )
    return Examples.of(whole.take(rows), torch.arange(8.0).view(4, 2), "toy")


def test_examples_have_the_columns_of_their_table(examples):
    assert len(examples) == 4
    assert examples.lonlat.dtype == torch.float32
    assert examples.lonlat.tolist() == LONLAT[[0, 2, 3, 4]].tolist()
    assert examples.time.tolist() == [[0.5, 12.0]] * 4
    assert examples.labels.tolist() == [1, 0, -1, 1]
    assert examples.groups.tolist() == [0, 1, 1, 2]
    assert examples.feature_dim == 2
    assert Examples(None, examples.lonlat).labels is None
    assert Examples(None, examples.lonlat).groups is None
    assert Examples(None, examples.lonlat).feature_dim == 1


def test_some_rows_keep_all_columns_in_step(examples):
    some = examples.take(np.array([3, 0]))
    assert some.images.tolist() == [[6, 7], [0, 1]]
    assert some.lonlat.tolist() == LONLAT[[4, 0]].tolist()
    assert some.labels.tolist() == [1, 1]
    assert some.groups.tolist() == [2, 0]
    assert some.label.names == examples.label.names
    assert replace(examples, images=None).take(np.array([1])).images is None


def test_at_most_so_many_of_a_class_are_kept_the_same_for_one_seed(examples):
    assert examples.at_most(None, 0) is examples
    some = [examples.at_most(1, seed) for seed in range(9)]
    assert all(sorted(one.labels.tolist()) == [0, 1] for one in some)
    assert torch.equal(some[0].lonlat, examples.at_most(1, 0).lonlat)
    assert len({tuple(one.lonlat.flatten().tolist()) for one in some}) == 2
    with pytest.raises(DataError, match="per_class needs labels, but the source has none"):
        replace(examples, label=None).at_most(1, 0)


def test_the_fingerprint_follows_everything_but_the_notes(examples):
    same = [replace(examples, notes=("a",)), examples.take(np.arange(4))]
    assert {one.fingerprint for one in same} == {examples.fingerprint}
    moved = examples.lonlat.clone()
    moved[0, 0] += 1
    others = [
        replace(examples, key="other"),
        replace(examples, lonlat=moved),
        replace(examples, time=None),
        replace(examples, time=examples.time + 1),
        replace(examples, label=None),
        replace(examples, label=replace(examples.label, names=("a", "c"))),
        replace(examples, group=None),
        examples.take(np.array([1, 0, 2, 3])),
    ]
    assert len({one.fingerprint for one in (examples, *others)}) == 9


def test_computed_features_are_examples_without_their_source(tmp_path):
    photos = toy_photos(tmp_path / "photos", 6, broken=(2,))
    compute_features(ToyEncoder(), photos, tmp_path / "features")
    assert is_features(str(tmp_path / "features"))
    assert not is_features(str(tmp_path / "photos"))
    found = open_features(tmp_path / "features")
    examples = Examples.of_features(found)
    assert len(examples) == 5
    assert torch.equal(examples.images.read(), found.read())
    assert examples.feature_dim == 5
    assert [Path(problem.file).name for problem in examples.problems] == ["002.png"]
    some = examples.take(np.array([4, 1]))
    assert torch.equal(some.images.read(), found.read()[[4, 1]])
    compute_features(ToyEncoder(seed=1), photos, tmp_path / "others")
    others = Examples.of_features(open_features(tmp_path / "others"))
    assert others.fingerprint != examples.fingerprint


def test_pixels_are_examples_of_the_encoder_s_size(tmp_path):
    photos, encoder = toy_photos(tmp_path / "photos", 4), ToyEncoder()
    examples = Examples.of(photos, Pixels(photos.images, encoder))
    assert examples.feature_dim == 5
    some = examples.take(np.array([2, 0])).images
    assert some.images.names.to_pylist() == ["002.png", "000.png"]
    feed = some.feed(augmented=True)
    assert (len(feed), feed.encoder, feed.augmentation) == (2, encoder, None)


@pytest.fixture
def csp(tmp_path):
    locations = [
        {"id": n, "lon": lon, "lat": 10.0 * n, "date_c": 0.5, "user_id": 1}
        for n, lon in enumerate([1.0, None, 3.0, 4.0])
    ]
    for split in ("train", "val"):
        whole = {
            "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(4)],
            "annotations": [{"image_id": n, "category_id": n % 2} for n in range(4)],
            "categories": [{"id": n, "name": f"species {n}"} for n in range(2)],
        }
        (tmp_path / f"{split}2018.json").write_text(json.dumps(whole))
        (tmp_path / f"{split}2018_locations.json").write_text(json.dumps(locations))
    folder = tmp_path / "features_inception_pretrain"
    folder.mkdir()
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(folder / "inat2018_train_pretrain_net_feats.npy", features)
    return tmp_path


@pytest.mark.parametrize("keep_unplaced", [False, True])
def test_published_features_are_those_of_the_training_images_with_a_place(csp, keep_unplaced):
    source = f"inat2018:{csp}"
    examples = published_examples(source, read(source, keep_unplaced=keep_unplaced))
    assert examples.images.tolist() == [[0, 1, 2], [6, 7, 8], [9, 10, 11]]
    assert examples.images.dtype == torch.float32
    assert examples.lonlat.tolist() == [[1, 0], [3, 20], [4, 30]]
    assert examples.labels.tolist() == [0, 0, 1]
    assert any("of other splits, which are not trained on: " in note for note in examples.notes)


def test_published_features_are_told_apart_by_what_is_in_them(csp):
    source = f"inat2018:{csp}"
    first = published_examples(source, read(source)).fingerprint
    path = csp / "features_inception_pretrain/inat2018_train_pretrain_net_feats.npy"
    features = np.load(path)
    path.touch()
    assert published_examples(source, read(source)).fingerprint == first
    features[2] += 1
    np.save(path, features)
    assert published_examples(source, read(source)).fingerprint != first


def test_without_published_features_there_are_no_such_examples(csp, tmp_path):
    assert published_examples("photos", table()) is None
    source = f"inat2018:{csp}"
    whole = read(source)
    (csp / "features_inception_pretrain").rename(csp / "features")
    assert published_examples(source, whole) is None
