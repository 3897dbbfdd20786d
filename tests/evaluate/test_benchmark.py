from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from small_evaluations import Given, ToySource, small_rows, small_settings

from geocsp.data.splits import few_shot
from geocsp.data.table import Categories
from geocsp.errors import DataError
from geocsp.evaluate import Shot
from geocsp.evaluate.benchmark import Benchmark, Fold, Published
from geocsp.evaluate.units import Workspace, train_heads


def at(lonlat):
    lonlat = np.array(lonlat, dtype=np.float64)
    rows = np.arange(len(lonlat))
    none = Categories(np.zeros(len(lonlat), dtype=np.int64), ("one", "two"))
    fold = Fold(rows[:1], rows[1:2], rows[2:])
    return Benchmark("few", "f", torch.zeros(len(lonlat), 1), lonlat, {"t": none}, {"1": fold})


def named(benchmark, degrees):
    codes, names = benchmark.cells(degrees)
    return [names[code] if code >= 0 else None for code in codes]


def test_squares_are_named_by_their_sides():
    places = [(-180, -90), (12, 47), (-0.1, -0.1), (0, 0), (179.9, 89.9), (-31, 29.9)]
    assert named(at(places), 30.0) == [
        "90°S to 60°S, 180°W to 150°W",
        "30°N to 60°N, 0° to 30°E",
        "30°S to 0°, 30°W to 0°",
        "0° to 30°N, 0° to 30°E",
        "60°N to 90°N, 150°E to 180°E",
        "0° to 30°N, 60°W to 30°W",
    ]


def test_the_antimeridian_is_one_place_and_the_pole_is_in_the_square_below():
    found = named(at([(180, 10), (-180, 10), (-179.99, 10), (12, 90), (12, 89.99)]), 5.0)
    assert found[:3] == ["10°N to 15°N, 180°W to 175°W"] * 3
    assert found[3:] == ["85°N to 90°N, 10°E to 15°E"] * 2


def test_rows_without_a_place_are_in_no_square():
    nan = float("nan")
    benchmark = at([(nan, nan), (1, 2), (nan, 3), (4, nan)])
    codes, names = benchmark.cells(5.0)
    assert codes.tolist() == [-1, 0, -1, -1]
    assert len(names) == 1
    assert benchmark.placed.tolist() == [False, True, False, False]
    nowhere, none = at([(nan, nan)] * 3).cells(5.0)
    assert nowhere.tolist() == [-1, -1, -1]
    assert none == ()


