"""Each loss against a slow loop written from its formula: values and gradients in float64."""

import math

import pytest
import torch

import geocsp
from geocsp.coords import great_circle_km
from geocsp.objectives import (
    CspMc,
    CspNce,
    MeanSquaredError,
    NegativeSampling,
    Places,
    Views,
    presence_absence,
)

B, C, D, F = 6, 3, 5, 7


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def make_views(seed=0, lonlat=None):
    g = torch.Generator().manual_seed(seed)

    def leaf(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64, requires_grad=True)

    leaves = {
        "features": leaf(B, F),
        "image": leaf(B, D),
        "location": leaf(B, D),
        "again": leaf(B, D),
        "negatives": leaf(B, C, D),
        "scale": torch.tensor(3.7, dtype=torch.float64, requires_grad=True),
    }
    places = geocsp.coords.sample_sphere(B, g).double() if lonlat is None else lonlat
    random = geocsp.coords.sample_sphere(B * C, g).double().view(B, C, 2)
    views = Views(
        features=leaves["features"],
        image=unit(leaves["image"]),
        location=unit(leaves["location"]),
        raw_location=leaves["location"],
        lonlat=places,
        scale=leaves["scale"],
        extra={
            "again": Places.of(places.unsqueeze(1), leaves["again"].unsqueeze(1)),
            "random": Places.of(random, leaves["negatives"]),
        },
    )
    return views, list(leaves.values())


def dot(a, b):
    return sum(a[k] * b[k] for k in range(D))


def again(v):
    return v.extra["again"].unit[:, 0]


def pick_own(rows, columns, scale, excluded=lambda i, j: False):
    """Mean over i of -log of the softmax share of pair (i, i) among the pairs (i, j)."""
    total = 0.0
    for i in range(B):
        own = torch.exp(scale * dot(rows[i], columns[i]))
        others = sum(
            torch.exp(scale * dot(rows[i], columns[j]))
            for j in range(B)
            if j != i and not excluded(i, j)
        )
        total = total - torch.log(own / (own + others))
    return total / B


def slow_mc_random(v, scale, excluded=lambda i, c: False):
    total = 0.0
    for i in range(B):
        own = torch.exp(scale * dot(v.location[i], v.image[i]))
        others = sum(
            torch.exp(scale * dot(v.extra["random"].unit[i, c], v.image[i]))
            for c in range(C)
            if not excluded(i, c)
        )
        total = total - torch.log(own / (own + others))
    return total / B


def slow_nce_pairs(rows, columns, eps):
    total = 0.0
    for i in range(B):
        total = total - torch.log(1 / (1 + torch.exp(-dot(rows[i], columns[i]))) + eps)
        for j in range(B):
            if j != i:
                absent = 1 - 1 / (1 + torch.exp(-dot(rows[i], columns[j])))
                total = total - torch.log(absent + eps) / (B - 1)
    return total / B


def slow_nce_random(v, eps):
    total = 0.0
    for i in range(B):
        for c in range(C):
            absent = 1 - 1 / (1 + torch.exp(-dot(v.extra["random"].unit[i, c], v.image[i])))
            total = total - torch.log(absent + eps) / (B * C)
    return total


def assert_same(fast, slow, leaves):
    torch.testing.assert_close(fast, slow, atol=1e-9, rtol=1e-9)
    fast_gradients = torch.autograd.grad(fast, leaves, allow_unused=True, retain_graph=True)
    slow_gradients = torch.autograd.grad(slow, leaves, allow_unused=True)
    compared = 0
    for a, b in zip(fast_gradients, slow_gradients, strict=True):
        if a is None or b is None:
            zero = a if b is None else b
            assert zero is None or float(zero.abs().max()) == 0
            continue
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
        compared += 1
    assert compared > 0


WEIGHTS = [(1, 1, 1), (1, 0.3, 0), (0.5, 0, 2), (1, 0, 0), (0, 1, 0), (0, 0, 1)]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_csp_mc_equals_its_formula(weights):
    v, leaves = make_views()
    b, l_, d = weights
    objective = CspMc(
        in_batch=b,
        random_location=l_,
        dropout=d,
        negatives_per_image=C,
        temperatures=(0.5, 0.8, 2.0),
    )
    slow = (
        b * pick_own(v.location, v.image, 1 / 0.5)
        + l_ * slow_mc_random(v, 1 / 0.8)
        + d * pick_own(v.location, again(v), 1 / 2.0)
    )
    assert_same(objective(v)["loss"], slow, leaves)


def test_csp_mc_symmetric_with_learnable_temperature_equals_its_formula():
    v, leaves = make_views()
    objective = CspMc(negatives_per_image=C, symmetric=True, learnable_temperature=True)
    both = pick_own(v.location, v.image, v.scale) + pick_own(v.image, v.location, v.scale)
    slow = both / 2 + slow_mc_random(v, v.scale) + pick_own(v.location, again(v), v.scale)
    assert objective.learns_scale
    assert_same(objective(v)["loss"], slow, leaves)


