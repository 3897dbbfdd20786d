import json

import numpy as np
import pytest
from scipy import sparse

from geocsp.data.named.csp_files import (
    Network,
    read_features,
    read_few_shot_rows,
    read_predictions,
)
from geocsp.data.read import read
from geocsp.errors import DataError

CATEGORIES = [{"id": n, "name": f"species {n}"} for n in range(3)]
NOWHERE = {"lat": None, "lon": None, "date_c": None, "user_id": None}


def place(lon, lat, user):
    return {"lat": lat, "lon": lon, "date_c": 0.5, "user_id": user}


# Rows 1 and 4 have no place, row 2 has no user; row 3 is where devices put unknown places.
TRAIN = [
    place(10.5, 50.5, 1),
    NOWHERE,
    place(20.5, 40.5, None),
    place(0, 0, 2),
    NOWHERE,
    place(30.5, 30.5, 1),
    place(40.5, 20.5, 3),
]
VAL = [place(11.5, 51.5, 1), NOWHERE, place(12.5, 52.5, 4)]


def matrix(rows, columns, seed):
    return np.random.default_rng(seed).random((rows, columns), dtype=np.float32)


@pytest.fixture
def root(tmp_path):
    for split, places in (("train", TRAIN), ("val", VAL)):
        numbers = range(100, 100 + len(places))
        whole = {
            "images": [{"id": n, "file_name": f"{split}/{n}.jpg"} for n in numbers],
            "annotations": [{"image_id": n, "category_id": n % 3} for n in numbers],
            "categories": CATEGORIES,
        }
        (tmp_path / f"{split}2018.json").write_text(json.dumps(whole))
        listed = [{"id": n} | p for n, p in zip(numbers, places, strict=True)]
        (tmp_path / f"{split}2018_locations.json").write_text(json.dumps(listed[::-1]))
    for folder in ("features_inception_pretrain", "features_inception", "fewshot", "sample_idx"):
        (tmp_path / folder).mkdir()
    pretrain = tmp_path / "features_inception_pretrain"
    np.save(pretrain / "inat2018_train_pretrain_net_feats.npy", matrix(7, 5, 0))
    np.save(pretrain / "inat2018_val_pretrain_net_feats.npy", matrix(3, 5, 1))
    np.save(tmp_path / "features_inception/inat2018_val_net_feats.npy", matrix(3, 5, 2))
    probabilities = matrix(3, 3, 3) * (matrix(3, 3, 4) > 0.3)
    save(tmp_path / "features_inception/inat2018_val_preds_sparse.npz", probabilities)
    save(tmp_path / "fewshot/inat2018_val_preds_sparse_ratio0.050.npz", matrix(3, 3, 5))
    return tmp_path


def save(path, dense):
    sparse.save_npz(path, sparse.csr_matrix(dense))


def table_of(root, **options):
    return read(f"inat2018:{root}", **options)


def test_features_are_those_of_the_rows_that_are_left(root):
    table = table_of(root)
    assert [name.as_py() for name in table.part("train").images.names] == [
        "train/100.jpg",
        "train/102.jpg",
        "train/105.jpg",
        "train/106.jpg",
    ]
    found = read_features(root, "inat2018", "train", table)
    np.testing.assert_array_equal(found, matrix(7, 5, 0)[[0, 2, 5, 6]])
    found = read_features(root, "inat2018", "val", table)
    np.testing.assert_array_equal(found, matrix(3, 5, 1)[[0, 2]])


def test_features_follow_rows_in_any_order(root):
    table = table_of(root).part("train").take(np.array([3, 0, 0]))
    found = read_features(root, "inat2018", "train", table)
    np.testing.assert_array_equal(found, matrix(7, 5, 0)[[6, 0, 0]])


