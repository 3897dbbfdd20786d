import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import geocsp
from geocsp import train_image_head
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.train.finetune import fit_linear
from geocsp.train.linear import LinearSettings, SelfTraining, fit_linear_prior, self_train

PLACES = sample_sphere(120, torch.Generator().manual_seed(0))
LABELS = (PLACES[:, 0] > 0).long() + 2 * (PLACES[:, 1] > 0).long()
NAMES = ("a", "b", "c", "d")
SETTINGS = LinearSettings(penalty=5.0)


def location(**settings):
    torch.manual_seed(0)
    return geocsp.create("location", "wrap", dim=16, hidden=32, **settings)


def fitted(**changes):
    given = {"lonlat": PLACES, "labels": LABELS, "classes": NAMES, "settings": SETTINGS}
    given |= changes
    return fit_linear_prior(
        given.pop("location", location()),
        *(given.pop(name) for name in ("lonlat", "labels", "classes", "settings")),
        **given,
    )


def unit_embeddings(encoder, lonlat):
    embedding = encoder.embed(lonlat).double().numpy()
    return embedding / np.linalg.norm(embedding, axis=1, keepdims=True)


def least(features, targets, penalty, weights=None):
    """The convex problem in float64: matrix, bias and the gradient that is left."""
    rows, size = features.shape
    classes = targets.shape[1]
    weights = np.ones(rows) if weights is None else weights

    def loss(flat):
        matrix, bias = flat[:-classes].reshape(classes, size), flat[-classes:]
        logits = features @ matrix.T + bias
        logits = logits - logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        value = -(weights[:, None] * targets * logs).sum() + penalty / 2 * (matrix**2).sum()
        error = weights[:, None] * (np.exp(logs) * targets.sum(1, keepdims=True) - targets)
        gradient = error.T @ features + penalty * matrix
        return value, np.concatenate([gradient.ravel(), error.sum(axis=0)])

    found = minimize(
        loss,
        np.zeros(classes * (size + 1)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 50},
    )
    assert np.abs(found.jac).max() < 1e-4
    return found.x[:-classes].reshape(classes, size), found.x[-classes:]


def shares(features, matrix, bias):
    logits = features @ matrix.T + bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def by_hand(encoder, basis, lonlat, targets, penalty, asked, weights=None):
    """P(y | x) at places, everything in float64 and by another solver."""
    spread = unit_embeddings(encoder, basis)
    mean, deviation = spread.mean(axis=0), spread.std(axis=0)

    def standard(places):
        return (unit_embeddings(encoder, places) - mean) / deviation

    return shares(standard(asked), *least(standard(lonlat), targets, penalty, weights))


def one_hot(labels, classes=4):
    return np.eye(classes)[labels.numpy()]


@pytest.mark.parametrize("penalty", [0.1, 5.0, 300.0])
def test_the_head_is_the_minimum_of_the_penalised_likelihood(penalty):
    fresh = sample_sphere(50, torch.Generator().manual_seed(5))
    found = fitted(settings=LinearSettings(penalty)).class_probabilities(fresh)
    expected = by_hand(location(), PLACES, PLACES, one_hot(LABELS), penalty, fresh)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_it_can_standardise_by_places_without_labels():
    few = slice(0, 12)
    found = fitted(lonlat=PLACES[few], labels=LABELS[few], unlabelled=PLACES)
    expected = by_hand(location(), PLACES, PLACES[few], one_hot(LABELS[few]), 5.0, PLACES)
    np.testing.assert_allclose(found.class_probabilities(PLACES).numpy(), expected, atol=1e-3)
    alone = fitted(lonlat=PLACES[few], labels=LABELS[few])
    assert not torch.allclose(
        alone.class_probabilities(PLACES), found.class_probabilities(PLACES), atol=1e-2
    )


def test_unseen_places_are_classified():
    fresh = sample_sphere(500, torch.Generator().manual_seed(9))
    truth = (fresh[:, 0] > 0).long() + 2 * (fresh[:, 1] > 0).long()
    model = fitted()
    assert float((model.class_scores(fresh).argmax(dim=1) == truth).double().mean()) > 0.8
    assert not model.training


def test_the_order_of_rows_and_of_classes_changes_nothing():
    base = fitted().class_probabilities(PLACES)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    shuffled = fitted(lonlat=PLACES[order], labels=LABELS[order]).class_probabilities(PLACES)
    torch.testing.assert_close(shuffled, base, atol=2e-3, rtol=0)
    turned = torch.tensor([2, 0, 3, 1])  # new number of each class
    renamed = fitted(labels=turned[LABELS]).class_probabilities(PLACES)
    torch.testing.assert_close(renamed[:, turned], base, atol=2e-3, rtol=0)


