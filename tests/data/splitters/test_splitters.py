import math
import sys

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

import geocsp
from geocsp.coords import EARTH_RADIUS_KM
from geocsp.data import splits
from geocsp.data.images import FileImages
from geocsp.data.splitters import (
    Buffered,
    Checkerboard,
    GroupFolds,
    H3Cells,
    HealpixCells,
    LeaveOneGroupOut,
    RandomFolds,
    SpatialBlocks,
    StratifiedFolds,
    split_table,
)
from geocsp.data.splitters.base import hashed
from geocsp.data.splitters.buffered import near
from geocsp.data.splitters.healpix import healpix_cells
from geocsp.data.table import Categories, GeoTable
from geocsp.errors import DataError, MissingExtraError


def places(count, seed=0):
    """Uniform on the sphere."""
    generator = np.random.default_rng(seed)
    lat = np.rad2deg(np.arcsin(generator.uniform(-1, 1, count)))
    return np.stack([generator.uniform(-180, 180, count), lat], axis=1)


PLACES = places(2000)
LABELS = np.random.default_rng(1).choice(["oak", "ash", "elm"], 2000, p=[0.7, 0.2, 0.1])
GROUPS = np.random.default_rng(2).integers(0, 60, 2000)
ALL = {
    "random": RandomFolds(),
    "stratified": StratifiedFolds(),
    "spatial-blocks": SpatialBlocks(degrees=2.5),
    "checkerboard": Checkerboard(),
    "healpix": HealpixCells(),
    "h3": H3Cells(),
    "group": GroupFolds(),
    "leave-one-group-out": LeaveOneGroupOut(),
    "buffered": Buffered(HealpixCells(nside=2, folds=3), km=300.0),
}
BY_PLACE = ["random", "spatial-blocks", "checkerboard", "healpix", "h3"]
RANDOM_0, RANDOM_MINUS_1 = [2, 0, 2, 4, 1], [1, 0, 1, 0, 2]
HEALPIX_FOLDS, H3_FOLDS, GROUPED = [1, 2, 1], [3, 3, 0], [0, 3, 0]
HEALPY = {  # healpy 1.20.1
    1: [0, 2, 9, 4, 11],
    6: [60, 32, 334, 180, 431],
    32: [1404, 578, 9590, 5952, 12287],
    1024: [1554107, 536648, 9801400, 6268929, 12582683],
    2**29: [
        426977086575412232,
        147067242424541242,
        2693936752124661596,
        1723345584813316651,
        3458698664264129765,
    ],
}
every = pytest.mark.parametrize("name", ALL)
by_place = pytest.mark.parametrize("name", BY_PLACE)


def test_every_splitter_is_registered_and_built_by_name():
    assert set(geocsp.available("splitter")) == set(ALL)
    for name, splitter in ALL.items():
        settings = splitter.get_params(deep=False)
        built = geocsp.create("splitter", name, **settings)
        assert built == splitter
        assert built.recipe == {"name": name, "settings": settings}


@every
def test_every_row_is_tested_once_and_never_trained_on_meanwhile(name):
    splitter = ALL[name]
    found = list(splitter.split(PLACES, LABELS, GROUPS))
    assert len(found) == splitter.get_n_splits(PLACES, LABELS, GROUPS)
    tested = np.sort(np.concatenate([test for _, test in found]))
    assert np.array_equal(tested, np.arange(2000))
    for train, test in found:
        assert len(np.intersect1d(train, test)) == 0
        assert train.dtype == test.dtype == np.int64
        assert len(train) + len(test) == 2000 or name == "buffered"


@every
def test_the_same_call_gives_the_same_folds_and_leaves_its_input_alone(name):
    before = PLACES.copy()
    folds = [ALL[name].fold_of(PLACES, LABELS, GROUPS) for _ in range(2)]
    assert np.array_equal(*folds)
    assert np.array_equal(PLACES, before)


