import itertools

import pytest
import torch

import geocsp
from geocsp import GeoModel, PretrainSettings, pretrain
from geocsp.coords import sample_sphere, unit_vectors
from geocsp.data.samplers import Balanced, Geographic, Uniform
from geocsp.errors import DataError
from geocsp.objectives import CspMc, CspNce, MeanSquaredError, NegativeSampling, Objective
from geocsp.train.pretrain import make_views

PLACES = sample_sphere(300, torch.Generator().manual_seed(0))
FEATURES = unit_vectors(PLACES) @ torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
SETTINGS = PretrainSettings(epochs=4, batch_size=64, learning_rate=5e-3)


def model(dropout=0.5):
    torch.manual_seed(0)
    location = geocsp.create(
        "location",
        "space2vec-grid",
        dim=8,
        frequencies=4,
        min_radius=20.0,
        hidden=32,
        dropout=dropout,
    )
    return GeoModel(location, feature_dim=6)


def weights(trained):
    return torch.cat([p.detach().flatten() for p in trained.parameters()])


@pytest.mark.parametrize(
    "objective",
    [CspMc, CspNce, lambda: MeanSquaredError(dim=8, feature_dim=6)],
    ids=["csp-mc", "csp-nce", "mse"],
)
def test_the_loss_falls(objective):
    torch.manual_seed(0)
    history = pretrain(model(), objective(), FEATURES, PLACES, SETTINGS, seed=0)
    assert len(history) == 4
    assert history[-1]["loss"] < history[0]["loss"]


def test_images_find_their_places():
    trained = model(dropout=0.1)
    objective = CspMc(dropout=0, temperatures=(0.1, 0.1, 0.1))
    settings = PretrainSettings(epochs=30, batch_size=100, learning_rate=5e-3)
    pretrain(trained, objective, FEATURES, PLACES, settings, seed=0)
    with torch.no_grad():
        similarity = trained.encode_image(FEATURES) @ trained.encode_location(PLACES).T
    rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1).double()
    assert float(rank.median()) < 15  # of 300; 150 by chance
    assert not trained.training


def test_the_same_seed_gives_the_same_weights_and_another_gives_others():
    trained = [model() for _ in range(3)]
    for seed, one in zip((0, 0, 1), trained, strict=True):
        pretrain(one, CspMc(), FEATURES, PLACES, SETTINGS, seed=seed)
    assert torch.equal(weights(trained[0]), weights(trained[1]))
    assert not torch.equal(weights(trained[0]), weights(trained[2]))


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pretrain(model_without_draws(), CspMc(), FEATURES, PLACES, SETTINGS, seed=0)
    assert torch.equal(torch.rand(3), expected)


def model_without_draws():
    with torch.random.fork_rng():
        return model()


def test_the_objective_is_trained_along():
    objective = MeanSquaredError(dim=8, feature_dim=6)
    before = objective.decoder.weight.detach().clone()
    pretrain(model(), objective, FEATURES, PLACES, SETTINGS, seed=0)
    assert not torch.equal(objective.decoder.weight, before)


def test_the_temperature_is_learned_only_if_the_objective_asks():
    for objective, moves in ((CspMc(), False), (CspMc(learnable_temperature=True), True)):
        trained = model()
        before = float(trained.log_scale.detach())
        pretrain(trained, objective, FEATURES, PLACES, SETTINGS, seed=0)
        assert (float(trained.log_scale.detach()) != before) == moves


def views(objective):
    trained = model().train()
    generator = torch.Generator().manual_seed(0)
    return make_views(
        trained, objective, FEATURES[:10], PLACES[:10], NegativeSampling.SPHERE, generator
    )


def test_only_the_passes_an_objective_needs_are_made():
    bare = views(CspMc(random_location=0, dropout=0))
    assert bare.location_again is None
    assert bare.negatives is None
    assert bare.negative_lonlat is None
    full = views(CspMc(negatives_per_image=3))
    assert full.location_again.shape == full.location.shape == (10, 8)
    assert full.negatives.shape == (10, 3, 8)
    assert full.negative_lonlat.shape == (10, 3, 2)