def test_nothing_is_random():
    torch.manual_seed(5)
    expected = torch.rand(3)
    encoder = location()
    torch.manual_seed(1)
    first = fitted(location=encoder).class_scores(PLACES)
    torch.manual_seed(2)
    assert torch.equal(fitted(location=encoder).class_scores(PLACES), first)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), expected)


def test_the_encoder_is_copied_and_stays_as_it_is():
    encoder = location()
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    model = fitted(location=encoder)
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, before[name])
        assert torch.equal(model.location.state_dict()[name], before[name])
    with torch.no_grad():
        next(model.location.parameters()).add_(1)
    assert torch.equal(next(iter(encoder.state_dict().values())), next(iter(before.values())))
    student = taught(model)
    with torch.no_grad():
        next(student.location.parameters()).add_(1)
    assert not torch.equal(student.embed(PLACES), model.embed(PLACES))


def test_dropout_is_off_while_embedding():
    plain, dropping = location(), location(dropout=0.7).train()
    dropping.load_state_dict(plain.state_dict())
    expected = fitted(location=plain).class_scores(PLACES)
    assert torch.equal(fitted(location=dropping).class_scores(PLACES), expected)
    assert dropping.training


def test_one_class_is_certain_and_a_class_without_labels_is_not_ruled_out():
    only = fitted(labels=torch.zeros(120).long(), classes=("a",))
    assert bool((only.class_probabilities(PLACES) == 1).all())
    missing = fitted(labels=LABELS % 2).class_probabilities(PLACES)
    assert bool((missing > 0).all())
    assert float(missing[:, 2:].max()) < 0.01


def test_one_label_says_the_same_everywhere():
    found = fitted(lonlat=PLACES[:1], labels=torch.tensor([2])).class_probabilities(PLACES)
    torch.testing.assert_close(found, found[:1].expand(120, 4))
    assert bool((found.argmax(dim=1) == 2).all())


def test_labels_of_one_place_say_nothing_about_others():
    here = PLACES[:1].expand(7, 2)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 3])
    found = fitted(lonlat=here, labels=labels).class_probabilities(PLACES)
    expected = torch.tensor([3, 2, 1, 1]) / 7
    torch.testing.assert_close(found, expected.expand(120, 4), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels": LABELS[:5]}, DataError, "5 labels, 120 rows"),
        ({"lonlat": PLACES[:0], "labels": LABELS[:0]}, DataError, "at least one: 0 labels"),
        ({"labels": LABELS + 1}, DataError, r"is 4, not in 0\.\.3"),
        ({"labels": LABELS - 1}, DataError, r"label of row \d+ is -1"),
        ({"labels": LABELS.float()}, DataError, "must be int64"),
        ({"lonlat": PLACES.index_fill(0, torch.tensor(3), torch.nan)}, ValueError, "row 3"),
        ({"unlabelled": PLACES + 100}, ValueError, "row"),
    ],
)
def test_bad_input_is_told(changes, error, message):
    with pytest.raises(error, match=message):
        fitted(**changes)


def test_penalties_are_positive():
    with pytest.raises(ValueError, match="penalty must be positive, got 0"):
        LinearSettings(penalty=0)
    for wrong in ((0.0, 0.1), (1.0, -0.1)):
        with pytest.raises(ValueError, match=f"got {wrong[0]} and {wrong[1]}"):
            SelfTraining(*wrong)


def test_a_class_of_the_season_is_learned_from_the_date():
    date = torch.rand(120, generator=torch.Generator().manual_seed(4))
    time = torch.stack([date, torch.full_like(date, torch.nan)], dim=1)
    summer = ((date > 0.25) & (date < 0.75)).long()
    dated = location(date_harmonics=1)
    given = {"labels": summer, "classes": ("winter", "summer"), "location": dated}
    for basis in ({}, {"unlabelled": PLACES, "unlabelled_time": time}):
        model = fitted(time=time, **given, **basis)
        right = (model.class_scores(PLACES, time).argmax(dim=1) == summer).double().mean()
        assert float(right) > 0.8
    with pytest.raises(ValueError, match="takes no time"):
        fitted(time=time)
    with pytest.raises(ValueError, match=r"time must be"):
        fitted(time=time[:3], **given)


SAID = torch.rand(120, 4, generator=torch.Generator().manual_seed(3)).softmax(dim=1)
ROWS = torch.tensor([7, 3, 50, 99])


def taught(model, **changes):
    given = {"lonlat": PLACES, "probabilities": SAID, "labelled": ROWS, "labels": LABELS[ROWS]}
    given |= {"settings": SelfTraining(20.0, 0.5)} | changes
    names = ("lonlat", "probabilities", "labelled", "labels", "settings")
    return self_train(model, *(given.pop(name) for name in names), **given)


