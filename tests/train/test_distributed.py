from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import ToyEncoder, toy_table
from two_processes import Pair

import geocsp
from geocsp import GeoModel, PretrainSettings, pretrain
from geocsp.coords import sample_sphere
from geocsp.data.cache import FeatureCache
from geocsp.data.samplers import Balanced, Uniform
from geocsp.errors import DataError, NotFiniteError
from geocsp.images.features import Features
from geocsp.objectives import Objective
from geocsp.process import Process
from geocsp.train.checkpoint import Checkpoints
from geocsp.train.pixels import PixelFeed
from geocsp.train.randomness import Stream, generator
from geocsp.train.validation import Validation

ROWS, DIM, CLASSES = 96, 8, 5
PLACES = sample_sphere(ROWS, torch.Generator().manual_seed(0))
FEATURES = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(ROWS) % (CLASSES + 1) - 1
GROUPS = torch.arange(ROWS) % 3 - 1
SETTINGS = PretrainSettings(epochs=2, batch_size=24, learning_rate=3e-3)
OF_CLASSES = {"dim": DIM, "classes": CLASSES}

OBJECTIVES = {
    "an-full": [OF_CLASSES],
    "an-slds": [OF_CLASSES],
    "an-ssdl": [OF_CLASSES],
    "clip": [{}, {"temperature": 0.1}],
    "cross-entropy": [OF_CLASSES],
    "csp-mc": [
        {},
        {"random_location": 0, "dropout": 0, "symmetric": True, "mask_km": 2000.0},
        {"learnable_temperature": True, "negatives_per_image": 3, "mask_km": 1000.0},
    ],
    "csp-nce": [{}, {"negatives_per_image": 2, "epsilon": 1e-5}],
    "geoclip": [{"queue": 40, "noise_km": 50.0}],
    "hard-negatives": [{"negatives_per_image": 3}],
    "me-full": [OF_CLASSES],
    "me-slds": [OF_CLASSES],
    "me-ssdl": [OF_CLASSES],
    "mse": [{"dim": DIM, "feature_dim": 6}],
    "photographer": [OF_CLASSES | {"photographers": 2}],
    "presence-absence": [OF_CLASSES],
    "siglip": [{}, {"mask_km": 2000.0}],
    "simcse": [{"jitter_km": 30.0}],
    "soft-positives": [{"width_km": 1500.0}],
    "supcon": [{}],
    "weighted": [
        {"members": [{"name": "clip", "weight": 1.0}, {"name": "simcse", "weight": 0.5}]},
    ],
}
CASES = [(name, settings) for name, cases in OBJECTIVES.items() for settings in cases]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()


def model(dim=6, image=None):
    torch.manual_seed(0)
    location = geocsp.create(
        "location", "space2vec-grid", dim=DIM, frequencies=4, hidden=8, dropout=0.0
    )
    return GeoModel(location, dim, image=image)


def weights(*modules):
    return torch.cat([p.detach().flatten() for m in modules for p in m.parameters()])


def train(name, settings, how=SETTINGS, images=FEATURES, sampler=None):
    trained = model()
    torch.manual_seed(1)
    objective = geocsp.create("objective", name, **settings)
    before = weights(trained, objective)
    history = pretrain(
        trained,
        objective,
        images,
        PLACES,
        how,
        seed=3,
        labels=LABELS,
        groups=GROUPS,
        sampler=sampler,
    )
    after = weights(trained, objective)
    assert float((after - before).norm()) > 1e-3
    return (
        after,
        torch.cat([b.double().flatten() for b in objective.buffers()] or [before[:0]]),
        (history),
    )