@pytest.mark.parametrize("learnable", [False, True])
def test_csp_mc_masks_near_pairs(learnable):
    km = 4000.0
    v, leaves = make_views()

    def near(a, b):
        return float(great_circle_km(a[None], b[None])) < km

    def pair(i, j):
        return near(v.lonlat[i], v.lonlat[j])

    def random(i, c):
        return near(v.lonlat[i], v.extra["random"].lonlat[i, c])

    masked = sum(pair(i, j) for i in range(B) for j in range(B) if i != j)
    assert 0 < masked < B * (B - 1)
    assert any(random(i, c) for i in range(B) for c in range(C))
    scale = v.scale if learnable else 1.0
    slow = (
        pick_own(v.location, v.image, scale, pair)
        + slow_mc_random(v, scale, random)
        + pick_own(v.location, again(v), scale, pair)
    )
    objective = CspMc(negatives_per_image=C, mask_km=km, learnable_temperature=learnable)
    assert_same(objective(v)["loss"], slow, leaves)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_csp_nce_equals_its_formula(weights, eps):
    v, leaves = make_views()
    b, l_, d = weights
    objective = CspNce(
        in_batch=b, random_location=l_, dropout=d, negatives_per_image=C, epsilon=eps
    )
    slow = (
        b * slow_nce_pairs(v.location, v.image, eps)
        + l_ * slow_nce_random(v, eps)
        + d * slow_nce_pairs(v.location, again(v), eps)
    )
    assert_same(objective(v)["loss"], slow, leaves)


def test_mse_equals_its_formula():
    v, leaves = make_views()
    objective = MeanSquaredError(dim=D, feature_dim=F).double()
    weight, bias = objective.decoder.weight, objective.decoder.bias
    slow = 0.0
    for i in range(B):
        for f in range(F):
            predicted = bias[f] + dot(weight[f], v.raw_location[i])
            slow = slow + (predicted - v.features[i, f]) ** 2 / (B * F)
    assert_same(objective(v)["loss"], slow, [*leaves, weight, bias])


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_presence_absence_equals_its_formula(eps):
    classes = 4
    g = torch.Generator().manual_seed(3)
    logits = torch.randn(B, classes, generator=g, dtype=torch.float64, requires_grad=True)
    random = torch.randn(B + 2, classes, generator=g, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])

    def nll(probability):
        return -torch.log(probability + eps)

    slow = 0.0
    for i in range(B):
        for c in range(classes):
            p = 1 / (1 + torch.exp(-logits[i, c]))
            term = classes * nll(p) if c == labels[i] else nll(1 - p)
            slow = slow + term / (B * classes)
    for i in range(B + 2):
        for c in range(classes):
            r = 1 / (1 + torch.exp(-random[i, c]))
            slow = slow + nll(1 - r) / ((B + 2) * classes)
    assert_same(presence_absence(logits, labels, random, epsilon=eps), slow, [logits, random])


def test_csp_mc_at_chance_is_the_log_of_the_candidates():
    v, _ = make_views()
    same = torch.ones(B, D, dtype=torch.float64) / math.sqrt(D)
    flat = Views(
        features=v.features,
        image=same,
        location=same,
        raw_location=same,
        lonlat=v.lonlat,
        scale=v.scale,
        extra={
            "again": Places.of(v.lonlat[:, None], same[:, None]),
            "random": Places.of(v.extra["random"].lonlat, same[:, None].expand(B, C, D)),
        },
    )
    parts = CspMc(negatives_per_image=C)(flat)
    assert float(parts["B"]) == pytest.approx(math.log(B))
    assert float(parts["L"]) == pytest.approx(math.log(C + 1))
    assert float(parts["D"]) == pytest.approx(math.log(B))


@pytest.mark.parametrize("objective", [CspMc, CspNce])
def test_a_zero_weight_saves_the_passes(objective):
    v, _ = make_views()
    random = torch.Generator().manual_seed(0)
    only_b = objective(random_location=0, dropout=0)
    assert only_b.places(v.lonlat, random) == {}
    assert set(only_b(v)) == {"loss", "B"}
    assert set(objective(random_location=0).places(v.lonlat, random)) == {"again"}
    assert set(objective(dropout=0).places(v.lonlat, random)) == {"random"}


@pytest.mark.parametrize("objective", [CspMc, CspNce])
@pytest.mark.parametrize("sampling", ["legacy-octant", NegativeSampling.LEGACY_OCTANT])
def test_random_places_follow_the_sampling_and_the_generator(objective, sampling):
    lonlat = geocsp.coords.sample_sphere(500)

    def places(seed):
        objective_ = objective(negatives_per_image=2, sampling=sampling)
        return objective_.places(lonlat, torch.Generator().manual_seed(seed))

    random = places(0)["random"]
    assert random.shape == (500, 2, 2)
    assert float(random.min()) >= 0
    assert torch.equal(random, places(0)["random"])
    assert not torch.equal(random, places(1)["random"])
    assert torch.equal(places(0)["again"], lonlat[:, None])


def test_places_have_the_precision_of_the_images():
    lonlat = geocsp.coords.sample_sphere(5).double()
    random = CspMc().places(lonlat, torch.Generator())["random"]
    assert random.dtype == torch.float64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"in_batch": 0, "random_location": 0, "dropout": 0}, "not all zero"),
        ({"in_batch": -1}, ">= 0"),
        ({"negatives_per_image": 0}, "negatives_per_image"),
        ({"sampling": "cube"}, "'cube' is not a valid NegativeSampling"),
    ],
)
def test_weights_that_make_no_loss_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CspMc(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperatures": (1, 0, 1)}, r"temperatures must be positive, got \(1, 0, 1\)"),
        ({"mask_km": -1.0}, r"mask_km must be >= 0, got -1\.0"),
    ],
)
def test_csp_mc_refuses_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        CspMc(**settings)


def test_csp_nce_refuses_a_single_pair():
    v, _ = make_views()
    one = Views(
        features=v.features[:1],
        image=v.image[:1],
        location=v.location[:1],
        raw_location=v.raw_location[:1],
        lonlat=v.lonlat[:1],
        scale=v.scale,
    )
    with pytest.raises(ValueError, match="at least 2 pairs"):
        CspNce(random_location=0, dropout=0)(one)