@every
def test_scikit_learn_takes_them_as_cv_and_clones_them(name):
    splitter = ALL[name]
    copied = clone(splitter)
    assert copied == splitter
    assert copied is not splitter
    assert eval(repr(splitter), vars(sys.modules[__name__])) == splitter
    groups = GROUPS % 3 if name == "leave-one-group-out" else GROUPS
    scores = cross_val_score(
        LogisticRegression(), PLACES, PLACES[:, 1] > 0, cv=splitter, groups=groups
    )
    assert len(scores) == splitter.get_n_splits(PLACES, LABELS, groups)
    assert scores.min() > 0.9
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 9]}, cv=splitter)
    search.fit(PLACES, PLACES[:, 1] > 0, groups=groups)
    assert search.n_splits_ == len(scores)


def test_settings_are_read_and_changed_by_name_also_within_a_buffer():
    buffered = Buffered(SpatialBlocks(), km=10)
    assert buffered.get_params() == {
        "splitter": SpatialBlocks(),
        "km": 10,
        "splitter__degrees": 5.0,
        "splitter__folds": 5,
        "splitter__seed": 0,
    }
    changed = buffered.set_params(km=20, splitter=HealpixCells(), splitter__folds=3)
    assert changed is buffered
    assert buffered == Buffered(HealpixCells(folds=3), km=20)
    assert buffered.get_n_splits() == 3


def test_a_senseless_setting_is_refused_and_nothing_changes():
    blocks = SpatialBlocks()
    with pytest.raises(DataError, match="got -1 and 5"):
        blocks.set_params(seed=1, degrees=-1)
    with pytest.raises(ValueError, match="no setting 'size'; settings: degrees, folds, seed"):
        blocks.set_params(size=3)
    assert blocks == SpatialBlocks()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomFolds(folds=1), "at least 2 folds, got 1"),
        (lambda: SpatialBlocks(degrees=1e-7), "got 1e-07 and 5"),
        (lambda: SpatialBlocks(degrees=math.nan), "at least 1e-06 degrees .* got nan and 5"),
        (lambda: Checkerboard(degrees=0), "degrees in"),
        (lambda: Checkerboard(degrees=math.nan), "degrees in"),
        (lambda: Checkerboard(degrees=7), "not 51.4286 of 7 degrees; .* width is 6.923076923"),
        (lambda: HealpixCells(nside=0), "nside must be in"),
        (lambda: HealpixCells(nside=2**30), "nside must be in"),
        (lambda: H3Cells(resolution=16), "0 to 15, got 16"),
        (lambda: Buffered(km=0), "km > 0, got 0"),
        (lambda: Buffered(km=math.inf), "km > 0, got inf"),
        (lambda: Buffered("random"), "around a splitter, not 'random'"),
    ],
)
def test_senseless_settings_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_the_finest_blocks_are_told_apart():
    lonlat = np.array([[179.9999995, 89.9999995], [179.9999985, 89.9999995]])
    for splitter in (SpatialBlocks(degrees=1e-6, folds=10**6), Checkerboard(degrees=1e-6)):
        assert len(set(splitter.fold_of(lonlat))) == 2


@by_place
def test_a_fold_depends_on_the_place_alone(name):
    splitter = ALL[name]
    whole = splitter.fold_of(PLACES)
    assert np.array_equal(splitter.fold_of(PLACES[500:900]), whole[500:900])
    assert np.array_equal(splitter.fold_of(PLACES[::-1]), whole[::-1])
    assert np.array_equal(splitter.fold_of(PLACES.tolist()), whole)
    twice = splitter.fold_of(np.repeat(PLACES[:50], 2, axis=0))
    assert np.array_equal(twice, np.repeat(whole[:50], 2))


@pytest.mark.parametrize("name", ["random", "spatial-blocks", "healpix", "h3", "group"])
def test_another_seed_gives_unrelated_folds(name):
    splitter = ALL[name]
    first, second = (
        clone(splitter).set_params(seed=seed).fold_of(PLACES, LABELS, np.arange(2000))
        for seed in (0, 1)
    )
    assert 0.1 < (first == second).mean() < 0.3