def test_the_second_view_has_its_own_dropout_mask():
    full = views(CspMc())
    assert not torch.allclose(full.location, full.location_again)
    cosine = (full.location * full.location_again).sum(dim=1)
    assert float(cosine.detach().mean()) > 0.3


def test_negatives_are_the_embeddings_of_their_places():
    trained = model(dropout=0.0).train()
    generator = torch.Generator().manual_seed(0)
    full = make_views(
        trained,
        CspMc(negatives_per_image=2),
        FEATURES[:10],
        PLACES[:10],
        NegativeSampling.SPHERE,
        generator,
    )
    expected = trained.encode_location(full.negative_lonlat.flatten(0, 1)).view(10, 2, 8)
    torch.testing.assert_close(full.negatives, expected)
    torch.testing.assert_close(full.location, trained.encode_location(PLACES[:10]))


def test_warm_up_starts_from_rate_zero():
    one_step = PretrainSettings(epochs=1, batch_size=300, warmup=0.5)
    trained = model()
    before = weights(trained)
    pretrain(trained, CspMc(), FEATURES, PLACES, one_step, seed=0)
    assert torch.equal(weights(trained), before)


def test_progress_is_told_after_every_epoch():
    seen = []
    pretrain(
        model(),
        CspMc(),
        FEATURES,
        PLACES,
        SETTINGS,
        seed=0,
        on_epoch=lambda epoch, losses: seen.append((epoch, sorted(losses))),
    )
    assert seen == [(epoch, ["B", "D", "L", "loss"]) for epoch in range(4)]


class Broken(Objective):
    def forward(self, views):
        return {"loss": views.location.sum() * float("nan")}


def test_a_loss_that_is_not_finite_stops_with_its_rows():
    with pytest.raises(DataError, match=r"loss is nan in epoch 0, step 0; rows \[\d+, .*lower"):
        pretrain(model(), Broken(), FEATURES, PLACES, SETTINGS, seed=0)


def test_features_and_places_have_to_fit_together():
    with pytest.raises(DataError, match="got 300 places and 299 rows"):
        pretrain(model(), CspMc(), FEATURES[:299], PLACES, SETTINGS, seed=0)
    broken = PLACES.clone()
    broken[4] = 200
    with pytest.raises(ValueError, match="row 4"):
        pretrain(model(), CspMc(), FEATURES, broken, SETTINGS, seed=0)


class Recorder(Objective):
    """Keeps what every step is given; its loss counts the steps."""

    negatives_per_image = 2

    def __init__(self):
        super().__init__()
        self.views = []

    def forward(self, views):
        self.views.append(views)
        return {"loss": 0 * views.location.sum() + len(self.views)}


def record(trained, settings, features=FEATURES, sampler=None):
    recorder = Recorder()
    history = pretrain(trained, recorder, features, PLACES, settings, seed=0, sampler=sampler)
    return recorder.views, history


def test_an_epoch_shows_every_row_once_in_a_new_order_and_with_its_own_place():
    seen, _ = record(model(), PretrainSettings(epochs=2, batch_size=100))
    epochs = [torch.cat([v.lonlat for v in seen[i : i + 3]]) for i in (0, 3)]
    for lonlat in epochs:
        assert sorted(lonlat.tolist()) == sorted(PLACES.tolist())
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], PLACES)
    feature_of = dict(zip(map(tuple, PLACES.tolist()), FEATURES, strict=True))
    for views_ in seen:
        expected = torch.stack([feature_of[tuple(place)] for place in views_.lonlat.tolist()])
        assert torch.equal(views_.features, expected)


