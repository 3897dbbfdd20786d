from itertools import pairwise

import pytest
import torch
from sklearn.linear_model import LogisticRegression

import geocsp
from geocsp import FinetuneSettings, GeoPrior, finetune, fuse, train_image_head
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.objectives import NegativeSampling, presence_absence

PLACES = sample_sphere(200, torch.Generator().manual_seed(0))
LABELS = (PLACES[:, 0] > 0).long() + 2 * (PLACES[:, 1] > 0).long()
SETTINGS = FinetuneSettings(steps=150, batch_size=64, learning_rate=5e-3)


def prior():
    torch.manual_seed(0)
    location = geocsp.create("location", "wrap", dim=32)
    return GeoPrior(location, 4)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()


def test_quadrants_are_learned():
    tuned = prior()
    losses = finetune(tuned, PLACES, LABELS, SETTINGS, seed=0)
    assert len(losses) == 150
    assert losses[-1] < losses[0]
    fresh = sample_sphere(500, torch.Generator().manual_seed(9))
    truth = (fresh[:, 0] > 0).long() + 2 * (fresh[:, 1] > 0).long()
    accuracy = (tuned.class_scores(fresh).argmax(dim=1) == truth).double().mean()
    assert float(accuracy) > 0.85
    assert not tuned.training


def test_the_same_seed_gives_the_same_weights_and_another_gives_others():
    tuned = [prior() for _ in range(3)]
    for seed, one in zip((0, 0, 1), tuned, strict=True):
        finetune(one, PLACES, LABELS, FinetuneSettings(steps=5), seed=seed)
    assert torch.equal(weights(tuned[0]), weights(tuned[1]))
    assert not torch.equal(weights(tuned[0]), weights(tuned[2]))


def test_the_global_random_state_is_left_alone():
    tuned = prior()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    finetune(tuned, PLACES, LABELS, FinetuneSettings(steps=5), seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_a_frozen_encoder_stays_and_a_slow_one_moves_less():
    moved = {}
    for name, settings in {
        "frozen": FinetuneSettings(steps=5, freeze_location=True),
        "slow": FinetuneSettings(steps=5, location_rate=0.01),
        "full": FinetuneSettings(steps=5),
    }.items():
        tuned = prior()
        encoder, matrix = weights(tuned.location), weights(tuned.class_matrix)
        finetune(tuned, PLACES, LABELS, settings, seed=0)
        moved[name] = float((weights(tuned.location) - encoder).norm())
        assert not torch.equal(weights(tuned.class_matrix), matrix)
    assert moved["frozen"] == 0
    assert 0 < moved["slow"] < 0.05 * moved["full"]


def test_a_run_is_counted_in_steps_or_in_passes():
    assert FinetuneSettings(steps=7).length(1000) == 7
    assert FinetuneSettings(steps=None, epochs=3, batch_size=64).length(200) == 10
    assert FinetuneSettings(steps=None, epochs=3, batch_size=64).length(10) == 3
    losses = finetune(
        prior(), PLACES, LABELS, FinetuneSettings(steps=None, epochs=2, batch_size=64), seed=0
    )
    assert len(losses) == 7
    for both in (
        {"steps": 3, "epochs": 3},
        {"steps": None},
        {"steps": 0},
        {"steps": None, "epochs": 0},
        {"batch_size": 0},
    ):
        with pytest.raises(ValueError, match="steps or epochs"):
            FinetuneSettings(**both)


def test_decay_slows_every_pass():
    moved = []
    for decay in (1.0, 0.1):
        tuned = prior()
        settings = FinetuneSettings(steps=None, epochs=6, batch_size=200, cosine=False, decay=decay)
        before = weights(tuned)
        finetune(tuned, PLACES, LABELS, settings, seed=0)
        moved.append(float((weights(tuned) - before).norm()))
    assert moved[1] < 0.5 * moved[0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:5], "5 labels, 200 rows"),
        (LABELS.int(), "must be int64"),
        (torch.where(torch.arange(200) == 7, 4, LABELS), r"label of row 7 is 4, not in 0\.\.3"),
        (torch.where(torch.arange(200) == 3, -1, LABELS), "label of row 3 is -1"),
    ],
)
def test_bad_labels_are_told_with_their_row(labels, message):
    with pytest.raises(DataError, match=message):
        finetune(prior(), PLACES, labels, SETTINGS, seed=0)
    with pytest.raises(DataError, match=message):
        train_image_head(torch.randn(200, 3), labels, 4)