@by_place
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([np.nan, 0], r"row 2 is \(lon nan, lat 0\): coordinates must be finite"),
        ([0, np.inf], "row 2 .*must be finite"),
        ([10, 91], r"row 2 .*latitude must be in .*swapped"),
        ([200, 10], r"row 2 .*longitude must be in"),
    ],
)
def test_a_place_that_is_none_is_named(name, bad, message):
    with pytest.raises(DataError, match=message):
        next(ALL[name].split(np.array([[1, 2], [3, 4], bad], dtype=float)))


@by_place
def test_other_features_than_places_are_refused_with_the_way_out(name):
    with pytest.raises(DataError, match=r"got shape \(20, 7\).*cv=list\(splitter.split\(lonlat"):
        next(ALL[name].split(np.zeros((20, 7))))
    with pytest.raises(DataError, match="places must be numbers, lon and lat in degrees"):
        next(ALL[name].split([["a", "b"]]))


@every
@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_for_two_folds_are_refused(name, count):
    with pytest.raises(DataError, match=r"(fold \d of \d is empty|too few folds \([01]\)) when"):
        list(ALL[name].split(PLACES[:count], LABELS[:count], GROUPS[:count]))


def test_two_rows_in_two_folds_are_split():
    found = list(Checkerboard().split([[1, 1], [6, 1]]))
    assert [(train.tolist(), test.tolist()) for train, test in found] == [([1], [0]), ([0], [1])]
    found = list(LeaveOneGroupOut().split(np.zeros((2, 5)), groups=["b", "a"]))
    assert [(train.tolist(), test.tolist()) for train, test in found] == [([0], [1]), ([1], [0])]


def test_fewer_cells_than_folds_leave_a_fold_empty():
    lonlat = np.tile([[8.5, 47.4]], (100, 1))
    for splitter in (RandomFolds(), SpatialBlocks(), HealpixCells(), H3Cells()):
        with pytest.raises(DataError, match=r"fold \d of 5 is empty when .* divides 100 rows; use"):
            next(splitter.split(lonlat))


def mixed(number):
    """One step of SplitMix64 in whole numbers."""
    number = (number + 0x9E3779B97F4A7C15) % 2**64
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
    return number ^ (number >> 31)


def test_folds_are_hashed_by_split_mix():
    assert mixed(0) == 0xE220A8397B1DCDAF  # the first number of the generator with seed 0
    keys = np.array([0, 1, -5, 2**62], dtype=np.int64)
    others = np.array([0.5, -1.0, 3e300, 0.0])
    expected = []
    for key, other in zip(keys.tolist(), others.view(np.uint64).tolist(), strict=True):
        expected.append(mixed(mixed(mixed(7) ^ (key % 2**64)) ^ other) % 11)
    assert hashed(keys, others, seed=7, folds=11).tolist() == expected


# Random


def test_random_folds_are_the_same_everywhere():
    lonlat = [[0.5, 0.5], [-179.0, -89.0], [25.0, 23.0], [-63.0, -5.0], [139.7, 35.7]]
    assert RandomFolds().fold_of(lonlat).tolist() == RANDOM_0
    assert RandomFolds(seed=-1).fold_of(lonlat).tolist() == RANDOM_MINUS_1


def test_random_folds_are_random():
    for lonlat in (places(20_000), np.stack([np.arange(20_000) / 200, np.full(20_000, 5.0)], 1)):
        sizes = np.bincount(RandomFolds(folds=4).fold_of(lonlat), minlength=4)
        assert np.abs(sizes - 5000).max() < 5 * math.sqrt(20_000 * 0.25 * 0.75)


def test_names_of_one_place_share_a_random_fold():
    for seed in range(8):
        folds = RandomFolds(seed=seed)
        for same in ([[180, 5], [-180, 5]], [[3, 90], [-70, 90]], [[0.0, 2], [-0.0, 2]]):
            assert len(set(folds.fold_of(same))) == 1


# Stratified


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_stratified_folds_have_equal_shares_of_every_class(folds):
    fold = StratifiedFolds(folds=folds).fold_of(PLACES, LABELS)
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    for label in np.unique(LABELS):
        assert np.ptp(np.bincount(fold[label == LABELS], minlength=folds)) <= 1


