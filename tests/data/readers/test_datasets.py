import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from geocsp.data.images import Bands, FileImages
from geocsp.data.options import Columns, ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.read import read
from geocsp.data.readers.datasets import DatasetImages, read_dataset
from geocsp.errors import DataError

hub = pytest.importorskip("datasets", reason="datasets is not installed: nothing was tested")
hub.disable_progress_bars()


def picture(value=0, place=None):
    image, buffer, exif = Image.new("RGB", (8, 8), (value, 0, 0)), io.BytesIO(), Image.Exif()
    if place is not None:
        exif[0x8825] = {1: "N", 2: (place[1], 0, 0), 3: "E", 4: (place[0], 0, 0)}
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def dataset(count=6, first=0, classes=("z", "a", "m"), **features):
    numbers = range(first, first + count)
    data = {
        "image": [{"bytes": picture(n), "path": None} for n in numbers],
        "lon": [n + 0.5 for n in numbers],
        "lat": [10.0] * count,
        "label": [n % len(classes) for n in numbers],
    }
    kinds = hub.Features(
        {
            "image": hub.Image(),
            "lon": hub.Value("float32"),
            "lat": hub.Value("float64"),
            "label": hub.ClassLabel(names=list(classes)),
        }
    )
    for name, (kind, values) in features.items():
        data[name], kinds[name] = values, kind
    return hub.Dataset.from_dict(data, features=kinds)


def test_images_and_columns():
    table = read(dataset(), bands=Bands(None, 0, 9))
    assert isinstance(table.images, DatasetImages)
    assert table.lonlat.tolist() == [[n + 0.5, 10] for n in range(6)]
    assert table.class_names == ("z", "a", "m")
    assert table.label.codes.tolist() == [0, 1, 2, 0, 1, 2]
    assert table.images.names.to_pylist() == list("012345")
    assert table.images.bands == Bands(None, 0, 9)
    assert [table.images.load(row) for row in (5, 0)] == [picture(5), picture(0)]