def test_squares_are_those_that_plain_arithmetic_gives():
    generator = np.random.default_rng(0)
    lonlat = generator.uniform((-180, -90), (180, 90), (500, 2))
    codes, names = at(lonlat).cells(30.0)
    corners = [(lon // 30 * 30, lat // 30 * 30) for lon, lat in lonlat.tolist()]
    assert len(names) == len(set(corners)) == len(set(names))
    for first, code in zip(corners, codes, strict=True):
        same = [corner == first for corner in corners]
        assert np.array_equal(codes == code, same)


def test_places_go_to_models_as_float32():
    benchmark = ToySource().load()
    assert benchmark.places.dtype == torch.float32
    placed = benchmark.placed
    assert (benchmark.places.isnan().any(dim=1).numpy() == ~placed).all()
    np.testing.assert_allclose(
        benchmark.places.numpy()[placed], benchmark.lonlat[placed], rtol=1e-6
    )
    assert len(benchmark) == 400


@pytest.mark.parametrize("shot", [Shot(per_class=2), Shot(ratio=0.1), Shot(ratio=1.0)])
def test_a_subset_is_drawn_from_the_labelled_training_rows(shot):
    benchmark = ToySource().load()
    for fold in ("1", "2"):
        train, codes = benchmark.folds[fold].train, benchmark.tasks["land"].codes
        labelled = np.array([row for row in train if codes[row] >= 0])
        chosen = few_shot(codes[labelled], ratio=shot.ratio, per_class=shot.per_class, seed=4)
        assert np.array_equal(benchmark.subset("land", fold, shot, 4), labelled[chosen])
    one, other = (benchmark.subset("land", "1", shot, seed) for seed in (0, 1))
    assert np.array_equal(one, benchmark.subset("land", "1", shot, 0))
    assert shot.ratio == 1.0 or not np.array_equal(one, other)


def test_the_published_subset_is_taken_where_there_is_one():
    rows = np.array([5, 8])
    published = {"10 %": Published(subset=rows), "20 %": Published(sparse.csr_array((400, 3)))}
    benchmark = replace(ToySource().load(), published=published)
    for seed in (0, 1):
        assert benchmark.subset("land", "1", Shot(ratio=0.1), seed) is rows
    drawn = ToySource().load().subset("land", "1", Shot(ratio=0.2), 0)
    assert np.array_equal(benchmark.subset("land", "1", Shot(ratio=0.2), 0), drawn)


def test_a_fold_without_labels_is_named():
    benchmark = ToySource().load()
    none = Categories(np.full(400, -1), ("a", "b"))
    with pytest.raises(DataError, match="no training row of fold 2 has a label of land"):
        replace(benchmark, tasks={"land": none}).subset("land", "2", Shot(per_class=1), 0)


def space(folder, source, **changes):
    names = ("image",)
    return Workspace(small_settings(names, **changes), source, small_rows(*names), folder)


@pytest.fixture
def one_task():
    benchmark = ToySource().load()
    return replace(benchmark, tasks={"land": benchmark.tasks["land"]})


def test_the_subsets_of_another_run_are_used_again(tmp_path, one_task):
    source = Given(one_task)
    before = space(tmp_path / "before", source, seed=3)
    train_heads(before, "land", "1", 3)
    # The same rows, though another seed would draw others.
    path = before.subsets_file("land", "1", 3)
    path.rename(before.subsets_file("land", "1", 0))
    after = space(tmp_path / "after", source, subsets=before.folder)
    train_heads(after, "land", "1", 0)
    with (
        np.load(before.subsets_file("land", "1", 0)) as one,
        np.load(after.subsets_file("land", "1", 0)) as two,
    ):
        assert one.files == two.files == ["3 per class", "20 %"]
        for name in one.files:
            assert np.array_equal(one[name], two[name])
            seed = Shot.parse(name.replace(" per class", ""))
            assert np.array_equal(one[name], one_task.subset("land", "1", seed, 3))
    for shot in before.settings.shots:
        with (
            np.load(before.heads_file("land", "1", 3, shot)) as one,
            np.load(after.heads_file("land", "1", 0, shot)) as two,
        ):
            assert np.array_equal(one["test"], two["test"])


def foreign(path, benchmark):
    test = benchmark.folds["1"].test
    train = benchmark.folds["1"].train
    unlabelled = train[benchmark.tasks["land"].codes[train] < 0]
    good = benchmark.subset("land", "1", Shot(per_class=3), 0)
    return {
        "missing": (None, "missing or damaged"),
        "text": (b"no arrays", "missing or damaged"),
        "cut": ("cut", "missing or damaged"),
        "npy": ("npy", "missing or damaged"),
        "other shots": ({"9 per class": good}, "no labelled rows for 3 per class"),
        "empty": ({"3 per class": good[:0]}, "no labelled rows for 3 per class"),
        "test rows": ({"3 per class": test}, "no labelled training rows of fold 1"),
        "no label": ({"3 per class": unlabelled}, "no labelled training rows of fold 1"),
        "beyond": ({"3 per class": np.array([10**6])}, "no labelled training rows of fold 1"),
        "negative": ({"3 per class": np.array([-1])}, "no labelled training rows of fold 1"),
        "decimals": ({"3 per class": good + 0.0}, "no labelled training rows of fold 1"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "text",
        "cut",
        "npy",
        "other shots",
        "empty",
        "test rows",
        "no label",
        "beyond",
        "negative",
        "decimals",
    ],
)
def test_subsets_that_are_damaged_or_of_other_data_are_refused(tmp_path, one_task, kind):
    content, message = foreign(tmp_path, one_task)[kind]
    path = tmp_path / "before" / "subsets" / "land-1-0.npz"
    path.parent.mkdir(parents=True)
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content == "npy":
        with path.open("wb") as file:
            np.save(file, np.arange(3))
    elif content == "cut":
        np.savez(path, **{"3 per class": np.arange(1000)})
        path.write_bytes(path.read_bytes()[:700])
    elif content is not None:
        path.write_bytes(content)
    after = space(tmp_path / "after", Given(one_task), subsets=tmp_path / "before")
    with pytest.raises(DataError, match=message) as error:
        train_heads(after, "land", "1", 0)
    assert str(path) in str(error.value)
    assert not after.subsets_file("land", "1", 0).exists()


def test_rows_that_a_file_names_twice_or_out_of_order_count_once(tmp_path, one_task):
    good = one_task.subset("land", "1", Shot(per_class=3), 0)
    path = tmp_path / "before" / "subsets" / "land-1-0.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, **{"3 per class": np.r_[good[::-1], good[:2]].astype(np.int16), "20 %": good})
    after = space(tmp_path / "after", Given(one_task), subsets=tmp_path / "before")
    train_heads(after, "land", "1", 0)
    with np.load(after.subsets_file("land", "1", 0)) as found:
        assert np.array_equal(found["3 per class"], good)