@pytest.mark.parametrize(
    ("share", "weight"),
    [(0.5, 0.5 * 120 / 4), (0.01, 1.0), (0.0, 1.0)],  # no less than places without a label
)
def test_labels_replace_the_teacher_and_weigh_their_share(share, weight):
    targets = SAID.double().numpy().copy()
    targets[ROWS] = one_hot(LABELS[ROWS])
    weights = np.ones(120)
    weights[ROWS] = weight
    found = taught(fitted(), settings=SelfTraining(20.0, share)).class_probabilities(PLACES)
    expected = by_hand(location(), PLACES, PLACES, targets, 20.0, PLACES, weights)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_self_training_leaves_prior_and_teacher_as_they_are():
    model, said = fitted(), SAID.clone()
    before = model.class_scores(PLACES)
    student = taught(model, probabilities=said)
    assert torch.equal(model.class_scores(PLACES), before)
    assert torch.equal(said, SAID)
    assert torch.equal(student.embed(PLACES), model.embed(PLACES))
    assert student.class_names == NAMES
    assert not student.training


def test_a_teacher_that_knows_regions_without_labels_passes_it_on():
    east = (PLACES[:, 0] > 0).nonzero()[:, 0]
    model = fitted(lonlat=PLACES[east], labels=LABELS[east], unlabelled=PLACES)
    said = torch.nn.functional.one_hot(LABELS, 4).float() * 0.6 + 0.1
    student = taught(model, probabilities=said, labelled=east, labels=LABELS[east])
    west = PLACES[:, 0] <= 0
    before, after = (
        float((m.class_scores(PLACES).argmax(dim=1) == LABELS)[west].double().mean())
        for m in (model, student)
    )
    assert before < 0.1
    assert after > 0.8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": SAID.index_fill(0, torch.tensor(9), torch.nan)}, "row 9 are not finite"),
        ({"probabilities": SAID[:, :3]}, r"\(120, 4\), got \(120, 3\)"),
        ({"probabilities": SAID[:5]}, r"\(120, 4\), got \(5, 4\)"),
        ({"probabilities": SAID.log()}, "row 0 must be >= 0 and sum to 1"),
        ({"probabilities": 2 * SAID}, "row 0 must be >= 0 and sum to 1"),
        ({"labels": LABELS[:3]}, "3 labels, 4 rows"),
        ({"labels": LABELS[ROWS] + 4}, "label of row 0 is"),
        ({"labelled": ROWS[:0], "labels": LABELS[:0]}, "at least one: 0 labels"),
        ({"labelled": ROWS + 100}, r"labelled names place 150, not in 0\.\.119"),
        ({"labelled": ROWS - 100}, r"labelled names place -93, not in 0\.\.119"),
        ({"labelled": ROWS.clamp(min=50)}, "labelled names a place twice"),
        ({"labelled": ROWS > 0}, "must be int64 numbers of places, got torch.bool"),
    ],
)
def test_bad_teachers_and_labels_are_told(changes, message):
    with pytest.raises(DataError, match=message):
        taught(fitted(), **changes)


def test_a_missing_place_of_an_image_without_a_label_is_told():
    with pytest.raises(ValueError, match="row 11"):
        taught(fitted(), lonlat=PLACES.index_fill(0, torch.tensor(11), torch.nan))


def test_self_training_sees_times():
    time = torch.rand(120, 2, generator=torch.Generator().manual_seed(4))
    model = fitted(location=location(date_harmonics=1), time=time)
    timed, blind = taught(model, time=time), taught(model)
    assert not torch.allclose(timed.class_scores(PLACES, time), blind.class_scores(PLACES, time))


def test_equal_weights_and_certain_targets_are_plain_labels():
    features = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 0] > 0).long() + (features[:, 1] > 0).long()
    certain = torch.nn.functional.one_hot(labels, 3).float()
    plain = fit_linear(features, labels, 3, 2.0)
    for weights, penalty in ((None, 2.0), (torch.ones(90), 2.0), (torch.full((90,), 3.0), 6.0)):
        same = fit_linear(features, certain, 3, penalty, weights=weights)
        torch.testing.assert_close(same(features), plain(features), atol=5e-3, rtol=0)


@pytest.mark.parametrize("unlabelled", [False, True])
def test_the_image_head_is_the_minimum_for_standardised_features(unlabelled):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(150, 6, generator=generator) * torch.arange(1.0, 7) + 4
    labels = (features[:, 0] + torch.randn(150, generator=generator) > 4).long()
    few = slice(0, 60)
    basis = features if unlabelled else features[few]
    head = train_image_head(
        features[few], labels[few], 2, penalty=3.0, unlabelled=basis if unlabelled else None
    )
    mean, deviation = basis.double().mean(0), basis.double().std(0, correction=0)
    standard = ((features.double() - mean) / deviation).numpy()
    expected = shares(standard, *least(standard[few], one_hot(labels[few], 2), 3.0))
    found = head.logits(features).softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)
