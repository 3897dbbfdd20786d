import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import geocsp
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.geolocate import Gallery
from geocsp.geolocate import store as store_module
from geocsp.model import GeoModel

COUNT = 100


@pytest.fixture(autouse=True)
def _small_files(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCSP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store_module, "_PART", 16)
    monkeypatch.setattr(store_module, "_NUMBERS", 32 * 8)


@pytest.fixture
def embedded(monkeypatch):
    """How many places were embedded, call by call, without those that are only checked."""
    sizes, embed = [], store_module._embedded

    def counted(model, lonlat):
        sizes.append(len(lonlat))
        return embed(model, lonlat)

    monkeypatch.setattr(store_module, "_embedded", counted)
    checked = store_module._CHECKED + 4
    return lambda: [size for size in sizes if size != checked]


def model_of(seed=0, name="sphere2vec-spherec", **settings):
    torch.manual_seed(seed)
    return GeoModel(geocsp.create("location", name, dim=8, **settings), 6).eval()


def places(seed=0):
    return sample_sphere(COUNT, torch.Generator().manual_seed(seed)).double()


def whole(gallery):
    return torch.cat(gallery.store.parts)


def fresh(model, lonlat):
    with torch.no_grad():
        return model.encode_location(lonlat)


def test_places_are_embedded_once(embedded):
    model, told = model_of(), []
    first = Gallery.of(model, places(), on_places=lambda done, total: told.append((done, total)))
    assert embedded() == [32, 32, 32, 4]
    assert told == [(0, 100), (32, 100), (64, 100), (96, 100), (100, 100)]
    second = Gallery.of(model, places(), on_places=lambda *_: pytest.fail("nothing is to be done"))
    assert embedded() == [32, 32, 32, 4]
    assert torch.equal(whole(first), whole(second))
    assert torch.equal(whole(first), fresh(model, places()))
    rows = torch.tensor([99, 0, 31, 32, 0])
    assert torch.equal(first.store.take(rows), whole(first)[rows])


def test_parts_are_mapped_and_not_read(embedded):
    gallery = Gallery.of(model_of(), places())
    assert len(gallery.store.parts) == 4
    maps = [np.load(path, mmap_mode="r") for path in sorted(gallery.store.folder.glob("*.npy"))]
    for part, stored in zip(gallery.store.parts, maps, strict=True):
        assert part.dtype == torch.float32
        assert np.array_equal(part.numpy(), stored)


def test_another_model_or_other_places_have_a_cache_of_their_own(embedded):
    folders = [
        Gallery.of(model, lonlat).store.folder
        for model, lonlat in (
            (model_of(), places()),
            (model_of(seed=1), places()),
            (model_of(name="space2vec-grid"), places()),
            (model_of(min_radius=0.02), places()),
            (model_of(), places(seed=1)),
            (model_of(), places().flip(0)),
        )
    ]
    assert len(set(folders)) == len(folders)
    assert len(embedded()) == 4 * len(folders)
    same = GeoModel(model_of().location, 17, temperature=0.5)  # another image side
    assert Gallery.of(same, places()).store.folder == folders[0]


def test_a_run_that_was_stopped_goes_on(embedded):
    def stop(done, total):
        if done == 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Gallery.of(model_of(), places(), on_places=stop)
    assert embedded() == [32, 32]
    told = []
    gallery = Gallery.of(model_of(), places(), on_places=lambda done, total: told.append(done))
    assert embedded() == [32, 32, 32, 4]
    assert told == [64, 96, 100]
    assert torch.equal(whole(gallery), fresh(model_of(), places()))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def of_another_shape(path):
    np.save(path, np.zeros((32, 7), np.float32))


def of_another_type(path):
    np.save(path, np.zeros((32, 8), np.float16))


@pytest.mark.parametrize("damage", [cut_short, empty, of_another_shape, of_another_type])
def test_a_damaged_file_is_made_again(damage, embedded):
    folder = Gallery.of(model_of(), places()).store.folder
    damage(folder / "00001.npy")
    with pytest.warns(UserWarning, match=r"00001\.npy is damaged"):
        again = Gallery.of(model_of(), places())
    assert embedded() == [32, 32, 32, 4, 32]
    assert torch.equal(whole(again), fresh(model_of(), places()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Gallery.of(model_of(), places())


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_numbers_of_another_model_are_made_again(value, embedded):
    gallery = Gallery.of(model_of(), places())
    index = gallery.store.folder / "index-faiss-1"
    index.mkdir()
    np.save(gallery.store.folder / "00002.npy", np.full((32, 8), value, np.float32))
    with pytest.warns(UserWarning, match="of another model"):
        again = Gallery.of(model_of(), places())
    assert embedded() == 2 * [32, 32, 32, 4]
    assert torch.equal(whole(again), fresh(model_of(), places()))
    assert not index.exists()  # it was of the old numbers


def test_embeddings_that_are_not_finite_are_refused(tmp_path):
    model = model_of()
    with torch.no_grad():
        model.location.network.requires_grad_(False)
        for weight in model.location.network.parameters():
            weight.fill_(torch.nan)
    with pytest.raises(DataError, match="not finite"):
        Gallery.of(model, places())
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GEOCSP_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot write embeddings to .*GEOCSP_CACHE"):
        Gallery.of(model_of(), places())


SCRIPT = """
import sys, torch
from test_place_store import model_of, places
from geocsp.geolocate import Gallery, store
store._PART, store._NUMBERS = 16, 32 * 8
sizes, embed = [], store._embedded
def counted(model, lonlat):
    import time
    time.sleep(0.05)  # the other one is surely there
    sizes.append(len(lonlat))
    return embed(model, lonlat)
store._embedded = counted
print("ready", flush=True)
sys.stdin.readline()
gallery = Gallery.of(model_of(), places())
made = [size for size in sizes if size != store._CHECKED + 4]
print(len(made), float(torch.cat(gallery.store.parts).sum()))
"""


def test_two_processes_at_once_share_the_work(tmp_path):
    command = [sys.executable, "-c", SCRIPT]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, cwd=Path(__file__).parent, **pipes) for _ in range(2)]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    told = [one.communicate(timeout=60)[0].split() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(int(made) for made, _ in told) == [0, 4]  # one worked, the other waited
    assert told[0][1] == told[1][1]