def test_the_last_smaller_batch_is_left_out_and_a_large_batch_takes_all_rows():
    seen, _ = record(model(), PretrainSettings(epochs=1, batch_size=128))
    assert [len(v.lonlat) for v in seen] == [128, 128]
    seen, _ = record(model(), PretrainSettings(epochs=1, batch_size=1000))
    assert [len(v.lonlat) for v in seen] == [300]


def test_history_is_the_mean_over_the_steps_of_each_epoch():
    _, history = record(model(), PretrainSettings(epochs=2, batch_size=100))
    assert [epoch["loss"] for epoch in history] == pytest.approx([2.0, 5.0])


def test_objectives_see_standardised_features():
    trained = model()
    trained.standardise_by(3 * FEATURES + 1)
    seen, _ = record(trained, PretrainSettings(epochs=1, batch_size=300), 3 * FEATURES + 1)
    torch.testing.assert_close(seen[0].features.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    deviation = seen[0].features.std(0, correction=0)
    torch.testing.assert_close(deviation, torch.ones(6), atol=1e-5, rtol=0)


def test_random_places_come_from_the_chosen_sampler():
    octant = PretrainSettings(epochs=1, batch_size=100, negatives=NegativeSampling.LEGACY_OCTANT)
    seen, _ = record(model(), octant)
    assert all(float(v.negative_lonlat.min()) >= 0 for v in seen)
    seen, _ = record(model(), PretrainSettings(epochs=1, batch_size=100))
    assert all(float(v.negative_lonlat.min()) < -50 for v in seen)


def test_dropout_is_on_while_training_and_follows_the_seed_not_the_global_state():
    trained = [model_without_draws() for _ in range(2)]
    for state, one in enumerate(trained):
        torch.manual_seed(state)
        pretrain(one, CspMc(random_location=0), FEATURES, PLACES, SETTINGS, seed=0)
    assert torch.equal(weights(trained[0]), weights(trained[1]))
    without = model(dropout=0.0)
    pretrain(without, CspMc(random_location=0), FEATURES, PLACES, SETTINGS, seed=0)
    assert not torch.allclose(weights(without), weights(trained[0]))


def test_the_second_view_is_of_the_same_places():
    generator = torch.Generator().manual_seed(0)
    both = make_views(
        model(dropout=0.0), CspMc(), FEATURES, PLACES, NegativeSampling.SPHERE, generator
    )
    torch.testing.assert_close(both.location_again, both.location)


def path_lengths(settings):
    """How far the weights move in every epoch."""
    trained = model(dropout=0.0)
    stops = [weights(trained)]
    pretrain(
        trained,
        CspMc(dropout=0),
        FEATURES,
        PLACES,
        settings,
        seed=0,
        on_epoch=lambda epoch, losses: stops.append(weights(trained)),
    )
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
        pretrain(trained, CspMc(dropout=0), FEATURES, PLACES, settings, seed=0)
        sizes.append(float(weights(trained).norm()))
    assert sizes[1] < 0.9 * sizes[0]


def test_a_single_image_cannot_be_contrasted():
    with pytest.raises(DataError, match="at least 2: got 1 places"):
        pretrain(model(), CspMc(), FEATURES[:1], PLACES[:1], SETTINGS, seed=0)


def test_a_feature_that_is_not_finite_is_told_with_its_row():
    broken = FEATURES.clone()
    broken[17, 2] = float("nan")
    with pytest.raises(DataError, match=r"row 17\b"):
        pretrain(model(), CspMc(), broken, PLACES, SETTINGS, seed=0)


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
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    seen, _ = record(model(), PretrainSettings(epochs=1, batch_size=100))
    assert torch.equal(torch.cat([v.lonlat for v in seen]), PLACES[order])
    trained = [model() for _ in range(2)]
    for one, sampler in zip(trained, (None, Uniform(seed=8).fit(PLACES)), strict=True):
        pretrain(one, CspMc(), FEATURES, PLACES, SETTINGS, seed=0, sampler=sampler)
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
        pretrain(model(), CspMc(), FEATURES, PLACES, SETTINGS, seed=0, sampler=sampler)
