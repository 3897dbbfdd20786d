import itertools
import math
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from small_runs import FEATURES, PLACES, model, run, weights

import geocsp
from geocsp import GeoModel, Precision, PretrainSettings, pretrain
from geocsp.data.samplers import Balanced, Geographic, Uniform
from geocsp.errors import DataError, NotFiniteError
from geocsp.objectives import CspMc, CspNce, MeanSquaredError, NegativeSampling, Objective
from geocsp.train.randomness import Stream, generator
from geocsp.train.validation import Metric, Validation
from geocsp.train.watching import Watcher


@pytest.mark.parametrize(
    "objective",
    [CspMc, CspNce, lambda: MeanSquaredError(dim=8, feature_dim=6)],
    ids=["csp-mc", "csp-nce", "mse"],
)
def test_the_loss_falls(objective):
    torch.manual_seed(0)
    history = run(model(), objective())
    assert len(history) == 4
    assert history[-1]["loss"] < history[0]["loss"]


def test_images_find_their_places():
    trained = model(dropout=0.1)
    objective = CspMc(dropout=0, temperatures=(0.1, 0.1, 0.1))
    run(trained, objective, PretrainSettings(epochs=30, batch_size=100, learning_rate=5e-3))
    with torch.no_grad():
        similarity = trained.encode_image(FEATURES) @ trained.encode_location(PLACES).T
    rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1).double()
    assert float(rank.median()) < 15  # of 300; 150 by chance
    assert not trained.training


def test_the_same_seed_gives_the_same_weights_and_another_gives_others():
    trained = [model() for _ in range(3)]
    for seed, one in zip((0, 0, 1), trained, strict=True):
        run(one, seed=seed)
    assert torch.equal(weights(trained[0]), weights(trained[1]))
    assert not torch.equal(weights(trained[0]), weights(trained[2]))


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(model())
    assert torch.equal(torch.rand(3), expected)


def test_the_objective_is_trained_along():
    objective = MeanSquaredError(dim=8, feature_dim=6)
    before = objective.decoder.weight.detach().clone()
    run(model(), objective)
    assert not torch.equal(objective.decoder.weight, before)


def test_the_temperature_is_learned_only_if_the_objective_asks():
    for objective, moves in ((CspMc(), False), (CspMc(learnable_temperature=True), True)):
        trained = model()
        before = float(trained.log_scale.detach())
        run(trained, objective)
        assert (float(trained.log_scale.detach()) != before) == moves


def test_warm_up_starts_from_rate_zero():
    trained = model()
    before = weights(trained)
    run(trained, settings=PretrainSettings(epochs=1, batch_size=300, warmup=0.5))
    assert torch.equal(weights(trained), before)


def test_progress_is_told_after_every_epoch():
    seen = []
    history = run(model(), on_epoch=lambda epoch, losses: seen.append((epoch, losses)))
    assert seen == list(enumerate(history))
    assert [sorted(losses) for _, losses in seen] == [["B", "D", "L", "loss"]] * 4


class Recorder(Objective):
    """Keeps what every step is given; its loss counts the steps."""

    uses_features = True

    def __init__(self, sampling=NegativeSampling.SPHERE):
        super().__init__()
        self.sampling, self.views, self.remembered = sampling, [], []

    def places(self, lonlat, generator):
        return {"random": self.sampling.sample(2 * len(lonlat), generator).view(-1, 2, 2)}

    def forward(self, views):
        self.views.append(views)
        return {"loss": 0 * views.location.sum() + len(self.views)}

    def remember(self, lonlat):
        self.remembered.append(lonlat)


def record(trained, settings, features=FEATURES, sampler=None, sampling=NegativeSampling.SPHERE):
    recorder = Recorder(sampling)
    history = run(trained, recorder, settings, features, sampler=sampler)
    for views, lonlat in zip(recorder.views, recorder.remembered, strict=True):
        assert torch.equal(views.lonlat, lonlat)
    return recorder.views, history