def test_stratified_folds_are_random_within_a_class():
    fold = StratifiedFolds(folds=2).fold_of(np.zeros((1000, 3)), np.zeros(1000))
    assert 0.4 < fold[:500].mean() < 0.6
    other = StratifiedFolds(folds=2, seed=1).fold_of(np.zeros((1000, 3)), np.zeros(1000))
    assert 0.4 < (fold == other).mean() < 0.6
    assert len(StratifiedFolds(seed=-1).fold_of(np.zeros((9, 3)), np.zeros(9))) == 9


def test_rows_without_a_label_are_spread_like_a_class():
    labels = Categories(np.repeat([-1, 0, 1], [10, 20, 30]), ("a", "b"))
    fold = StratifiedFolds().fold_of(places(60), labels)
    assert np.bincount(fold[:10]).tolist() == [2] * 5
    labels = np.array([None] * 10 + ["a", 3] * 25, dtype=object)
    assert np.bincount(StratifiedFolds().fold_of(places(60), labels)[:10]).tolist() == [2] * 5


def test_stratified_folds_need_one_label_a_row():
    with pytest.raises(DataError, match="need labels"):
        next(StratifiedFolds().split(PLACES))
    with pytest.raises(DataError, match="2000 rows but 10 labels"):
        next(StratifiedFolds().split(PLACES, LABELS[:10]))
    with pytest.raises(DataError, match=r"labels must be one column, got shape \(2000, 3\)"):
        next(StratifiedFolds().split(PLACES, np.zeros((2000, 3))))


# Checkerboard


def test_neighbouring_cells_alternate_also_over_the_antimeridian():
    for degrees in (2.5, 10, 30, 90, 180, 360 / 52):
        board = Checkerboard(degrees=degrees)
        rows, columns = math.ceil(180 / degrees - 1e-9), round(360 / degrees)
        lon = (np.arange(columns) + 0.5) * degrees - 180
        lat = np.minimum((np.arange(rows) + 0.5) * degrees, 180) - 90
        cells = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
        fold = board.fold_of(cells).reshape(rows, columns)
        assert (fold != np.roll(fold, 1, axis=1)).all()
        assert (fold[1:] != fold[:-1]).all()


def test_the_edges_of_the_board_belong_to_it():
    board = Checkerboard(degrees=10)
    assert board.fold_of([[180, 5], [-180, 5]]).tolist() == board.fold_of([[-175, 5]] * 2).tolist()
    assert board.fold_of([[3, 90]]) == board.fold_of([[3, 85]])
    assert board.fold_of([[3, -90]]) == board.fold_of([[3, -85]])


# HEALPix


def projected(lonlat):
    """The HEALPix projection, equations 1 to 5 of Calabretta and Roukema (MNRAS 2007): (N, 2)."""
    phi, sine = np.deg2rad(lonlat[:, 0]) % (2 * np.pi), np.sin(np.deg2rad(lonlat[:, 1]))
    sigma = 2 - np.sqrt(3 * (1 - np.abs(sine)))
    middle = phi - phi % (np.pi / 2) + np.pi / 4
    cap = np.abs(sine) > 2 / 3
    x = np.where(cap, middle + (phi - middle) * (2 - sigma), phi)
    y = np.where(cap, np.sign(sine) * np.pi / 4 * sigma, 3 * np.pi / 8 * sine)
    return np.stack([x, y], axis=1)


def centres(nside):
    """Centres of all cells in ring order in the plane of the projection: (12 nside^2, 2)."""
    half = np.pi / (4 * nside)
    found = []
    for ring in range(1, 4 * nside):
        from_pole = min(ring, 4 * nside - ring)
        y = (2 * nside - ring) * half
        if from_pole >= nside:
            shift = half if (ring - nside) % 2 == 0 else 0.0
            found += [(2 * half * step + shift, y) for step in range(4 * nside)]
        else:
            for quarter in range(4):
                first = (quarter + 0.5) * np.pi / 2 - (from_pole - 1) * half
                found += [(first + 2 * half * step, y) for step in range(from_pole)]
    return np.array(found)