def test_all_features_stay_on_disk(root):
    table = table_of(root, keep_unplaced=True)
    found = read_features(root, "inat2018", "train", table)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, matrix(7, 5, 0))
    part = read_features(root, "inat2018", "train", table.part("train").take(np.array([2, 3])))
    assert isinstance(part, np.memmap)
    np.testing.assert_array_equal(part, matrix(7, 5, 0)[2:4])


def test_networks_have_their_folders(root):
    table = table_of(root)
    found = read_features(root, "inat2018", "val", table, Network.FINE_TUNED)
    np.testing.assert_array_equal(found, matrix(3, 5, 2)[[0, 2]])
    with pytest.raises(DataError, match="features_inception_hr/inat2018_val_net_feats"):
        read_features(root, "inat2018", "val", table, Network.HIGH_RESOLUTION)
    folder = root / "features_inception_pretrain-vit"
    folder.mkdir()
    np.save(folder / "inat2018_val_pretrain_net_feats.npy", matrix(3, 4, 9))
    found = read_features(root, "inat2018", "val", table, backbone="vit")
    np.testing.assert_array_equal(found, matrix(3, 4, 9)[[0, 2]])


def test_sparse_predictions_stay_sparse(root):
    table = table_of(root)
    full = read_predictions(root, "inat2018", "val", table)
    assert isinstance(full, sparse.csr_array)
    expected = (matrix(3, 3, 3) * (matrix(3, 3, 4) > 0.3))[[0, 2]]
    np.testing.assert_array_equal(full.toarray(), expected)
    few = read_predictions(root, "inat2018", "val", table, ratio=0.05)
    np.testing.assert_array_equal(few.toarray(), matrix(3, 3, 5)[[0, 2]])
    whole = read_predictions(root, "inat2018", "val", table_of(root, keep_unplaced=True))
    assert whole.shape == (3, 3)


def test_dense_predictions_of_fmow(tmp_path):
    places = [{"id": n} | p for n, p in enumerate(VAL)]
    annotations = [{"image_id": n, "category_id": 1} for n in range(3)]
    whole = {"images": [{"id": n} for n in range(3)], "annotations": annotations}
    (tmp_path / "val.json").write_text(json.dumps(whole))
    (tmp_path / "val_location.json").write_text(json.dumps(places))
    (tmp_path / "category.json").write_text('{"zoo": 1, "airport": 0}')
    for folder in ("feature_moco", "fewshot"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "feature_moco/fmow_val_preds.npy", matrix(3, 2, 0))
    np.save(tmp_path / "fewshot/fmow_val_preds_ratio0.100.npy", matrix(3, 2, 1))
    table = read(f"fmow:{tmp_path}")
    full = read_predictions(tmp_path, "fmow", "val", table)
    np.testing.assert_array_equal(full, matrix(3, 2, 0)[[0, 2]])
    few = read_predictions(tmp_path, "fmow", "val", table, ratio=0.1)
    np.testing.assert_array_equal(few, matrix(3, 2, 1)[[0, 2]])


def test_the_few_shot_sample_counts_images_with_a_place_and_a_user(root):
    # CSP trains on rows 0, 3, 5 and 6; of them the table leaves out row 3.
    np.array([1, 2, 3]).dump(root / "sample_idx/train_sample_ratio0.050.npy")
    table = table_of(root)
    rows = read_few_shot_rows(root, table, 0.05)
    names = [table.images.names[int(row)].as_py() for row in rows]
    assert names == ["train/105.jpg", "train/106.jpg"]
    table = table_of(root, keep_unplaced=True)
    rows = read_few_shot_rows(root, table, 0.05)
    assert rows.tolist() == [3, 5, 6]
    assert read_few_shot_rows(root, table.take(np.array([9, 6, 0])), 0.05).tolist() == [1]


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (np.array([0, 7]), "has rows 0 to 7, the training set 7 images"),
        (np.array([-1, 2]), "has rows -1 to 2"),
        (np.array([[1]]), r"is no list of row numbers but \(1, 1\) int64"),
        (np.array([0.5]), "is no list of row numbers"),
        (np.array([], dtype=int), "is no list of row numbers"),
        (np.array([{}], dtype=object), "is not an array of numbers alone"),
    ],
)
def test_another_sample_is_refused(sample, message, root):
    sample.dump(root / "sample_idx/train_sample_ratio0.050.npy")
    with pytest.raises(DataError, match=message):
        read_few_shot_rows(root, table_of(root), 0.05)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 5), np.float32), "has 8 rows, the list of images 7"),
        (np.zeros(7, np.float32), "is no matrix of decimal numbers"),
        (np.zeros((7, 5), np.int64), "is no matrix of decimal numbers"),
        (np.array([[{}]] * 7, dtype=object), "is damaged or no array of numbers"),
    ],
)
def test_features_of_another_list_are_refused(array, message, root):
    path = root / "features_inception_pretrain/inat2018_train_pretrain_net_feats.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_features(root, "inat2018", "train", table_of(root))