def test_an_epoch_shows_every_row_once_in_a_new_order_and_with_its_own_place():
    seen, _ = record(model(), PretrainSettings(epochs=2, batch_size=100))
    epochs = [torch.cat([v.lonlat for v in seen[i : i + 3]]) for i in (0, 3)]
    for lonlat in epochs:
        assert sorted(lonlat.tolist()) == sorted(PLACES.tolist())
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], PLACES)
    feature_of = dict(zip(map(tuple, PLACES.tolist()), FEATURES, strict=True))
    for views in seen:
        expected = torch.stack([feature_of[tuple(place)] for place in views.lonlat.tolist()])
        assert torch.equal(views.features, expected)


def test_the_last_smaller_batch_is_left_out_and_a_large_batch_takes_all_rows():
    seen, _ = record(model(), PretrainSettings(epochs=1, batch_size=128))
    assert [len(v.lonlat) for v in seen] == [128, 128]
    seen, _ = record(model(), PretrainSettings(epochs=1, batch_size=1000))
    assert [len(v.lonlat) for v in seen] == [300]


def test_history_is_the_mean_over_the_steps_of_each_epoch():
    _, history = record(model(), PretrainSettings(epochs=2, batch_size=100))
    assert history == [{"loss": 2.0}, {"loss": 5.0}]


def test_objectives_see_standardised_features():
    trained = model()
    trained.standardise_by(3 * FEATURES + 1)
    seen, _ = record(trained, PretrainSettings(epochs=1, batch_size=300), 3 * FEATURES + 1)
    torch.testing.assert_close(seen[0].features.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    deviation = seen[0].features.std(0, correction=0)
    torch.testing.assert_close(deviation, torch.ones(6), atol=1e-5, rtol=0)


def test_random_places_are_new_in_every_step_and_of_the_sampling_of_the_objective():
    one_epoch = PretrainSettings(epochs=1, batch_size=100)
    seen, _ = record(model(), one_epoch, sampling=NegativeSampling.LEGACY_OCTANT)
    assert all(float(v.extra["random"].lonlat.min()) >= 0 for v in seen)
    seen, _ = record(model(), one_epoch)
    assert all(float(v.extra["random"].lonlat.min()) < -50 for v in seen)
    assert not torch.equal(seen[0].extra["random"].lonlat, seen[1].extra["random"].lonlat)


def test_dropout_is_on_while_training_and_follows_the_seed_not_the_global_state():
    trained = [model() for _ in range(2)]
    for state, one in enumerate(trained):
        torch.manual_seed(state)
        run(one, CspMc(random_location=0))
    assert torch.equal(weights(trained[0]), weights(trained[1]))
    without = model(dropout=0.0)
    run(without, CspMc(random_location=0))
    assert not torch.allclose(weights(without), weights(trained[0]))


def path_lengths(settings):
    """How far the weights move in every epoch."""
    trained = model(dropout=0.0)
    stops = [weights(trained)]
    run(trained, CspMc(dropout=0), settings, on_epoch=lambda *_: stops.append(weights(trained)))
    return [float((after - before).norm()) for before, after in itertools.pairwise(stops)]


def test_cosine_ends_in_small_steps():
    constant, cosine = (
        path_lengths(PretrainSettings(epochs=10, batch_size=60, learning_rate=1e-3, cosine=c))
        for c in (False, True)
    )
    assert cosine[-1] < 0.2 * constant[-1]
    assert cosine[0] > 0.8 * constant[0]


def test_weight_decay_pulls_weights_towards_zero():
    sizes = []
    for decay in (0.0, 1.0):
        trained = model(dropout=0.0)
        settings = PretrainSettings(
            epochs=20, batch_size=100, learning_rate=5e-3, weight_decay=decay
        )
        run(trained, CspMc(dropout=0), settings)
        sizes.append(float(weights(trained).norm()))
    assert sizes[1] < 0.9 * sizes[0]


def slow_run(objective, epochs, decay, longest):
    """One batch of all rows each epoch, written out; returns the weights and their average."""
    trained = model(dropout=0.0).double()
    places, features, average = PLACES.double(), FEATURES.double(), None
    optimizer = torch.optim.Adam(trained.parameters(), lr=5e-3)
    for epoch in range(epochs):
        rows = torch.randperm(300, generator=generator(0, Stream.ORDER, epoch))
        optimizer.zero_grad()
        image = trained.encode_image(features[rows])
        logits = trained.encode_location(places[rows]) @ image.T
        torch.nn.functional.cross_entropy(logits, torch.arange(300)).backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), longest)
        optimizer.step()
        now = weights(trained)
        average = now if average is None else decay * average + (1 - decay) * now
    return weights(trained), average