@pytest.mark.parametrize("nside", [1, 2, 3, 5, 8])
def test_cells_are_the_squares_of_the_projection(nside):
    lonlat = places(1500, seed=nside)
    away = np.abs(projected(lonlat)[:, None] - centres(nside))
    away[..., 0] = np.minimum(away[..., 0], 2 * np.pi - away[..., 0])
    nearest = away.sum(axis=-1).argmin(axis=1)
    assert np.array_equal(healpix_cells(lonlat, nside), nearest)


def test_cells_of_the_reference_implementation():
    lonlat = np.array([[2.35, 48.86], [-179.99, 66.2], [151.2, -33.9], [0.1, 0.2], [-70.0, -89.5]])
    for nside, cells in HEALPY.items():
        assert healpix_cells(lonlat, nside).tolist() == cells


@pytest.mark.parametrize("nside", [1, 2, 7, 64, 2**29])
def test_borders_and_poles_are_in_a_cell(nside):
    edge = math.degrees(math.asin(2 / 3))
    lat = [90, -90, edge, -edge, np.nextafter(edge, 90), np.nextafter(-edge, -90), 0, 90 - 1e-13]
    lon = [-180, 180, np.nextafter(180, 0), -1e-300, 0, 45, 90, -90, 135, 22.5]
    lonlat = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
    cells = healpix_cells(lonlat, nside)
    assert cells.min() >= 0
    assert cells.max() < 12 * nside**2
    by_name = cells.reshape(len(lat), len(lon))
    assert np.array_equal(by_name[:, 0], by_name[:, 1])  # 180 W and 180 E
    assert set(by_name[0]) <= {0, 1, 2, 3}
    assert set(by_name[1]) <= set(range(12 * nside**2 - 4, 12 * nside**2))


def test_rounding_at_the_edge_of_a_cap_does_not_leave_the_belt():
    edge = math.degrees(math.asin(2 / 3))
    north, south = healpix_cells(np.array([[91.53, edge], [91.53, -edge]]), 1000)
    assert 0 <= north - 2 * 1000 * 999 < 4000
    assert 0 <= south - 2 * 1000 * 999 - 4000 * 2000 < 4000


def test_cells_have_equal_area():
    count = np.bincount(healpix_cells(places(96_000), 4), minlength=192)
    chi_squared = ((count - 500) ** 2 / 500).sum()
    assert 191 - 5 * math.sqrt(2 * 191) < chi_squared < 191 + 5 * math.sqrt(2 * 191)


def test_all_rows_of_a_cell_share_its_fold():
    fold, cell = HealpixCells(nside=4).fold_of(PLACES), healpix_cells(PLACES, 4)
    assert len(set(zip(cell, fold, strict=True))) == len(set(cell)) == 192
    assert HealpixCells().fold_of([[2.35, 48.86], [151.2, -33.9], [0, 0]]).tolist() == HEALPIX_FOLDS


def test_long_tables_are_cut_without_a_seam(monkeypatch):
    whole = HealpixCells().fold_of(PLACES), H3Cells().fold_of(PLACES)
    near_whole = near(PLACES, np.arange(1500), np.arange(1500, 2000), 200.0)
    for module in ("healpix", "hexagons", "buffered"):
        monkeypatch.setattr(f"geocsp.data.splitters.{module}._SLICE", 7)
    assert np.array_equal(HealpixCells().fold_of(PLACES), whole[0])
    assert np.array_equal(H3Cells().fold_of(PLACES), whole[1])
    assert np.array_equal(near(PLACES, np.arange(1500), np.arange(1500, 2000), 200.0), near_whole)


# H3


def test_rows_of_an_h3_cell_share_its_fold():
    import h3

    cell = [h3.latlng_to_cell(lat, lon, 1) for lon, lat in PLACES]
    fold = H3Cells(resolution=1).fold_of(PLACES)
    assert len(set(zip(cell, fold, strict=True))) == len(set(cell)) > 500
    assert (
        H3Cells(resolution=0).fold_of([[2.35, 48.86], [151.2, -33.9], [0, 0]]).tolist() == H3_FOLDS
    )