def test_damaged_features_are_named(root):
    path = root / "features_inception_pretrain/inat2018_train_pretrain_net_feats.npy"
    for content in (b"", b"\x93NUMPY", path.read_bytes()[:-8], b"x" * 99):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"train_pretrain_net_feats\.npy is damaged"):
            read_features(root, "inat2018", "train", table_of(root))


def test_predictions_of_another_list_or_other_classes_are_refused(root):
    path = root / "features_inception/inat2018_val_preds_sparse.npz"
    save(path, matrix(4, 3, 0))
    with pytest.raises(DataError, match="has 4 rows, the list of images 3"):
        read_predictions(root, "inat2018", "val", table_of(root))
    save(path, matrix(3, 4, 0))
    with pytest.raises(DataError, match="has 4 classes, the data set 3"):
        read_predictions(root, "inat2018", "val", table_of(root))


def test_damaged_predictions_are_named(root):
    path = root / "features_inception/inat2018_val_preds_sparse.npz"
    good = path.read_bytes()
    for content in (b"", b"PK\x03\x04", good[: len(good) // 2], b"x" * 99):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"preds_sparse\.npz is damaged or no sparse matrix"):
            read_predictions(root, "inat2018", "val", table_of(root))


@pytest.mark.parametrize("bad", [{"indices": [0, 99]}, {"indptr": [0, 1, 1, 99]}, {"shape": [3]}])
def test_indices_beyond_the_matrix_are_refused(bad, root):
    parts = {
        "format": np.array(b"csr"),
        "shape": np.array([3, 3]),
        "data": np.array([0.5, 0.5], np.float32),
        "indices": np.array([0, 1], np.int32),
        "indptr": np.array([0, 1, 1, 2], np.int32),
    }
    parts |= {name: np.array(value, np.int32) for name, value in bad.items()}
    np.savez(root / "features_inception/inat2018_val_preds_sparse.npz", **parts)
    with pytest.raises(DataError, match="is damaged or no sparse matrix"):
        read_predictions(root, "inat2018", "val", table_of(root))


def test_missing_files_are_told_with_their_source(root):
    table = table_of(root)
    with pytest.raises(DataError, match=r"ratio0\.200\.npz does not exist; CSP's data .*csp-web"):
        read_predictions(root, "inat2018", "val", table, ratio=0.2)
    with pytest.raises(DataError, match=r"train_sample_ratio0\.100\.npy does not exist"):
        read_few_shot_rows(root, table, 0.1)


def test_tables_that_are_no_published_list_are_refused(root):
    (root / "index.csv").write_text("fn,lon,lat\na.tif,1,2\n")
    table = read(f"s2-100k:{root}")
    with pytest.raises(DataError, match="the table's images are no published list"):
        read_features(root, "inat2018", "train", table)
    with pytest.raises(DataError, match="the table has no split 'test'"):
        read_features(root, "inat2018", "test", table_of(root))