@pytest.mark.parametrize("micro_batch", [None, 70])
def test_a_run_is_that_of_a_plain_loop(micro_batch):
    objective = CspMc(random_location=0, dropout=0)
    settings = PretrainSettings(
        epochs=5, batch_size=300, learning_rate=5e-3, clip_norm=0.05, micro_batch=micro_batch
    )
    last, average = slow_run(objective, 5, 0.7, 0.05)
    for ema, expected in ((None, last), (0.7, average)):
        trained = model(dropout=0.0).double()
        changed = replace(settings, ema=ema)
        run(trained, objective, changed, FEATURES.double(), PLACES.double())
        torch.testing.assert_close(weights(trained), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_other_precisions_end_close_to_full_precision(precision):
    settings = PretrainSettings(epochs=15, batch_size=100, learning_rate=5e-3)
    exact = run(model(dropout=0.0), settings=settings)
    trained = model(dropout=0.0)
    history = run(trained, settings=replace(settings, precision=precision))
    assert history != exact
    for ours, theirs in zip(history, exact, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.01)
    assert all(p.dtype == torch.float32 for p in trained.parameters())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler")
def test_compiled_networks_give_the_same_numbers():
    settings = PretrainSettings(epochs=2, batch_size=100, learning_rate=5e-3)
    plain, compiled = model(dropout=0.0), model(dropout=0.0)
    history = run(plain, settings=settings)
    assert run(compiled, settings=replace(settings, compile=True)) == [
        {name: pytest.approx(value, rel=1e-5) for name, value in means.items()} for means in history
    ]
    torch.testing.assert_close(weights(compiled), weights(plain), rtol=1e-5, atol=1e-5)
    assert compiled.location.network._compiled_call_impl is None


def test_a_single_image_cannot_be_contrasted():
    with pytest.raises(DataError, match="at least 2: got 1 places"):
        run(model(), features=FEATURES[:1], places=PLACES[:1])


def test_features_and_places_have_to_fit_together():
    with pytest.raises(DataError, match="got 300 places and 299 rows"):
        run(model(), features=FEATURES[:299])
    broken = PLACES.clone()
    broken[4] = 200
    with pytest.raises(ValueError, match="row 4"):
        run(model(), places=broken)


def test_a_feature_that_is_not_finite_is_told_with_its_row():
    broken = FEATURES.clone()
    broken[17, 2] = float("nan")
    with pytest.raises(DataError, match=r"row 17\b"):
        run(model(), features=broken)


class Needs(Objective):
    def __init__(self, **uses):
        super().__init__()
        self.uses_images = False
        for name, value in uses.items():
            setattr(self, name, value)

    def forward(self, views):
        assert views.image is None
        return {"loss": views.raw_location.square().mean()}


@pytest.mark.parametrize(
    ("needs", "given", "message"),
    [
        ({"uses_labels": True}, {}, "Needs needs labels, but none are given"),
        ({"uses_groups": True}, {}, "Needs needs groups, but none are given"),
        ({"uses_images": True}, {}, "Needs needs images, but none are given"),
        ({"uses_features": True}, {}, "Needs needs images, but none are given"),
        ({}, {"labels": torch.zeros(300)}, "labels must be one int64 number for each of 300"),
        ({}, {"groups": torch.zeros(299).long()}, r"groups must .* of shape \(299,\)"),
    ],
)
def test_what_an_objective_needs_has_to_be_given(needs, given, message):
    with pytest.raises(DataError, match=message):
        run(model(), Needs(**needs), features=None, **given)


def test_an_objective_without_images():
    history = run(model(), Needs(), features=None)
    assert history[-1]["loss"] < history[0]["loss"]


def test_validation_is_not_for_objectives_without_images():
    with pytest.raises(DataError, match="lets images find their places, which Needs does not"):
        run(model(), Needs(), features=None, validation=Validation(FEATURES, PLACES))


class Spoils(Objective):
    """Spoils the loss of the row at one place, or its gradient alone."""

    def __init__(self, row, what):
        super().__init__()
        self.place, self.what = PLACES[row], what

    def forward(self, views):
        bad = (views.lonlat == self.place).all(1)
        losses = (views.image * views.location).sum(1)
        nothing = losses[bad] - losses[bad].detach()
        spoiled = nothing.log() if self.what == "loss" else nothing.sqrt()
        return {"loss": torch.cat([losses[~bad], spoiled]).mean()}


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("micro_batch", [None, 20])
def test_a_number_that_is_not_finite_stops_with_its_row(what, micro_batch):
    trained = model(dropout=0.0)
    before = weights(trained)
    settings = PretrainSettings(batch_size=300, micro_batch=micro_batch)
    with pytest.raises(NotFiniteError, match="in epoch 0, step 0; rows 123; look at") as raised:
        run(trained, Spoils(123, what), settings)
    assert raised.value.rows == [123]
    assert torch.equal(weights(trained), before)


@pytest.mark.parametrize("micro_batch", [None, 20])
def test_a_feature_that_the_tower_cannot_hold_stops_with_its_row(micro_batch):
    trained, huge = model(dropout=0.0), FEATURES.clone()
    huge[[7, 99]] = 1e38
    with torch.no_grad():
        trained.projection.weight.mul_(100)
    before = weights(trained)
    settings = PretrainSettings(batch_size=300, micro_batch=micro_batch)
    with pytest.raises(NotFiniteError, match="loss is nan and the gradient's length nan") as raised:
        run(trained, CspMc(), settings, huge)
    assert sorted(raised.value.rows) == [7, 99]
    assert torch.equal(weights(trained), before)


class Broken(Objective):
    def forward(self, views):
        return {"loss": (views.location + views.image).sum() * math.nan}


def test_where_no_row_stands_out_all_are_told():
    with pytest.raises(DataError, match=r"loss is nan .* epoch 0, step 0; rows \d+, .* 54 more;"):
        run(model(), Broken())


def test_losses_that_overflow_in_float16_skip_the_step():
    class Steep(Objective):
        def forward(self, views):
            return {"loss": 1e35 * (views.image * views.location).sum(1).mean()}

    history = run(
        model(), Steep(), PretrainSettings(epochs=3, batch_size=100, precision=Precision.FLOAT16)
    )
    assert len(history) == 3


def test_images_find_their_season_where_all_places_are_one():
    date = torch.rand(300, generator=torch.Generator().manual_seed(5))
    angle = 2 * torch.pi * date
    images = torch.stack([angle.sin(), angle.cos()], dim=1) @ torch.randn(
        2, 6, generator=torch.Generator().manual_seed(6)
    )
    time = torch.stack([date, torch.full_like(date, torch.nan)], dim=1)
    here = torch.zeros(300, 2)
    torch.manual_seed(0)
    location = geocsp.create("location", "xyz", dim=8, dropout=0.1, date_harmonics=1)
    trained = GeoModel(location, feature_dim=6)
    objective = CspMc(temperatures=(0.1, 0.1, 0.1))
    settings = PretrainSettings(epochs=40, batch_size=100, learning_rate=5e-3)
    pretrain(trained, objective, images, here, settings, seed=0, time=time)
    with torch.no_grad():
        similarity = trained.encode_image(images) @ trained.encode_location(here, time).T
    rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1).double()
    assert float(rank.median()) < 30  # of 300; 150 by chance