def test_the_image_head_is_regularised_logistic_regression():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 6, generator=generator) * torch.arange(1.0, 7) + 4
    labels = (features[:, 0] + features[:, 1] + torch.randn(300, generator=generator) > 8).long()
    labels += (features[:, 2] > 6).long()
    head = train_image_head(features, labels, 3, penalty=10.0)
    standard = (features - features.mean(0)) / features.std(0, correction=0)
    reference = LogisticRegression(C=1 / 10.0, tol=1e-8, max_iter=1000).fit(standard, labels)
    torch.testing.assert_close(
        head.logits(features).softmax(dim=1).double(),
        torch.from_numpy(reference.predict_proba(standard)).double(),
        atol=2e-3,
        rtol=0,
    )


def test_the_image_head_can_standardise_by_unlabelled_features():
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 0] > 0).long()
    head = train_image_head(features[:10], labels[:10], 2, unlabelled=features)
    torch.testing.assert_close(head.mean, features.mean(0))
    torch.testing.assert_close(head.deviation, features.std(0, correction=0))


def batches_of(settings, seed=0):
    """The labelled and the random places of every step."""
    tuned, seen = prior(), []
    tuned.location.register_forward_pre_hook(lambda module, given: seen.append(given[0].chunk(2)))
    finetune(tuned, PLACES, LABELS, settings, seed=seed)
    return seen


def test_passes_show_every_row_once_in_a_new_order():
    seen = batches_of(FinetuneSettings(steps=None, epochs=2, batch_size=50))
    passes = [torch.cat([lonlat for lonlat, _ in seen[i : i + 4]]) for i in (0, 4)]
    for lonlat in passes:
        assert sorted(lonlat.tolist()) == sorted(PLACES.tolist())
    assert not torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], PLACES)


def test_random_places_come_from_the_chosen_sampler():
    octant = batches_of(FinetuneSettings(steps=2, negatives=NegativeSampling.LEGACY_OCTANT))
    assert all(float(random.min()) >= 0 for _, random in octant)
    sphere = batches_of(FinetuneSettings(steps=2))
    assert all(float(random[:, 0].min()) < -90 for _, random in sphere)
    assert not torch.equal(sphere[0][1], sphere[1][1])


def test_the_first_loss_is_that_of_the_labelled_and_the_random_places():
    tuned, seen, scored = prior(), [], []
    tuned.location.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    tuned.register_forward_hook(lambda module, given, scores: scored.append(scores.detach()))
    losses = finetune(tuned, PLACES, LABELS, FinetuneSettings(steps=1, batch_size=50), seed=0)
    label_of = dict(zip(map(tuple, PLACES.tolist()), LABELS.tolist(), strict=True))
    own = torch.tensor([label_of[tuple(place)] for place in seen[0][:50].tolist()])
    expected = presence_absence(scored[0][:50], own, scored[0][50:])
    assert losses == pytest.approx([float(expected)])


def test_dropout_is_on_while_training_and_follows_the_seed_not_the_global_state():
    tuned = [prior() for _ in range(2)]
    modes = []
    tuned[0].register_forward_pre_hook(lambda module, given: modes.append(module.training))
    for state, one in enumerate(tuned):
        torch.manual_seed(state)
        finetune(one, PLACES, LABELS, FinetuneSettings(steps=5), seed=0)
    assert modes == [True] * 5
    assert torch.equal(weights(tuned[0]), weights(tuned[1]))


def test_cosine_goes_less_far_than_a_constant_rate():
    moved = []
    for cosine in (False, True):
        tuned = prior()
        before = weights(tuned.class_matrix)
        finetune(tuned, PLACES, LABELS, FinetuneSettings(steps=20, cosine=cosine), seed=0)
        moved.append(float((weights(tuned.class_matrix) - before).norm()))
    assert moved[1] < 0.8 * moved[0]


def test_weight_decay_pulls_weights_towards_zero():
    sizes = []
    for decay in (0.0, 1.0):
        tuned = prior()
        settings = FinetuneSettings(steps=60, learning_rate=5e-3, weight_decay=decay)
        finetune(tuned, PLACES, LABELS, settings, seed=0)
        sizes.append(float(weights(tuned).norm()))
    assert sizes[1] < 0.95 * sizes[0]


