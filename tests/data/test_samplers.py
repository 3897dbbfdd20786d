import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import geocsp
from geocsp.coords import sample_sphere
from geocsp.data.samplers import Balanced, Geographic, Uniform, _Piles
from geocsp.data.splitters.healpix import healpix_cells
from geocsp.errors import DataError

PLACES = torch.cat(
    [
        sample_sphere(600, torch.Generator().manual_seed(0)),
        torch.tensor([[8.5, 47.4]])
        + 0.01 * torch.rand(400, 2, generator=torch.Generator().manual_seed(2)),
    ]
)
LABELS = torch.tensor([-1] * 50 + [0] * 700 + [3] * 200 + [7] * 45 + [9] * 5)[
    torch.randperm(1000, generator=torch.Generator().manual_seed(1))
]
ALL = {"uniform": Uniform(), "balanced": Balanced(), "geographic": Geographic(nside=4)}
every = pytest.mark.parametrize("name", ALL)


def fitted(name, **settings):
    whole = vars(ALL[name]) | settings
    own = {key: whole[key] for key in whole if key in ("seed", "per_class", "strength", "nside")}
    return geocsp.create("sampler", name, **own).fit(PLACES, LABELS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_sampler_is_registered():
    assert geocsp.available("sampler") == sorted(ALL)
    balanced = geocsp.create("sampler", "balanced", per_class=5)
    assert balanced.recipe == {"name": "balanced", "settings": {"per_class": 5}}
    assert repr(balanced) == "Balanced(per_class=5, seed=0)"


@every
def test_an_order_shows_no_row_twice_and_as_many_as_the_length_says(name):
    sampler = fitted(name)
    order = sampler.order(generator())
    assert order.dtype == torch.int64
    assert order.shape == (len(sampler),)
    assert len(order.unique()) == len(sampler)
    assert 0 <= int(order.min()) <= int(order.max()) < sampler.rows == 1000
    assert not torch.equal(order, order.sort().values)


@every
def test_an_order_depends_on_the_generator_alone(name):
    sampler = fitted(name)
    first = sampler.order(generator(3))
    assert torch.equal(first, sampler.order(generator(3)))
    assert torch.equal(first, fitted(name, seed=9).order(generator(3)))
    assert not torch.equal(first, sampler.order(generator(4)))


@every
def test_passes_depend_on_seed_and_epoch_and_can_be_taken_up_again(name):
    sampler = fitted(name)
    epochs = [list(sampler) for _ in range(3)]
    assert sampler.epoch == 3
    assert all(len(epoch) == len(sampler) for epoch in epochs)
    assert all(one != other for one, other in itertools.combinations(epochs, 2))
    resumed = fitted(name)
    resumed.set_epoch(2)
    assert list(resumed) == epochs[2]
    assert list(fitted(name, seed=1)) != epochs[0]
    assert list(fitted(name, seed=-1)) != epochs[0]
    assert {type(row) for row in epochs[0]} == {int}


@every
def test_a_data_loader_takes_it(name):
    sampler = fitted(name)
    loader = DataLoader(TensorDataset(torch.arange(1000)), batch_size=64, sampler=sampler)
    shown = torch.cat([rows for (rows,) in loader]).tolist()
    assert len(loader) == math.ceil(len(sampler) / 64)
    assert shown == list(fitted(name))
    again = torch.cat([rows for (rows,) in loader]).tolist()
    assert again != shown


@every
def test_the_global_random_state_is_neither_used_nor_changed(name):
    torch.manual_seed(1)
    first = list(fitted(name))
    after = torch.rand(2)
    torch.manual_seed(2)
    assert list(fitted(name)) == first
    torch.manual_seed(1)
    assert torch.equal(torch.rand(2), after)


@every
def test_arrays_and_tensors_are_the_same_to_it(name):
    tensors = fitted(name)
    arrays = geocsp.create("sampler", name, **({"nside": 4} if name == "geographic" else {}))
    arrays.fit(PLACES.numpy(), LABELS.numpy())
    assert torch.equal(arrays.order(generator()), tensors.order(generator()))


@every
def test_a_sampler_that_knows_no_rows_says_so(name):
    sampler = geocsp.create("sampler", name)
    assert len(sampler) == 0
    with pytest.raises(DataError, match=r"knows no rows: call its fit\(\) with places first"):
        iter(sampler)


# Uniform


def test_uniform_is_the_permutation_of_the_generator():
    expected = torch.randperm(1000, generator=generator(5))
    assert torch.equal(fitted("uniform").order(generator(5)), expected)


# Balanced


@pytest.mark.parametrize("per_class", [1, 5, 100, 300, 1000])
def test_balanced_takes_so_many_of_every_class_or_all(per_class):
    order = fitted("balanced", per_class=per_class).order(generator())
    counts = Counter(LABELS[order].tolist())
    sizes = {0: 700, 3: 200, 7: 45, 9: 5}
    assert counts == {label: min(size, per_class) for label, size in sizes.items()}


def test_balanced_shuffles_the_classes():
    order = fitted("balanced").order(generator())
    halves = [Counter(LABELS[half].tolist()) for half in order.chunk(2)]
    assert abs(halves[0][0] - halves[1][0]) < 40
    assert abs(halves[0][3] - halves[1][3]) < 40


def test_balanced_shows_all_rows_of_a_class_equally_often():
    sampler, shown = fitted("balanced"), np.zeros(1000)
    for _ in range(700):
        np.add.at(shown, list(sampler), 1)
    labels = LABELS.numpy()
    assert (shown[labels < 0] == 0).all()
    assert (shown[labels == 7] == 700).all()
    for label, share in ((0, 1 / 7), (3, 1 / 2)):
        spread = math.sqrt(700 * share * (1 - share))
        assert shown[labels == label].mean() == pytest.approx(700 * share)
        assert np.abs(shown[labels == label] - 700 * share).max() < 5 * spread


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "needs labels"),
        (torch.full((1000,), -1), "none of 1000 rows has one"),
        (LABELS[:10], r"got 1000 rows and int64 labels of shape \(10,\)"),
        (LABELS.float(), "float32 labels"),
        (LABELS[:, None], r"shape \(1000, 1\)"),
    ],
)
def test_balanced_needs_a_label_for_every_row(labels, message):
    with pytest.raises(DataError, match=message):
        Balanced().fit(PLACES, labels)
    with pytest.raises(DataError, match="none of 0 rows"):
        Balanced().fit(PLACES[:0], LABELS[:0])