def test_h3_is_named_with_its_extra_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "h3.api.basic_int", None)
    with pytest.raises(MissingExtraError, match=r"h3 is not installed; .*geocsp\[geo\]"):
        H3Cells().fold_of(PLACES)


# Groups


def test_no_group_is_in_two_folds_and_its_fold_depends_on_its_name():
    fold = GroupFolds().fold_of(PLACES, groups=GROUPS)
    assert len(set(zip(GROUPS, fold, strict=True))) == 60
    assert np.bincount(fold).min() > 100
    names = [f"{group}" for group in GROUPS]
    for same in (names, np.array(names), GROUPS.astype(np.float64), Categories.of(names)):
        assert np.array_equal(GroupFolds().fold_of(PLACES, groups=same), fold)
    part = GroupFolds().fold_of(PLACES[100:200], groups=GROUPS[100:200])
    assert np.array_equal(part, fold[100:200])
    assert GroupFolds().fold_of(np.zeros(3), groups=["Ada", "Émile", "\udcff"]).tolist() == GROUPED


@pytest.mark.parametrize("splitter", [GroupFolds(), LeaveOneGroupOut()])
@pytest.mark.parametrize(
    "groups",
    [
        ["a", "b", None],
        np.array([1.0, 2.0, np.nan]),
        np.array(["a", 3, np.nan], dtype=object),
        ["a", "b", ""],
        Categories(np.array([0, 1, -1]), ("a", "b")),
    ],
)
def test_a_row_without_a_group_is_named(splitter, groups):
    with pytest.raises(DataError, match="row 2 has no group"):
        next(splitter.split(np.zeros((3, 2)), groups=groups))


@pytest.mark.parametrize("splitter", [GroupFolds(), LeaveOneGroupOut()])
def test_groups_are_needed_one_a_row(splitter):
    with pytest.raises(DataError, match="by group needs groups"):
        next(splitter.split(PLACES))
    with pytest.raises(DataError, match="2000 rows but 3 groups"):
        next(splitter.split(PLACES, groups=[1, 2, 3]))


def test_leaving_one_group_out_numbers_the_groups_that_occur():
    groups = Categories(np.array([3, 0, 3, 1]), ("Africa", "Asia", "Europe", "Oceania"))
    splitter = LeaveOneGroupOut()
    assert splitter.fold_of(np.zeros((4, 2)), groups=groups).tolist() == [2, 0, 2, 1]
    assert splitter.get_n_splits(groups=groups) == 3
    with pytest.raises(DataError, match=r"too few folds \(1\) when LeaveOneGroupOut"):
        next(splitter.split(np.zeros((4, 2)), groups=["a"] * 4))


# Buffer


def kilometres(a, b):
    """Great-circle distance by the angle between vectors, (N, M)."""
    vectors = []
    for lonlat in (a, b):
        lon, lat = np.deg2rad(lonlat).T
        parts = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
        vectors.append(np.stack(parts, axis=1))
    first, second = vectors[0][:, None], vectors[1][None]
    sine = np.linalg.norm(np.cross(first, second), axis=-1)
    return EARTH_RADIUS_KM * np.arctan2(sine, (first * second).sum(-1))


@pytest.mark.parametrize("km", [0.001, 30.0, 700.0, 15_000.0, 20_010.0, 25_000.0])
def test_the_buffer_is_that_of_all_distances(km):
    lonlat = np.concatenate([places(500, seed=3), places(300, seed=4) * [1, 0.001] + [0, 89.9]])
    lonlat[:40, 0] = np.where(np.arange(40) % 2, 179.999, -179.999)
    lonlat[40:60] = lonlat[60:80]
    rows, others = np.arange(0, 800, 2), np.arange(1, 800 if km < 100 else 4, 2)
    away = kilometres(lonlat[rows], lonlat[others])
    assert np.array_equal(near(lonlat, rows, others, km), (away < km).any(axis=1))