def test_a_step_needs_an_image():
    with pytest.raises(ValueError, match="batch_size of at least 1"):
        PretrainSettings(batch_size=0)


def test_without_a_sampler_all_rows_are_shown_in_the_order_of_the_seed():
    order = torch.randperm(300, generator=generator(0, Stream.ORDER, 0))
    seen, _ = record(model(), PretrainSettings(epochs=1, batch_size=100))
    for shown, rows in zip(seen, order.split(100), strict=True):
        assert torch.equal(shown.lonlat, PLACES[rows.sort().values])
    trained = [model() for _ in range(2)]
    for one, sampler in zip(trained, (None, Uniform(seed=8).fit(PLACES)), strict=True):
        run(one, sampler=sampler)
    assert torch.equal(weights(trained[0]), weights(trained[1]))


def test_a_sampler_says_what_an_epoch_shows():
    labels = torch.arange(300) % 3
    sampler = Balanced(per_class=20).fit(PLACES, labels)
    seen, history = record(model(), PretrainSettings(epochs=2, batch_size=25), FEATURES, sampler)
    assert [len(v.lonlat) for v in seen] == [25, 25] * 2
    label_of = dict(zip(map(tuple, PLACES.tolist()), labels.tolist(), strict=True))
    shown = [tuple(place) for v in seen[:2] for place in v.lonlat.tolist()]
    assert len(set(shown)) == 50
    assert max(sum(label_of[place] == n for place in shown) for n in range(3)) <= 20
    assert [epoch["loss"] for epoch in history] == pytest.approx([1.5, 3.5])
    seen, _ = record(
        model(),
        PretrainSettings(epochs=1, batch_size=1000),
        FEATURES,
        Geographic(strength=1, nside=2).fit(PLACES),
    )
    assert [len(v.lonlat) for v in seen] == [48]


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (Uniform(), r"fitted to the 300 images .*: Uniform\(seed=0\) is fitted to 0 and shows 0"),
        (Uniform().fit(PLACES[:299]), "is fitted to 299 and shows 299"),
        (Geographic(1.0).fit(torch.zeros(300, 2)), "is fitted to 300 and shows 1"),
    ],
)
def test_a_sampler_has_to_fit(sampler, message):
    with pytest.raises(DataError, match=message):
        run(model(), sampler=sampler)