# Geographic


def test_geographic_of_strength_one_shows_one_row_of_every_cell():
    order = fitted("geographic", strength=1.0).order(generator())
    cells = healpix_cells(PLACES.double().numpy(), 4)
    assert sorted(cells[order]) == np.unique(cells).tolist()


def test_geographic_of_strength_zero_shows_all_rows():
    order = fitted("geographic", strength=0.0).order(generator())
    assert sorted(order.tolist()) == list(range(1000))


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.8, 1.0])
def test_geographic_shows_rows_as_often_as_their_density_says(strength):
    sampler, shown, epochs = fitted("geographic", strength=strength), np.zeros(1000), 1500
    for _ in range(epochs):
        np.add.at(shown, list(sampler), 1)
    cells = healpix_cells(PLACES.double().numpy(), 4)
    size = np.bincount(cells)[cells]
    wanted = size**-strength
    assert len(sampler) == math.floor(wanted.sum() + 1e-9)
    share = wanted * len(sampler) / wanted.sum()
    spread = np.sqrt(epochs * share * (1 - share) + 1e-12)
    assert np.abs(shown - epochs * share).max() < 5 * spread.max()
    dense = size > 300
    assert shown[dense].mean() == pytest.approx(epochs * share[dense].mean(), rel=0.05)
    assert int(size.max()) > 400


def test_all_rows_in_one_cell_and_duplicates_are_thinned_evenly():
    here = np.tile([[8.5, 47.4]], (400, 1))
    sampler = Geographic().fit(here)
    assert len(sampler) == 20
    assert len(set(sampler)) == 20
    assert list(Geographic().fit(here[:1])) == [0]
    assert sorted(Geographic(strength=0).fit(here[:2])) == [0, 1]


def test_antimeridian_and_poles_are_places_like_any_other():
    lonlat = [[180, 1], [-180, 1], [0, 90], [0, -90], [120, 90]]
    assert len(Geographic(strength=1, nside=1).fit(lonlat)) == 4  # both names of 180 are one cell


def test_geographic_names_a_place_that_is_none():
    for bad in ([np.nan, 0], [0, 91]):
        with pytest.raises(DataError, match="row 1 "):
            Geographic().fit([[0, 0], bad])
    with pytest.raises(DataError, match="at least one place"):
        Geographic().fit(np.empty((0, 2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Balanced(per_class=0), "at least 1 row per class, got 0"),
        (lambda: Geographic(strength=1.5), r"strength must be in \[0, 1\], got 1.5"),
        (lambda: Geographic(strength=math.nan), "strength must be in"),
        (lambda: Geographic(nside=0), "nside"),
    ],
)
def test_senseless_settings_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


# Piles


@pytest.mark.parametrize("most", [3, 300, 70_000, 2**40])
def test_piles_hold_the_rows_of_every_key(most):
    keys = np.random.default_rng(0).integers(-2, most, 2000)
    piles = _Piles.of(keys)
    members, start = piles.members.numpy(), 0
    for key, size in zip(np.unique(keys[keys >= 0]), piles.sizes.tolist(), strict=True):
        assert members[start : start + size].tolist() == np.flatnonzero(keys == key).tolist()
        start += size
    assert start == len(members) == (keys >= 0).sum()


@pytest.mark.parametrize("take", range(6))
def test_all_subsets_of_a_pile_are_equally_likely(take):
    piles = _Piles.of(np.array([0, 1, 1, 1, 1, 1, 2, 2]))
    random, seen = generator(), Counter()
    for _ in range(2000):
        rows = piles.draw(torch.tensor([0, take, 1]), random).tolist()
        assert len(rows) == take + 1
        seen[tuple(sorted(row for row in rows if 1 <= row <= 5))] += 1
    subsets = math.comb(5, take)
    assert len(seen) == subsets
    expected = 2000 / subsets
    assert max(abs(n - expected) for n in seen.values()) <= 5 * math.sqrt(expected)


def test_many_small_piles_are_drawn_at_once():
    piles = _Piles.of(np.arange(200_000) // 4)
    order = piles.draw(torch.full((50_000,), 2), generator())
    assert (np.bincount(order.numpy() // 4) == 2).all()
    assert len(order.unique()) == 100_000
