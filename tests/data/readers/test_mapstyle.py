import io
import pickle
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from geocsp.data.images import Bands
from geocsp.data.options import Columns, ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.read import read
from geocsp.data.readers.datasets import read_dataset
from geocsp.errors import DataError
from geocsp.images.decode import decode
from geocsp.images.framing import Framing

Point = namedtuple("Point", ["geom_type", "x", "y"])


class Chips(Dataset):
    """Like TorchGeo's NonGeoDataset."""

    classes = ("water", "land")

    def __init__(self, count=4):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if number == 2:
            raise RuntimeError("a damaged file")
        return {
            "image": torch.full((3, 8, 6), float(number)),
            "label": torch.tensor(number % 2),
            "centroid_lat": torch.tensor([10.0 + number]),
            "centroid_lon": torch.tensor([20.0]),
            "mask": torch.zeros(8, 6),
        }


class Placed(Dataset):
    """Knows all places, so that no sample has to be opened."""

    lon, lat = np.arange(3.0) + 1, (10, 20, 30)
    targets = (1, 0, -1)
    classes = ("a", "b")
    opened = 0

    def __len__(self):
        return 3

    def __getitem__(self, number):
        self.opened += 1
        return Image.new("RGB", (4, 4), (number, 0, 0)), self.targets[number]


def jpeg(value=0, place=None):
    image, buffer, exif = Image.new("RGB", (8, 8), (value, 0, 0)), io.BytesIO(), Image.Exif()
    if place is not None:
        exif[0x8825] = {1: "N", 2: (place[1], 0, 0), 3: "E", 4: (place[0], 0, 0)}
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_samples_of_tensors():
    table = read(Chips(), bands=Bands(low=0, high=255))
    assert table.lonlat.tolist() == [[20, 10], [20, 11], [20, 13]]
    assert table.label.texts().to_pylist() == ["water", "land", "land"]
    reason = "cannot be had: RuntimeError('a damaged file')"
    assert table.problems == (Problem("test_mapstyle.Chips", 2, reason),)
    assert table.images.names.to_pylist() == ["0", "1", "3"]
    image = table.images.load(2)
    assert image.shape == (8, 6, 3)
    assert (image == 3).all()
    assert decode(image, Framing(pixels=2), table.images.bands).tolist() == [[[3] * 3] * 2] * 2


def test_a_loader_of_such_a_data_set():
    assert len(read(DataLoader(Chips(), batch_size=2))) == 3


@pytest.mark.parametrize(
    ("image", "loaded"),
    [
        (jpeg(1), jpeg(1)),
        (bytearray(jpeg(1)), jpeg(1)),
        (np.ones((4, 5, 3), np.uint8), np.ones((4, 5, 3), np.uint8)),
        (torch.ones(3, 4, 5), np.ones((4, 5, 3), np.float32)),
        (torch.ones(4, 5, dtype=torch.int16), np.ones((4, 5), np.int16)),
        ({"bytes": b"x", "path": None}, b"x"),
    ],
)
def test_images_of_any_kind(image, loaded):
    found = read([{"image": image, "lon": 1, "lat": 2}]).images.load(0)
    assert np.array_equal(found, loaded)
    assert getattr(found, "dtype", None) == getattr(loaded, "dtype", None)


def test_pictures_stay_what_they_are():
    picture = Image.new("L", (4, 4))
    assert read([{"image": picture, "lon": 1, "lat": 2}]).images.load(0) is picture


def test_samples_that_name_files(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    samples = [
        {"image": "a.jpg", "lon": 1, "lat": 2},
        {"image": tmp_path / "b", "lon": 1, "lat": 2},
    ]
    table = read(samples, folder=str(tmp_path))
    assert table.images.names.to_pylist() == ["a.jpg", str(tmp_path / "b")]
    assert table.images.load(0) == tmp_path / "a.jpg"
    stamps = list(table.images.stamps())
    assert stamps[1].endswith("missing")
    (tmp_path / "a.jpg").write_bytes(jpeg(2) + b"x")
    assert table.images.stamps()[0] != stamps[0]


def test_what_is_no_image_is_told_when_it_is_loaded():
    table = read([{"image": 7, "lon": 1, "lat": 2}])
    with pytest.raises(DataError, match="has a int where its image should be"):
        table.images.load(0)


@pytest.mark.parametrize(
    "place",
    [
        {"coords": torch.tensor([1.0, 2.0])},
        {"point": (1.0, 2.0)},
        {"point": Point("Point", 1.0, 2.0)},
        {"geometry": Point("Point", 1.0, 2.0)},
        {"latlon": np.array([2.0, 1.0])},
        {"meta": {"lon": np.float32(1), "lat": np.int64(2)}},
    ],
)
def test_places_of_any_kind(place):
    assert read([{"image": b"x", **place}]).lonlat.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "when",
    [datetime(2026, 1, 1, 12, tzinfo=UTC), np.datetime64("2026-01-01T12"), "2026-01-01T12:00"],
)
def test_times_of_any_kind(when):
    table = read([{"image": b"x", "lon": 15, "lat": 2, "time": when}])
    assert table.time[0] == pytest.approx([0.5 / 365, 13.0])