def test_images_are_not_decoded(monkeypatch):
    def decode(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr(hub.Image, "decode_example", decode)
    assert read(dataset()).images.load(3) == picture(3)


def test_rows_that_were_chosen_and_turned_around():
    chosen = dataset().filter(lambda row: row["label"] > 0).select([3, 0])
    table = read(chosen)
    assert table.lonlat[:, 0].tolist() == [5.5, 1.5]
    assert [table.images.load(row) for row in range(2)] == [picture(5), picture(1)]
    assert table.take(np.array([1])).images.load(0) == picture(1)


def test_formats_and_transforms_do_not_matter():
    for other in (dataset().with_format("torch"), dataset().with_transform(lambda rows: 1 / 0)):
        assert read(other).images.load(2) == picture(2)


def test_keys_of_a_dataset_dict_are_the_splits():
    parts = hub.DatasetDict(train=dataset(4), test=dataset(2, 4))
    table = read(parts)
    assert table.split.texts().to_pylist() == ["train"] * 4 + ["test"] * 2
    assert table.images.names.to_pylist()[3:5] == ["train/3", "test/0"]
    assert [table.images.load(row) for row in range(6)] == [picture(n) for n in range(6)]
    named = hub.DatasetDict(train=dataset(2, split=(hub.Value("string"), ["a", "b"])))
    assert read(named).split.names == ("a", "b")


def test_splits_with_other_classes_are_refused():
    parts = hub.DatasetDict(train=dataset(), test=dataset(classes=("a", "z", "m")))
    with pytest.raises(DataError, match="the splits number their classes differently"):
        read(parts)


def test_columns_in_structs_and_lists():
    place = {"lat": hub.Value("float64"), "lng": hub.Value("float64")}
    nested = (place, [{"lat": 1.0, "lng": 2.0}] * 6)
    table = read(dataset(spot=nested).remove_columns(["lon", "lat"]))
    assert table.lonlat.tolist() == [[2, 1]] * 6
    pair = (hub.Sequence(hub.Value("float64"), length=2), [[3.0, 4.0]] * 6)
    table = read(dataset(coordinates=pair).remove_columns(["lon", "lat"]))
    assert table.lonlat.tolist() == [[3, 4]] * 6


def test_columns_can_be_named():
    other = dataset(
        thumb=(hub.Value("binary"), [b"t"] * 6), kind=(hub.Value("string"), list("abcdef"))
    )
    options = ReadOptions(Columns(image="thumb", label="kind"))
    table = read_dataset(other, options)
    assert table.images.load(0) == b"t"
    assert table.class_names == tuple("abcdef")
    with pytest.raises(DataError, match="has no column 'x' for label"):
        read_dataset(other, ReadOptions(Columns(label="x")))


def test_paths_of_images(tmp_path):
    paths = hub.Dataset.from_dict({"image": ["a.jpg", "b.jpg"], "lon": [1, 2], "lat": [3, 4]})
    table = read(paths, folder=str(tmp_path))
    assert isinstance(table.images, FileImages)
    assert table.images.load(1) == tmp_path / "b.jpg"
    with pytest.raises(DataError, match="0 columns hold bytes"):
        read(paths.remove_columns("image"))


def test_images_that_are_linked(tmp_path):
    files = [tmp_path / f"{n}.jpg" for n in range(3)]
    for n, file in enumerate(files):
        file.write_bytes(picture(n))
    data = {"image": list(map(str, files)), "lon": [1, 2, 3], "lat": [4, 5, 6]}
    linked = hub.Dataset.from_dict(data).cast_column("image", hub.Image()).select([2, 0])
    table = read(linked)
    assert table.images.names.to_pylist() == [str(files[2]), str(files[0])]
    assert table.images.load(0) == files[2]
    stamps = list(table.images.stamps())
    files[0].write_bytes(b"longer" + picture(0))
    assert [a == b for a, b in zip(stamps, table.images.stamps(), strict=True)] == [True, False]


def test_places_within_the_images():
    images = [{"bytes": picture(0, (5, 6)), "path": None}, {"bytes": picture(1), "path": None}]
    features = hub.Features({"image": hub.Image()})
    table = read(hub.Dataset.from_dict({"image": images}, features=features))
    assert table.lonlat.tolist() == [[5, 6]]
    assert table.problems == (Problem("1", None, "no coordinates"),)
    bare = hub.Dataset.from_dict({"image": images[1:] * 70}, features=features)
    with pytest.raises(DataError, match=r"has no column lon; .*; the images hold no places either"):
        read(bare)
    assert len(read(bare, keep_unplaced=True)) == 70


def test_rows_without_a_place_or_an_image():
    data = {
        "image": [{"bytes": picture(), "path": None}, None, {"bytes": picture(), "path": None}],
        "lon": [1.0, 2.0, None],
        "lat": [1.0, 2.0, 3.0],
    }
    features = hub.Features(
        {"image": hub.Image(), "lon": hub.Value("float64"), "lat": hub.Value("float64")}
    )
    table = read(hub.Dataset.from_dict(data, features=features))
    assert [problem.reason for problem in table.problems] == ["no longitude"]
    with pytest.raises(DataError, match="has nothing where its image should be"):
        table.images.load(1)


def test_stamps_change_with_the_data_set():
    stamps = [list(read(dataset(4, first)).images.stamps()) for first in (0, 0, 1)]
    assert stamps[0] == stamps[1]
    assert len(set(stamps[0])) == 4
    assert set(stamps[0]).isdisjoint(stamps[2])


@pytest.mark.parametrize("parts", [False, True])
def test_streams_are_refused(parts):
    stream = dataset().to_iterable_dataset()
    source = hub.IterableDatasetDict(train=stream) if parts else stream
    with pytest.raises(DataError, match="an IterableDataset has no rows to go back to; save it as"):
        read(source)


def test_nothing_in_a_data_set():
    with pytest.raises(DataError, match="the DatasetDict is empty"):
        read(hub.DatasetDict())
    with pytest.raises(DataError, match="holds no image"):
        read(dataset().select([]))


def test_images_come_through_copies_and_threads():
    images = pickle.loads(pickle.dumps(read(dataset(60)).images))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(images.load, range(60))) == [picture(n) for n in range(60)]
