import pytest
import torch
from sklearn.linear_model import LogisticRegression

import geocsp
from geocsp import FinetuneSettings, GeoPrior, finetune, train_image_head
from geocsp.coords import sample_sphere
from geocsp.errors import DataError

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
    for both in ({"steps": 3, "epochs": 3}, {"steps": None}):
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