def test_fields_can_be_named():
    samples = [{"image": b"x", "s2": b"y", "e": 1, "n": 2, "kind": "k", "lon": 5, "lat": 5}]
    columns = Columns(image="s2", lon="e", lat="n", label="kind")
    table = read_dataset(samples, ReadOptions(columns))
    assert table.images.load(0) == b"y"
    assert table.lonlat.tolist() == [[1, 2]]
    assert table.class_names == ("k",)
    with pytest.raises(DataError, match="no field 'x' for label"):
        read_dataset(samples, ReadOptions(Columns(label="x")))
    with pytest.raises(DataError, match="has no column 'x' for image"):
        read_dataset(samples, ReadOptions(Columns(image="x")))


def test_samples_that_cannot_be_used_are_told():
    samples = [
        {"image": b"x", "lon": 1, "lat": 2},
        {"image": None, "lon": 1, "lat": 2},
        (b"x", 1),
        {"image": b"x", "lon": 1, "lat": 99},
        {"image": b"x", "lon": "east", "lat": 9},
    ]
    table = read(samples)
    assert [(p.file, p.row, p.reason) for p in table.problems] == [
        ("builtins.list", 1, "has no 'image'"),
        ("builtins.list", 2, "is a tuple, not a dict with an image and its lon and lat"),
        (
            "builtins.list",
            3,
            "latitude 99 is outside [-90, 90] degrees; are longitude and latitude swapped?",
        ),
        ("builtins.list", 4, "lon 'east' is not a number"),
    ]


def test_images_tell_places_where_samples_do_not():
    table = read([{"image": jpeg(1, (5, 6))}, {"image": jpeg(2)}])
    assert table.lonlat.tolist() == [[5, 6]]
    with pytest.raises(
        DataError, match=r"^samples have no lon and lat; their fields are image, a; the images hold"
    ):
        read([{"image": torch.ones(3, 4, 4), "a": 1}] * 70)
    assert len(read([{"image": torch.ones(3, 4, 4)}] * 70, keep_unplaced=True)) == 70


def test_places_among_the_attributes():
    dataset = Placed()
    table = read(dataset)
    assert dataset.opened == 1
    assert table.lonlat.tolist() == [[1, 10], [2, 20], [3, 30]]
    assert table.label.texts().to_pylist() == ["b", "a", None]
    assert np.asarray(table.images.load(2))[0, 0].tolist() == [2, 0, 0]


@pytest.mark.parametrize(("name", "first"), [("lonlat", 0), ("latlon", 1)])
def test_pairs_among_the_attributes(name, first):
    class Pairs(list):
        pass

    dataset = Pairs([{"image": b"x"}] * 2)
    setattr(dataset, name, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    expected = [[1, 2], [3, 4]] if first == 0 else [[2, 1], [4, 3]]
    assert read(dataset).lonlat.tolist() == expected


def test_attributes_of_another_length_are_something_else():
    class Other(list):
        lon = lat = (1.0, 2.0, 3.0)

    assert read(Other([{"image": b"x", "lon": 7, "lat": 8}])).lonlat.tolist() == [[7, 8]]


def test_the_fingerprint_sees_the_images():
    def fingerprint(value):
        return read([{"image": torch.full((3, 4, 4), value), "lon": 1, "lat": 2}]).fingerprint

    assert fingerprint(1.0) == fingerprint(1.0)
    assert fingerprint(1.0) != fingerprint(2.0)
    picture = [{"image": Image.new("RGB", (4, 4)), "lon": 1, "lat": 2}]
    other = [{"image": Image.new("RGB", (4, 4), "red"), "lon": 1, "lat": 2}]
    assert read(picture).fingerprint != read(other).fingerprint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (7, "a int cannot be read; give a path or URL, a Hugging Face Dataset"),
        (None, "a NoneType cannot be read"),
        ({"image": [1]}, "a dict cannot be read"),
        (np.zeros((3, 4)), "a ndarray cannot be read"),
        (iter([]), "a list_iterator cannot be read"),
        (pa.table({"image": ["a"]}), "a Table cannot be read"),
        ([], "the list is empty"),
        ([1, 2], "no sample can be used; the first, 0: is a int, not a dict with an image"),
        ([{"lon": 1, "lat": 2}], "no sample can be used; the first, 0: has no image; its fields"),
        (TensorDataset(torch.ones(2)), "no sample can be used; the first, 0: is a tuple"),
    ],
)
def test_what_cannot_be_read(source, message):
    with pytest.raises(DataError) as caught:
        read_dataset(source, ReadOptions())
    assert str(caught.value).startswith(message)


def test_an_error_of_the_data_set_is_one_of_the_image():
    class Failing(list):
        lonlat = ((1.0, 2.0), (3.0, 4.0))

        def __getitem__(self, number):
            if number == 0:
                return super().__getitem__(number)
            raise Image.UnidentifiedImageError("no image")

    images = read(Failing([{"image": b"x"}] * 2)).images
    with pytest.raises(DataError, match=r"sample 1 cannot be had: UnidentifiedImageError"):
        images.load(1)


def test_an_error_of_the_disk_is_none_of_the_image():
    class Gone(list):
        lonlat = ((1.0, 2.0),)
        there = True

        def __getitem__(self, number):
            if self.there:
                return super().__getitem__(number)
            raise FileNotFoundError(2, "gone")

    dataset = Gone([{"image": b"x"}])
    images = read(dataset).images
    dataset.there = False
    with pytest.raises(FileNotFoundError):
        images.load(0)


def test_images_come_through_copies_and_threads():
    images = pickle.loads(pickle.dumps(read(Chips(40)).images))
    with ThreadPoolExecutor(8) as pool:
        values = [image.max() for image in pool.map(images.load, range(39))]
    assert values == [n for n in range(40) if n != 2]
    assert images.take(np.array([5])).load(0).max() == 6