def test_the_rate_decays_after_whole_passes_only():
    moved = []
    for decay in (1.0, 1e-6):
        tuned = prior()
        settings = FinetuneSettings(steps=None, epochs=2, batch_size=50, cosine=False, decay=decay)
        stops = [weights(tuned.class_matrix)]
        tuned.register_forward_pre_hook(
            lambda module, given, stops=stops: stops.append(weights(module.class_matrix))
        )
        finetune(tuned, PLACES, LABELS, settings, seed=0)
        stops.append(weights(tuned.class_matrix))
        moved.append([float((b - a).norm()) for a, b in pairwise(stops[1:])])
    constant, decayed = moved
    assert decayed[:4] == constant[:4]
    assert max(decayed[4:]) < 1e-3 * min(constant[4:])


def test_a_bad_place_is_told_with_its_own_row():
    broken = PLACES.clone()
    broken[7, 1] = 95
    with pytest.raises(ValueError, match="row 7 "):
        finetune(prior(), broken, LABELS, SETTINGS, seed=0)


def test_no_labels_are_refused():
    with pytest.raises(DataError, match="at least one: 0 labels, 0 rows"):
        finetune(prior(), PLACES[:0], LABELS[:0], SETTINGS, seed=0)


def test_a_constant_image_feature_does_not_break_the_head():
    features = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 0] > 0).long()
    features[:, 1] = 4.0
    probabilities = train_image_head(features, labels, 2).logits(features).softmax(dim=1)
    assert bool(probabilities.isfinite().all())
    assert float((probabilities.argmax(dim=1) == labels).double().mean()) > 0.9


def test_the_bias_of_the_image_head_is_not_penalised():
    labels = (torch.arange(100) < 90).long()
    head = train_image_head(torch.zeros(100, 2), labels, 2, penalty=1000.0)
    share = float(head.logits(torch.zeros(1, 2)).softmax(dim=1)[0, 1])
    assert share == pytest.approx(0.9, abs=1e-3)


def test_few_iterations_stop_the_image_head_early():
    features = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 0] > 0).long()
    early, late = (train_image_head(features, labels, 2, iterations=n) for n in (1, 200))
    assert float(early.linear.weight.detach().norm()) < 0.9 * float(
        late.linear.weight.detach().norm()
    )


def test_a_loss_that_is_not_finite_stops():
    wild = FinetuneSettings(steps=5, learning_rate=1e10)
    with pytest.raises(DataError, match=r"loss is \w+ in step \d; try a lower learning rate"):
        finetune(prior(), PLACES, LABELS, wild, seed=0)


def test_an_image_feature_that_is_not_finite_is_told_with_its_row():
    features = torch.randn(200, 3)
    features[11, 1] = float("nan")
    with pytest.raises(DataError, match="row 11 are not finite"):
        train_image_head(features, LABELS, 4)


def test_a_class_of_the_season_is_learned_from_the_date():
    date = torch.rand(len(PLACES), generator=torch.Generator().manual_seed(4))
    time = torch.stack([date, torch.full_like(date, torch.nan)], dim=1)
    summer = ((date > 0.25) & (date < 0.75)).long()
    torch.manual_seed(0)
    location = geocsp.create("location", "wrap", dim=32, date_harmonics=1)
    tuned = GeoPrior(location, ["winter", "summer"])
    finetune(tuned, PLACES, summer, SETTINGS, seed=0, time=time)
    accuracy = (tuned.class_scores(PLACES, time).argmax(dim=1) == summer).double().mean()
    blind = (tuned.class_scores(PLACES).argmax(dim=1) == summer).double().mean()
    assert float(accuracy) > 0.9 > 0.7 > float(blind)
    midsummer = torch.tensor([[0.5, torch.nan]])
    fused = fuse(torch.tensor([[0.5, 0.5]]), tuned, PLACES[:1], time=midsummer)
    assert float(fused[0, 1]) > 0.6


def test_times_must_fit_the_places_and_the_encoder():
    time = torch.full((len(PLACES), 2), 0.5)
    with pytest.raises(ValueError, match="takes no time"):
        finetune(prior(), PLACES, LABELS, SETTINGS, seed=0, time=time)
    torch.manual_seed(0)
    dated = GeoPrior(geocsp.create("location", "wrap", dim=8, date_harmonics=1), 4)
    with pytest.raises(ValueError, match=r"time must be .*\(\d+, 2\)"):
        finetune(dated, PLACES, LABELS, SETTINGS, seed=0, time=time[:3])