def check(ours, theirs):
    alone, (first, second) = ours, theirs
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert first[2] == second[2]
    torch.testing.assert_close(first[0], alone[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first[1], alone[1], atol=1e-5, rtol=1e-5)
    for two, one in zip(first[2], alone[2], strict=True):
        assert two == pytest.approx(one, abs=1e-5, rel=1e-5)


def test_every_objective_is_among_the_cases():
    assert sorted(OBJECTIVES) == geocsp.available("objective")


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_two_processes_end_where_one_does(pair, name, settings):
    check(train(name, settings), pair.run(train, name, settings))


@pytest.mark.parametrize(
    "changes",
    [
        {"micro_batch": 5},
        {"ema": 0.8},
        {"clip_norm": 0.05},
        {"micro_batch": 7, "ema": 0.5, "clip_norm": 0.1, "cosine": True, "weight_decay": 0.1},
        {"batch_size": 1000},
    ],
)
@pytest.mark.parametrize("name", ["clip", "csp-mc"])
def test_so_they_do_with_other_settings(pair, name, changes):
    how = replace(SETTINGS, **changes)
    check(train(name, {}, how), pair.run(train, name, {}, how))


def test_passes_of_two_processes_equal_the_whole_batch_of_one(pair):
    check(train("clip", {}), pair.run(train, "clip", {}, replace(SETTINGS, micro_batch=5)))


def on_disk(folder):
    cache = FeatureCache.open(folder / "cache")
    return Features(toy_table(folder, ROWS), cache, np.random.default_rng(0).permutation(ROWS))


def train_from_disk(folder):
    return train("clip", {}, images=on_disk(folder))


def test_features_on_disk_are_shared_out_alike(pair, tmp_path):
    cache = FeatureCache(tmp_path / "cache", ROWS, 6)
    cache.write(0, FEATURES.to(cache.storage.dtype), {})
    cache.describe(encoder="none")
    check(train_from_disk(tmp_path), pair.run(train_from_disk, tmp_path))


class Recorder(Objective):
    """Remembers the places it is shown."""

    uses_features = True

    def __init__(self):
        super().__init__()
        self.seen, self.whole = [], []

    def forward(self, views):
        self.seen.append((views.lonlat.clone(), views.features.clone()))
        return {"loss": (views.location * views.image).sum(1).mean()}

    def remember(self, lonlat):
        self.whole.append(lonlat.clone())


def record(batch, sampler=None):
    recorder = Recorder()
    how = replace(SETTINGS, batch_size=batch)
    pretrain(model(), recorder, FEATURES, PLACES, how, seed=3, sampler=sampler)
    return recorder.seen, recorder.whole


@pytest.mark.parametrize("sampler", [None, Balanced(per_class=10).fit(PLACES, LABELS.clamp(min=0))])
def test_rows_are_split_without_loss_or_repeat(pair, sampler):
    batch = 20
    alone, _ = record(batch, sampler)
    (first, whole), (second, _) = pair.run(record, batch, sampler)
    assert len(first) == len(second) == len(alone)
    for (place, feature), (one, own), (two, other), both in zip(
        alone, first, second, whole, strict=True
    ):
        assert len(one) == len(two) == batch // 2
        assert torch.equal(torch.cat([one, two]), place)
        assert torch.equal(torch.cat([own, other]), feature)
        assert torch.equal(both, place)
    epochs = len(first) // SETTINGS.epochs
    shown = [tuple(p) for lonlat in whole[:epochs] for p in lonlat.tolist()]
    assert len(set(shown)) == len(shown) == epochs * batch


def too_small():
    record(1)


def test_a_batch_that_cannot_be_split_is_told(pair):
    with pytest.raises(DataError, match="cannot be split among 2 processes"):
        pair.run(too_small)


def train_with_labels(name, labels):
    trained = model()
    torch.manual_seed(1)
    objective = geocsp.create("objective", name, **OBJECTIVES[name][0])
    how = replace(SETTINGS, epochs=1, batch_size=2)
    history = pretrain(
        trained, objective, FEATURES, PLACES, how, seed=3, labels=labels, groups=labels * 0
    )
    return weights(trained, objective), torch.empty(0), history


@pytest.mark.parametrize("name", ["an-full", "cross-entropy", "photographer", "supcon"])
def test_a_process_may_have_no_labelled_row(pair, name):
    labels = torch.where(torch.arange(ROWS) % 7 == 0, 2, -1)
    check(train_with_labels(name, labels), pair.run(train_with_labels, name, labels))


class NanInTheSecond(Objective):
    def forward(self, views):
        loss = (views.location * views.image).sum(1).mean()
        if views.process.rank == 1:
            loss = loss * float("nan")
        return {"loss": loss}


def train_to_nan():
    trained = model()
    try:
        pretrain(trained, NanInTheSecond(), FEATURES, PLACES, SETTINGS, seed=3)
    except NotFiniteError as error:
        return str(error), error.rows, torch.equal(weights(trained), weights(model()))
    return None


def test_a_loss_that_is_nan_in_one_process_stops_both_before_the_weights_move(pair):
    first, second = pair.run(train_to_nan)
    assert first == second
    assert "loss is nan" in first[0]
    order = Uniform().fit(PLACES).order(generator(3, Stream.ORDER, 0))
    assert first[1]
    assert set(first[1]) <= set(order[: SETTINGS.batch_size].tolist())
    assert first[2]


def train_with_one_bad_row():
    features = FEATURES.clone()
    features[17] = torch.nan
    try:
        pretrain(model(), geocsp.create("objective", "clip"), features, PLACES, SETTINGS, seed=3)
    except DataError as error:
        return str(error)
    return None


def test_both_processes_name_the_row(pair):
    first, second = pair.run(train_with_one_bad_row)
    assert first == second
    assert "row 17 " in first


def photos(folder):
    from PIL import Image

    for number, place in enumerate(PLACES.tolist()):
        colour = [int(c) for c in (place[0] / 360 * 200 + 128, place[1] + 128, 90)]
        Image.new("RGB", (10, 12), tuple(colour)).save(folder / f"{number:03d}.png")


def train_from_pixels(folder, patterns=("*",), micro_batch=None):
    encoder = ToyEncoder()
    trained = model(encoder.dim, encoder)
    trained.train_image(*patterns)
    feed = PixelFeed(toy_table(folder, ROWS).images, encoder)
    how = replace(SETTINGS, micro_batch=micro_batch)
    history = pretrain(trained, geocsp.create("objective", "clip"), feed, PLACES, how, seed=3)
    return weights(trained), torch.empty(0), history


def test_two_processes_learn_from_pixels_as_one_does(pair, tmp_path):
    photos(tmp_path)
    alone = train_from_pixels(tmp_path)
    check(alone, pair.run(train_from_pixels, tmp_path))
    check(alone, pair.run(train_from_pixels, tmp_path, ("*",), 5))
    only = ("layers.2.*",)
    check(train_from_pixels(tmp_path, only), pair.run(train_from_pixels, tmp_path, only))


class StopError(Exception):
    pass


def train_for_a_while(folder, stop_after=None, micro_batch=None):
    """Train with a queue and an average; stop after some epochs without a word."""

    def stop(epoch, means):
        if epoch + 1 == stop_after:
            raise StopError

    trained, objective = model(), geocsp.create("objective", "geoclip", queue=40)
    how = replace(SETTINGS, epochs=4, ema=0.8, micro_batch=micro_batch, cosine=True)
    checkpoints = Checkpoints(folder, every=3, every_seconds=None)
    held_out = Validation(FEATURES[::4], PLACES[::4])
    try:
        history = pretrain(
            trained,
            objective,
            FEATURES,
            PLACES,
            how,
            seed=3,
            validation=held_out,
            checkpoints=checkpoints,
            on_epoch=stop,
        )
    except StopError:
        return None
    return weights(trained), objective.queued, history


def test_a_run_of_two_processes_goes_on_with_one_and_the_other_way_round(pair, tmp_path):
    whole = train_for_a_while(tmp_path / "whole")
    check(whole, pair.run(train_for_a_while, tmp_path / "both"))
    assert pair.run(train_for_a_while, tmp_path / "two", 2) == [None, None]
    alone = train_for_a_while(tmp_path / "two")
    check(whole, (alone, alone))
    assert train_for_a_while(tmp_path / "one", 3) is None
    check(whole, pair.run(train_for_a_while, tmp_path / "one"))


def start_apart():
    process = Process.current()
    torch.manual_seed(process.rank)
    trained = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    trained[0].weight = torch.nn.Parameter(torch.randn(3, 2).T)
    process.spread(trained.state_dict().values())
    return [value.clone() for value in trained.state_dict().values()]


def test_processes_can_start_from_the_weights_of_the_first(pair):
    first, second = pair.run(start_apart)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.manual_seed(0)
    torch.nn.Linear(3, 2)
    assert torch.equal(first[0], torch.randn(3, 2).T)


def gathered(seed):
    process = Process.current()
    torch.manual_seed(seed + process.rank)
    rows = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    scale = torch.tensor(2.0, dtype=torch.double, requires_grad=True)
    everybody = process.gather(rows)
    weight = torch.arange(24, dtype=torch.double).view(6, 4) * (process.rank + 1)
    (scale * (everybody.sin() * weight).sum()).backward()
    process.average_gradients([rows, scale, torch.zeros(2, requires_grad=True)])
    unused = process.gather(torch.tensor([process.rank]))
    return rows.detach(), everybody.detach(), rows.grad, scale.grad, unused


def test_gathering_has_the_exact_gradient(pair):
    (a, both, grad_a, slope, ranks), (b, other, grad_b, _, _) = pair.run(gathered, 5)
    assert torch.equal(both, torch.cat([a, b]))
    assert torch.equal(both, other)
    assert ranks.tolist() == [0, 1]
    rows = both.clone().requires_grad_()
    scale = torch.tensor(2.0, dtype=torch.double, requires_grad=True)
    weight = torch.arange(24, dtype=torch.double).view(6, 4)
    losses = [scale * (rows.sin() * weight * (rank + 1)).sum() for rank in range(2)]
    (sum(losses) / 2).backward()
    averaged = rows.grad[:3] + rows.grad[3:]  # as of one parameter that both processes use
    torch.testing.assert_close(grad_a, averaged)
    torch.testing.assert_close(grad_b, averaged)
    torch.testing.assert_close(slope, scale.grad)
