import errno
import json
import pickle
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from geocsp.data import cache as module
from geocsp.data.cache import FeatureCache, Storage, cache_folder
from geocsp.errors import DataError


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_ROWS", 4)
    return FeatureCache(tmp_path / "features", rows=10, dim=3)


def rows_of(store, shard, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(store.rows, store.dim, generator=generator)[store.span(shard)]


def fill(store):
    parts = [rows_of(store, shard) for shard in range(store.shards)]
    for shard, part in enumerate(parts):
        store.write(shard, part)
    return torch.cat(parts)


def test_shards_cover_all_rows_once(store):
    assert store.shards == 3
    spans = [list(store.span(shard)) for shard in range(3)]
    assert spans == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_what_is_written_is_read_back_rounded_to_float16(store):
    features = fill(store)
    read = store.read()
    assert read.dtype == torch.float32
    assert torch.equal(read, features.half().float())
    assert not torch.equal(read, features)


def test_only_shards_that_are_not_there_are_missing(store):
    assert store.missing() == [0, 1, 2]
    store.write(1, rows_of(store, 1))
    assert store.missing() == [0, 2]
    store.write(2, rows_of(store, 2))
    store.write(0, rows_of(store, 0))
    assert store.missing() == []


def test_an_incomplete_cache_is_not_read(store):
    store.write(0, rows_of(store, 0))
    with pytest.raises(DataError, match="lacks 2 of 3 shards"):
        store.read()


def test_what_is_read_can_be_changed_without_changing_the_cache(store):
    features = fill(store)
    store.read().zero_()
    assert torch.equal(store.read(), features.half().float())


def test_no_file_but_the_shards_is_left(store):
    fill(store)
    names = ["000000.npy", "000001.npy", "000002.npy"]
    assert sorted(path.name for path in store.folder.iterdir()) == names


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_damaged_shard_is_named(store, keep):
    fill(store)
    path = store.folder / "000001.npy"
    path.write_bytes(path.read_bytes()[:keep])
    for use in (store.missing, store.read):
        with pytest.raises(DataError, match=r"000001\.npy is damaged .* delete it and run again"):
            use()
    path.unlink()
    assert store.missing() == [1]


def test_a_shard_of_pickled_objects_is_refused(store):
    fill(store)
    np.save(store.folder / "000001.npy", np.array([{}] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"000001\.npy"):
        store.read()


@pytest.mark.parametrize(
    "stranger",
    [
        np.zeros((4, 2), np.float16),
        np.zeros((3, 3), np.float16),
        np.zeros((4, 3), np.float32),
        np.zeros(12, np.float16),
    ],
)
def test_a_file_of_another_shape_or_dtype_is_refused(store, stranger):
    fill(store)
    np.save(store.folder / "000001.npy", stranger)
    with pytest.raises(DataError, match=r"000001\.npy is not a shard of this cache"):
        store.missing()


@pytest.mark.parametrize(("shard", "shape"), [(0, (3, 3)), (0, (4, 2)), (2, (4, 3)), (0, (12,))])
def test_features_of_another_shape_are_not_written(store, shard, shape):
    with pytest.raises(DataError, match=f"shard {shard} is"):
        store.write(shard, torch.zeros(shape))
    assert store.missing() == [0, 1, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e5])
def test_features_beyond_float16_are_refused_with_their_image(store, value):
    features = rows_of(store, 1)
    features[2:, 1] = value
    with pytest.raises(DataError, match="image 6 are not finite in float16"):
        store.write(1, features)
    assert store.missing() == [0, 1, 2]


def test_a_full_disk_is_told_and_leaves_the_cache_valid(store, monkeypatch):
    store.write(0, rows_of(store, 0))

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_atomically", full)
        with pytest.raises(DataError, match=f"{store.folder}: No space left on device"):
            store.write(1, rows_of(store, 1))
    assert store.missing() == [1, 2]
    features = fill(store)
    assert torch.equal(store.read(), features.half().float())


def test_a_disk_that_fills_up_within_a_shard_leaves_no_part_of_it(store, monkeypatch):
    store.write(0, rows_of(store, 0))

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(DataError, match="No space left"):
            store.write(1, rows_of(store, 1))
    assert [path.name for path in store.folder.iterdir()] == ["000000.npy"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = FeatureCache(tmp_path / "file" / "features", rows=2, dim=3)
    with pytest.raises(DataError, match="cannot write features to"):
        store.write(0, torch.zeros(2, 3))


def test_a_full_disk_is_told_when_the_cache_is_described(store, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_new", full)
    with pytest.raises(DataError, match="No space left on device"):
        store.describe(encoder="fake")


def test_the_description_states_size_and_facts(store):
    store.describe(encoder="fake", pixels=7)
    assert json.loads((store.folder / "about.json").read_text()) == {
        "rows": 10,
        "dim": 3,
        "dtype": "float16",
        "shard_rows": 4,
        "encoder": "fake",
        "pixels": 7,
    }


def test_the_cache_folder_is_the_users_unless_the_environment_names_another(monkeypatch, tmp_path):
    monkeypatch.setenv("GEOCSP_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    users = Path(platformdirs.user_cache_dir("geocsp"))
    monkeypatch.setenv("GEOCSP_CACHE", "")
    assert cache_folder() == users
    monkeypatch.delenv("GEOCSP_CACHE")
    assert cache_folder() == users


def test_bfloat16_keeps_large_values_and_two_digits(tmp_path):
    store = FeatureCache(tmp_path, rows=3, dim=2, storage=Storage.BFLOAT16)
    features = torch.tensor([[1e30, -3.14159], [0.0, 65_536.0], [1e-30, 2.0]])
    store.write(0, features)
    assert torch.equal(store.read(), features.bfloat16().float())
    assert np.load(store.folder / "000000.npy").dtype == np.uint16
    with pytest.raises(DataError, match=r"image 1 are not finite in bfloat16$"):
        store.write(0, torch.tensor([[0.0, 0.0], [0.0, float("inf")], [0.0, 0.0]]))


def test_beyond_float16_the_error_says_what_to_do(store):
    with pytest.raises(DataError, match="not finite in float16; store them as bfloat16"):
        store.write(0, torch.full((4, 3), 1e5))


@pytest.mark.parametrize("storage", Storage)
def test_rows_are_gathered_in_any_order_and_more_than_once(tmp_path, storage):
    store = FeatureCache(tmp_path, rows=10, dim=3, storage=storage, shard_rows=4)
    for shard in range(store.shards):
        store.write(shard, rows_of(store, shard))
    whole = store.read()
    for rows in ([9, 0, 4, 4, 3, 7], [], [5], list(range(10))):
        assert torch.equal(store[torch.tensor(rows, dtype=torch.int64)], whole[rows])
        assert torch.equal(store[np.array(rows, dtype=np.int64)], whole[rows])
    assert store.shape == (10, 3)
    assert len(store) == 10


@pytest.mark.parametrize("rows", [[10], [-1], [0, 11]])
def test_rows_that_are_not_there_are_refused(store, rows):
    fill(store)
    with pytest.raises(IndexError, match=r"rows must be in \[0, 10\)"):
        store[torch.tensor(rows)]


def test_unusable_images_are_nan_with_their_reason(store):
    fill(store)
    store.write(1, torch.ones(4, 3), {6: "is damaged", 4: "is empty"})
    assert store.failures() == {4: "is empty", 6: "is damaged"}
    bad = store.read().isnan()
    assert bad.any(dim=1).nonzero()[:, 0].tolist() == [4, 6]
    assert bad.all(dim=1).sum() == 2


def test_failures_do_not_hide_other_features_that_are_not_finite(store):
    features = torch.ones(4, 3)
    features[2] = torch.nan
    with pytest.raises(DataError, match="image 6 are not finite"):
        store.write(1, features, {5: "is damaged"})


def test_damaged_failures_are_named(store):
    fill(store)
    (store.folder / "000001.failed.json").write_text('{"4":')
    with pytest.raises(
        DataError, match=r"000001.failed.json is damaged .*000001.npy and run again"
    ):
        store.failures()


def test_a_shard_is_never_there_without_its_failures(store, monkeypatch):
    written = []
    real = module.write_atomically

    def stop_at_the_shard(path, content):
        written.append(path.name)
        if path.suffix == ".npy":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(module, "write_atomically", stop_at_the_shard)
    with pytest.raises(DataError, match="No space left"):
        store.write(0, torch.ones(4, 3), {1: "is damaged"})
    assert written == ["000000.failed.json", "000000.npy"]
    assert store.missing() == [0, 1, 2]


def test_a_cache_is_opened_from_its_folder_alone(tmp_path):
    store = FeatureCache(tmp_path / "a", rows=10, dim=3, storage=Storage.BFLOAT16, shard_rows=4)
    store.describe(encoder="fake")
    for shard in range(3):
        store.write(shard, rows_of(store, shard))
    again = FeatureCache.open(store.folder)
    assert again == store
    assert torch.equal(again.read(), store.read())
    assert again.about()["encoder"] == "fake"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no features: there is no about.json"),
        ("{", "about.json is damaged"),
        ("[]", "about.json is damaged"),
        ('{"rows": 3}', "about.json is damaged"),
        ('{"rows": 3, "dim": 2, "dtype": "int4", "shard_rows": 4}', "about.json is damaged"),
    ],
)
def test_a_folder_that_is_no_cache_is_one_clear_error(tmp_path, content, message):
    if content is not None:
        (tmp_path / "about.json").write_text(content)
    with pytest.raises(DataError, match=message):
        FeatureCache.open(tmp_path)


def test_a_folder_of_another_size_is_refused(store):
    store.describe()
    other = FeatureCache(store.folder, rows=11, dim=3)
    with pytest.raises(DataError, match=r"holds other features \(rows differ\)"):
        other.about()


@pytest.mark.parametrize(
    ("rows", "shard_rows"),
    [(1, 1024), (524_288, 1024), (524_289, 2048), (100_000_000, 195_584)],
)
def test_there_are_never_more_than_512_shards(tmp_path, rows, shard_rows):
    store = FeatureCache(tmp_path, rows=rows, dim=1)
    assert store.shard_rows == shard_rows
    assert store.shards <= 512


def test_writing_leaves_the_features_of_the_caller_alone(store):
    features = rows_of(store, 1).half()
    before = features.clone()
    store.write(1, features, {5: "broken"})
    assert torch.equal(features, before)


def test_a_shard_that_is_good_at_last_has_no_failures(store):
    store.write(0, torch.ones(4, 3), {1: "is damaged"})
    store.write(0, torch.ones(4, 3))
    assert store.failures() == {}
    store.write(1, torch.ones(4, 3), {5: "is damaged"})
    store.forget(1)
    assert store.failures() == {}
    assert store.missing() == [1, 2]


def test_a_cache_that_was_read_travels_light(store):
    fill(store)
    store.read()
    again = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 1000
    assert torch.equal(again.read(), store.read())


def test_a_mask_is_no_row_number(store):
    fill(store)
    with pytest.raises(IndexError, match="rows are numbers, not a mask"):
        store[torch.ones(10, dtype=torch.bool)]


def test_the_first_description_stays(store):
    store.describe(encoder="first")
    store.describe(encoder="second")
    assert store.about()["encoder"] == "first"
    assert [path.name for path in store.folder.iterdir()] == ["about.json"]
