import re
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hostile import make_hostile_folder

from geocsp.data.read import read
from geocsp.errors import DataError
from geocsp.images.decode import decode
from geocsp.images.framing import Framing
from geocsp.images.pictures import quiet

COUNT = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("photos")


@pytest.fixture(scope="module")
def hostile(folder):
    return make_hostile_folder(folder, COUNT)


@pytest.fixture(scope="module")
def table(folder, hostile):
    return read(folder)


def test_the_folder_is_as_large_as_it_says(hostile):
    good, reading, decoding = hostile.good, hostile.bad_at_reading, hostile.bad_at_decoding
    assert len(good) + len(reading) + len(decoding) == COUNT
    assert not good & (reading.keys() | decoding.keys())
    assert len(reading) >= 25
    assert len(decoding) >= 4
    assert len(good) > 1900


def test_reading_uses_every_good_photo_and_lists_every_bad_one_once(table, hostile):
    assert set(table.images.names.to_pylist()) == hostile.good | hostile.bad_at_decoding.keys()
    assert len(set(table.images.names.to_pylist())) == len(table)
    listed = Counter(problem.file for problem in table.problems)
    assert listed == Counter(dict.fromkeys(hostile.bad_at_reading, 1))
    for problem in table.problems:
        assert re.search(hostile.bad_at_reading[problem.file], problem.reason), problem
        assert problem.row is None
        assert "\n" not in problem.reason
        problem.file.encode()


def test_places_times_and_labels_are_those_of_the_files(table):
    assert np.isfinite(table.lonlat).all()
    assert (np.abs(table.lonlat) <= (180, 90)).all()
    assert set(table.class_names) >= {"forest", "lake", "städte", "山", "linked"}
    assert np.isfinite(table.time[:, 0]).sum() > 1800
    place = dict(zip(table.images.names.to_pylist(), table.lonlat.tolist(), strict=True))
    assert place["lake/beside.jpg"] == pytest.approx([-(58 + 22 / 60 + 54 / 3600), -34.603611])
    assert place["lake/inside.jpg"] == [8.5, -47.25]
    assert place["lake/small letters.jpg"] == pytest.approx([-58, -34])


def test_decoding_gives_every_good_photo_and_the_reason_for_every_other(table, hostile):
    framing = Framing(pixels=32)

    def outcome(row):
        try:
            square = decode(table.images.load(row), framing, table.images.bands)
        except DataError as error:
            return str(error)
        assert square.shape == (32, 32, 3)
        return None

    with warnings.catch_warnings(record=True) as heard, quiet(), ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(outcome, range(len(table))))
    assert heard == []
    names = table.images.names.to_pylist()
    failed = {name: told for name, told in zip(names, outcomes, strict=True) if told is not None}
    assert failed.keys() == hostile.bad_at_decoding.keys()
    for name, told in failed.items():
        assert re.search(hostile.bad_at_decoding[name], told), (name, told)


def test_the_folder_is_the_same_every_time(tmp_path, folder, hostile):
    again = make_hostile_folder(tmp_path, COUNT)
    assert again == hostile
    for name in sorted(again.good)[::50]:
        if not name.endswith((".tif", ".heic", "heic.jpg")):
            assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