def test_no_training_row_is_left_in_the_buffer_and_none_outside_is_dropped():
    inner = HealpixCells(nside=4, folds=3)
    buffered = Buffered(inner, km=250.0)
    for (train, test), (all_train, all_test) in zip(
        buffered.split(PLACES), inner.split(PLACES), strict=True
    ):
        assert np.array_equal(test, all_test)
        away = kilometres(PLACES[all_train], PLACES[test]).min(axis=1)
        assert np.array_equal(train, all_train[away >= 250])
        assert 0 < len(train) < len(all_train)


def test_a_buffer_reaches_over_the_antimeridian_and_a_pole():
    lonlat = np.array([[179.99, 10], [-179.99, 10], [10, 89.99], [-170, 89.99], [0, 0]])
    assert near(lonlat, np.array([0, 2, 4]), np.array([1, 3]), 3.0).tolist() == [True, True, False]


def test_many_rows_at_few_places_are_quick():
    lonlat = np.repeat(places(4), 25_000, axis=0)
    rows = np.arange(0, 100_000, 2)
    assert near(lonlat, rows, rows + 1, 0.001).all()
    assert not near(lonlat, rows[:100], rows[:0], 10.0).any()
    assert near(lonlat, rows[:0], rows[:100], 10.0).shape == (0,)


def test_a_buffer_goes_around_groups_too_and_around_a_buffer():
    groups = np.where(PLACES[:, 0] > 0, "east", "west")
    ((train, test), _) = Buffered(LeaveOneGroupOut(), km=500).split(PLACES, groups=groups)
    assert (groups[test] == "east").all()
    assert kilometres(PLACES[train], PLACES[test]).min() >= 500
    wide, narrow = Buffered(HealpixCells(), km=300), Buffered(HealpixCells(), km=30)
    both = Buffered(Buffered(HealpixCells(), km=300), km=30)
    for (a, _), (b, _), (c, _) in zip(
        *(s.split(PLACES) for s in (wide, both, narrow)), strict=True
    ):
        assert np.array_equal(a, b)
        assert len(b) < len(c)


def test_a_buffer_that_leaves_no_row_to_train_on_is_refused():
    with pytest.raises(DataError, match=r"no row is left to train on when fold 0 of Buffered\("):
        next(Buffered(HealpixCells(), km=5000).split(PLACES))


# Tables


def table(count=2000, **columns):
    images = FileImages(pa.chunked_array([[f"{row}.jpg" for row in range(count)]]))
    known = {"label": Categories.of(LABELS[:count]), "group": Categories.of(GROUPS[:count])}
    return GeoTable(images, PLACES[:count].copy(), **known | columns)


def test_a_table_gets_the_folds_as_a_split_column():
    whole = table(notes=("read",))
    result = split_table(whole, SpatialBlocks(), test=3, validation=0)
    fold = SpatialBlocks().fold_of(PLACES)
    assert result.split.names == ("train", "validation", "test")
    expected = np.where(fold == 3, 2, np.where(fold == 0, 1, 0))
    assert np.array_equal(result.split.codes, expected)
    assert len(result.part("test")) == (fold == 3).sum()
    sizes = np.bincount(expected)
    assert result.notes == (
        "read",
        f"split by SpatialBlocks(degrees=5.0, folds=5, seed=0): {sizes[0]} train, {sizes[1]} "
        f"validation, {sizes[2]} test rows",
    )
    assert whole.split is None
    assert result.images_fingerprint == whole.images_fingerprint


@every
def test_every_splitter_splits_a_table(name):
    validation = None if name == "checkerboard" else 1
    result = split_table(table(), ALL[name], test=0, validation=validation)
    fold = ALL[name].fold_of(PLACES, LABELS, [str(group) for group in GROUPS])
    if name == "leave-one-group-out":
        fold = GROUPS
    assert np.array_equal(result.split.codes == len(result.split.names) - 1, fold == 0)
    assert result.split.names == (
        ("train", "test") if validation is None else ("train", "validation", "test")
    )


