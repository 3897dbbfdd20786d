import numpy as np
from audit_tables import places, table
from scipy.sparse import csr_array

from geocsp.data.audit.leakage import findings_of_splits, has_splits, leakage_of

DEGREE_KM = np.pi * 6371.0088 / 180


def leakage(data, file=None, likes=None, seed=0):
    return leakage_of(data, file, likes, seed)


def shares(pair):
    return {near.km: near.share for near in pair.near}


def north_of(lonlat, km):
    return np.asarray(lonlat) + np.array([0, km / DEGREE_KM])


def test_distances_to_training_images_are_exact():
    train = np.array([[10.0, 20.0], [179.99, 0.0]])
    test = np.array(
        [
            [10.0, 20.0],
            north_of(train[0], 0.099),
            north_of(train[0], 0.101),
            north_of(train[0], 9.9),
            north_of(train[0], 99.0),
            north_of(train[0], 101.0),
            [-179.995, 0.0],
            [-120.0, -50.0],
        ]
    )
    split = ["train"] * 2 + ["test"] * 8
    (pair,) = leakage(table(np.concatenate([train, test]), split=split))
    assert (pair.held_out, pair.against, pair.rows, pair.training_rows) == ("test", "train", 8, 2)
    assert [near.rows for near in pair.near] == [1, 2, 3, 5, 6]
    assert shares(pair)[100.0] == 6 / 8


def test_every_held_out_split_is_compared_with_training():
    data = table(places(40), split=["Train", "val", "test", "test"] * 10)
    assert [(p.held_out, p.against) for p in leakage(data)] == [
        ("test", "Train"),
        ("val", "Train"),
    ]


def test_without_a_training_split_each_is_compared_with_all_others():
    data = table(places(40), split=["0", "1", "2", None] * 10)
    found = leakage(data)
    assert [(p.held_out, p.against) for p in found] == [(n, "rest") for n in "012"]
    assert [(p.rows, p.training_rows) for p in found] == [(10, 20)] * 3


def test_groups_files_and_pictures_in_both_are_counted():
    data = table(
        places(6),
        split=["train", "train", "test", "test", "test", "val"],
        group=["ann", None, "ann", None, "bob", "bob"],
        label=["x", "y", "x", "z", None, "z"],
    )
    file = np.array([0, 1, 0, 2, 3, 4])
    likes = np.zeros((5, 5), dtype=bool)
    likes[1, 2] = likes[2, 1] = True
    test, val = leakage(data, file, csr_array(likes))
    assert (test.same_group, test.same_file, test.same_picture) == (1, 1, 2)
    assert test.unseen_class == 1
    assert (val.same_group, val.same_file, val.same_picture, val.unseen_class) == (0, 0, 0, 1)
    plain = leakage(table(places(4), split=["train", "test"] * 2))[0]
    assert (plain.same_group, plain.same_file, plain.same_picture) == (None, None, None)
    assert plain.unseen_class is None


def test_images_without_a_place_take_no_part_in_distances():
    lonlat = np.array([[1, 1], [np.nan, np.nan], [1, 1], [np.nan, np.nan]])
    (pair,) = leakage(table(lonlat, split=["train", "train", "test", "test"]))
    assert pair.rows == 2
    assert shares(pair)[0.0] == 1
    (pair,) = leakage(table(np.full((4, 2), np.nan), split=["train", "train", "test", "test"]))
    assert pair.near == ()


def test_without_splits_a_random_fifth_stands_for_them():
    data = table(np.repeat(places(50), 2, axis=0))
    (pair,) = leakage(data, seed=1)
    assert (pair.held_out, pair.against) == ("random fifth", "rest")
    assert (pair.rows, pair.training_rows) == (20, 80)
    assert shares(pair)[0.0] > 0.5
    assert leakage(data, seed=1) == leakage(data, seed=1)
    assert any(leakage(data, seed=s) != leakage(data, seed=1) for s in (2, 3))
    assert leakage(table(places(3))) == ()


def test_many_values_are_no_splits():
    data = table(places(100), split=[str(n % 50) for n in range(100)])
    assert not has_splits(data.split)
    found = findings_of_splits(data, leakage(data))
    assert found[0].message.startswith("in 50 splits: is that column one of splits?")
    assert has_splits(table(places(4), split=["a", "b"] * 2).split)
    assert not has_splits(table(places(4), split=["a"] * 4).split)


def messages(data, **numbers):
    return [(str(f.severity), f.rows, f.message) for f in findings_of_splits(data, leakage(data))]


def test_leaks_are_told():
    train = places(20)
    near = north_of(train[:10], 0.5)
    data = table(
        np.concatenate([train, train[:2], near, places(8, seed=5), places(2, seed=6)]),
        split=["train"] * 20 + ["test"] * 20 + [None] * 2,
        group=["a"] * 22 + ["b"] * 20,
        label=["x"] * 39 + ["y"] * 3,
    )
    assert messages(data) == [
        ("info", 2, "in no split"),
        ("warning", 2, "of 'test' whose group is in 'train' as well"),
        ("warning", 2, "of 'test' at the very place of an image of 'train'"),
        ("info", 1, "of 'test' in a class that 'train' lacks"),
        (
            "warning",
            12,
            "of 'test' within 1 km of an image of 'train': split by spatial blocks "
            "(docs/splits.md)",
        ),
    ]


def test_splits_far_apart_have_no_findings():
    data = table(
        np.concatenate([places(20) * 0.1, [[100, 50]] * 5]), split=["train"] * 20 + ["x"] * 5
    )
    assert messages(data) == []


def test_data_without_splits_is_told_what_a_random_split_is_worth():
    town = [2.3, 48.8] + 0.01 * np.random.default_rng(0).random((100, 2))
    ((severity, rows, message),) = messages(table(town))
    assert (severity, rows) == ("info", 100)
    assert message.startswith("not split. With a random fifth held out, 100 % of it would be")


def test_a_million_rows_take_seconds():
    data = table(places(1_000_000), names=["x"] * 1_000_000)
    (pair,) = leakage(data)
    assert pair.rows == 200_000


def test_every_held_out_image_of_a_place_counts():
    data = table(
        np.array([[10.0, 20.0]] + [[30.0, 30.0]] + [[10.0, 20.0]] * 3),
        split=["train"] + ["test"] * 4,
    )
    (pair,) = leakage(data)
    assert (pair.near[0].rows, pair.near[0].share) == (3, 0.75)


def test_twenty_values_are_splits_still():
    assert has_splits(table(places(40), split=[str(n % 20) for n in range(40)]).split)
    assert not has_splits(table(places(42), split=[str(n % 21) for n in range(42)]).split)


def test_the_same_place_is_not_told_twice():
    train = places(20)
    data = table(np.concatenate([train, train[:5]]), split=["train"] * 20 + ["test"] * 5)
    assert [message for _, _, message in messages(data)] == [
        "of 'test' at the very place of an image of 'train'"
    ]


def test_a_split_without_rows_is_held_against_nothing():
    lonlat = np.full((40, 2), 12.0)
    whole = table(lonlat, split=["val"] * 20 + ["test"] * 19 + ["train"])
    assert {pair.against for pair in leakage(whole.take(np.arange(39)))} == {"rest"}