def test_a_run_of_no_epochs_changes_nothing():
    trained = model()
    before = weights(trained)
    assert run(trained, settings=PretrainSettings(epochs=0, ema=0.9)) == []
    assert torch.equal(weights(trained), before)


def test_validation_stops_a_run_that_gets_no_better():
    hopeless = Validation(FEATURES, PLACES.flip(0), patience=2, metric=Metric.MEDIAN_RANK)
    settings = PretrainSettings(epochs=30, batch_size=64, learning_rate=0.1)
    trained, kept = model(), []
    history = run(
        trained, settings=settings, validation=hopeless, on_epoch=lambda *_: kept.append(trained)
    )
    ranks = [epoch["validation.median_rank"] for epoch in history]
    best = ranks.index(min(ranks))
    assert len(history) == best + 3 < 30
    again = hopeless.measure(trained)
    assert again["median_rank"] == ranks[best]


class Fails(Watcher):
    def on_epoch(self, step, epoch, means):
        raise OSError("no space left")


def test_a_watcher_that_fails_does_not_stop_the_run():
    with pytest.warns(UserWarning, match="Fails failed and watches no longer"):
        assert len(run(model(), watchers=[Fails()])) == 4


LARGE = """
import resource, sys, torch, numpy as np
from pathlib import Path
import geocsp
from geocsp.coords import sample_sphere
from geocsp.data.cache import FeatureCache
from geocsp.objectives import CspMc

torch.set_num_threads(2)
rows, dim, random = 65_536, 2048, torch.Generator().manual_seed(0)
cache = FeatureCache(Path(sys.argv[1]), rows, dim)
for shard in range(cache.shards):
    cache.write(shard, torch.randn(len(cache.span(shard)), dim, generator=random))
features = geocsp.Features(None, cache, np.arange(rows))
location = geocsp.create("location", "space2vec-grid", dim=32)
settings = geocsp.PretrainSettings(epochs=1, batch_size=rows, micro_batch=4096)
(means,) = geocsp.pretrain(
    geocsp.GeoModel(location, dim), CspMc(), features, sample_sphere(rows, random), settings, seed=0
)
print(means["loss"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_a_batch_of_65536_stays_below_4_gigabytes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LARGE, tmp_path],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loss, megabytes = map(float, done.stdout.split())
    assert 2 * math.log(65_536) + math.log(2) == pytest.approx(loss, rel=0.2)
    assert megabytes < 4096


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": float("nan")}, "learning_rate must be at least 0, got nan"),
        ({"learning_rate": -1e-3}, "learning_rate must be at least 0, got -0.001"),
        ({"weight_decay": -1.0}, "weight_decay and image_rate must be at least 0, got -1.0"),
        ({"warmup": 7.0}, "warmup must be a share of the steps"),
        ({"decay": 0.0}, "decay must be above 0"),
    ],
)
def test_rates_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        PretrainSettings(**wrong)