def test_rows_in_the_buffer_are_in_no_split_and_are_told():
    buffered = Buffered(HealpixCells(nside=4), km=300)
    result = split_table(table(), buffered, test=2, validation=4)
    fold = buffered.fold_of(PLACES)
    train, validation, test = (np.flatnonzero(result.split.codes == code) for code in range(3))
    assert np.array_equal(test, np.flatnonzero(fold == 2))
    for one, other in ((train, test), (validation, test), (validation, train)):
        assert kilometres(PLACES[one], PLACES[other]).min() >= 300
    others, held = np.flatnonzero((fold != 2) & (fold != 4)), np.flatnonzero(fold == 4)
    away = kilometres(PLACES[others], PLACES[test]).min(axis=1)
    assert np.array_equal(train, others[away >= 300])
    kept = kilometres(PLACES[held], PLACES[np.r_[test, train]]).min(axis=1) >= 300
    assert np.array_equal(validation, held[kept])
    assert result.notes[1:] == (
        f"in no split: {(away < 300).sum()} training rows too near to a test row",
        f"in no split: {(~kept).sum()} validation rows too near to a test or training row",
    )
    assert (result.split.codes < 0).sum() == (away < 300).sum() + (~kept).sum() > 50


def test_rows_without_a_place_or_group_are_in_no_split_where_the_splitter_goes_by_it():
    codes = GROUPS.copy()
    codes[:7] = -1
    whole = table(group=Categories(codes, tuple(str(n) for n in range(60))))
    whole.lonlat[5:10] = np.nan
    placed = split_table(whole, HealpixCells())
    assert np.flatnonzero(placed.split.codes < 0).tolist() == [5, 6, 7, 8, 9]
    assert placed.notes[1:] == ("in no split: 5 rows without a place",)
    grouped = split_table(whole, GroupFolds())
    assert np.flatnonzero(grouped.split.codes < 0).tolist() == list(range(7))
    assert grouped.notes[1:] == ("in no split: 7 rows without a group",)
    both = split_table(whole, Buffered(GroupFolds(), km=0.001))
    assert np.flatnonzero(both.split.codes < 0).tolist() == list(range(10))
    assert both.notes[1:] == (
        "in no split: 5 rows without a place",
        "in no split: 5 rows without a group",
    )
    assert (split_table(whole, StratifiedFolds()).split.codes >= 0).all()


def test_the_splits_of_the_source_are_replaced_and_that_is_told():
    once = split_table(table(), RandomFolds())
    twice = split_table(once, RandomFolds(seed=1))
    assert twice.notes[-1] == "the splits of the source were replaced"
    assert not np.array_equal(once.split.codes, twice.split.codes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test": 5}, "folds are 0 to 4, got 5"),
        ({"test": 0, "validation": -1}, "folds are 0 to 4, got -1"),
        ({"test": 1}, "fold 1 cannot be the test and the validation fold"),
    ],
)
def test_folds_of_a_table_that_cannot_be_are_refused(settings, message):
    with pytest.raises(DataError, match=message):
        split_table(table(), SpatialBlocks(), **settings)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_table_too_small_for_three_sets_is_refused(count):
    with pytest.raises(
        DataError, match=r"the (train|validation|test) set of RandomFolds.* is empty"
    ):
        split_table(table(count), RandomFolds())


def test_an_empty_set_is_told_with_what_was_dropped():
    whole = table(10)
    whole.lonlat[:] = places(10) * [0.001, 0.001]
    with pytest.raises(
        DataError, match=r"the train set of .* is empty; \d+ training rows too near to a test row"
    ):
        split_table(whole, Buffered(RandomFolds(folds=2), km=100), validation=None)


def test_a_table_without_labels_or_groups_cannot_be_split_by_them():
    with pytest.raises(DataError, match="need labels"):
        split_table(table(label=None), StratifiedFolds())
    with pytest.raises(DataError, match="needs groups"):
        split_table(table(group=None), GroupFolds())


def test_blocks_are_found_where_they_were():
    assert splits.SpatialBlocks is SpatialBlocks


@pytest.mark.parametrize("degrees", [5.0, 7.0, 50.0, 0.7])
def test_the_antimeridian_is_one_place_whatever_the_width_of_a_block(degrees):
    for seed in range(20):
        fold = SpatialBlocks(degrees=degrees, seed=seed).fold_of([[180.0, 3.0], [-180.0, 3.0]])
        assert fold[0] == fold[1]
