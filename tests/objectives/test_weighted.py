import re

import pytest
import torch
from synthetic_views import B, D, Made, assert_same

import geocsp
from geocsp.objectives import Clip, CspMc
from geocsp.objectives.an_full import AnFull
from geocsp.objectives.geoclip import GeoClip
from geocsp.objectives.simcse import SimCse
from geocsp.objectives.weighted import WeightedSum

LABELS = torch.tensor([0, -1, 1, 1, -1, 0, 1])
MEMBERS = [
    {"name": "csp-mc", "weight": 2.0},
    {"name": "simcse", "settings": {"jitter_km": 500.0}, "weight": 0.5},
    {"name": "an-full", "settings": {"dim": D, "classes": 3, "positive_weight": 5.0}},
    {"name": "clip", "weight": 0},
    {"name": "simcse", "settings": {"temperature": None}, "weight": 0.25},
]


def test_is_the_weighted_sum_of_its_members():
    total = WeightedSum(members=MEMBERS)
    made = Made(total, labels=LABELS)
    alone = {
        "csp-mc": (CspMc(), ["random", "again"]),
        "simcse-1": (SimCse(jitter_km=500.0), ["again"]),
        "an-full": (total.members["an-full"], ["random"]),
        "simcse-2": (SimCse(temperature=None), ["again"]),
    }
    weights = {"csp-mc": 2.0, "simcse-1": 0.5, "an-full": 1.0, "simcse-2": 0.25}
    slow, expected = 0.0, {}
    for name, (objective, asked) in alone.items():
        extra = {key: made.views.extra[f"{name}.{key}"] for key in asked}
        parts = objective(made.with_(extra=extra))
        slow = slow + weights[name] * parts["loss"]
        expected |= {f"{name}.{key}": value for key, value in parts.items()}
    parts = total(made.views)
    assert_same(parts.pop("loss"), slow, made.leaves)
    assert set(parts) == set(expected)
    assert {"csp-mc.B", "csp-mc.loss", "simcse-2.loss", "an-full.seen"} < set(parts)
    for name, value in parts.items():
        assert not value.requires_grad
        torch.testing.assert_close(value, expected[name].detach())


def test_asks_for_the_places_of_members_with_a_weight():
    places = WeightedSum(members=MEMBERS).places(torch.zeros(B, 2), torch.Generator())
    assert {name: tuple(value.shape) for name, value in places.items()} == {
        "csp-mc.random": (B, 1, 2),
        "csp-mc.again": (B, 1, 2),
        "simcse-1.again": (B, 1, 2),
        "an-full.random": (B, 1, 2),
        "simcse-2.again": (B, 1, 2),
    }


def test_members_of_weight_zero_are_left_out():
    total = WeightedSum(
        members=[
            {"name": "an-full", "settings": {"dim": D, "classes": 3}, "weight": 0},
            {"name": "simcse", "settings": None},
        ]
    )
    assert list(total.objectives()) == ["simcse"]
    assert list(total.parameters()) == []
    assert not total.uses_labels


@pytest.mark.parametrize(
    ("members", "needs"),
    [
        ([{"name": "simcse"}], set()),
        ([{"name": "clip"}], {"images", "scale"}),
        ([{"name": "simcse"}, {"name": "clip"}], {"images", "scale"}),
        (
            [{"name": "simcse"}, {"name": "supcon", "settings": {"temperature": 1.0}}],
            {"images", "labels"},
        ),
        ([{"name": "mse", "settings": {"dim": 2, "feature_dim": 3}}], {"features"}),
        (
            [{"name": "photographer", "settings": {"dim": 2, "classes": 3, "photographers": 1}}],
            {"labels", "groups"},
        ),
    ],
)
def test_needs_what_its_members_need(members, needs):
    total = WeightedSum(members=members)
    flags = {
        "images": total.uses_images,
        "features": total.uses_features,
        "labels": total.uses_labels,
        "groups": total.uses_groups,
        "scale": total.learns_scale,
    }
    assert {name for name, flag in flags.items() if flag} == needs


def test_all_members_remember():
    total = WeightedSum(members=[{"name": "geoclip", "settings": {"queue": 3}}] * 2)
    total.remember(torch.tensor([[1.0, 2.0]]))
    asked = total.places(torch.zeros(B, 2), torch.Generator())
    assert {name: places.tolist() for name, places in asked.items()} == {
        "geoclip-1.queue": [[1.0, 2.0]],
        "geoclip-2.queue": [[1.0, 2.0]],
    }


def test_of_objectives_that_are_built():
    queue = GeoClip(queue=3)
    total = WeightedSum.of({"near": (queue, 0.5), "far": (Clip(), 2.0), "off": (SimCse(), 0)})
    assert total.members["near"] is queue
    made = Made(total)
    parts = total(made.views)
    expected = 0.5 * queue(made.views)["loss"] + 2 * Clip()(made.views)["loss"]
    torch.testing.assert_close(parts["loss"], expected)
    assert set(parts) == {"loss", "near.loss", "far.loss"}


def test_sums_can_be_summed():
    inner = {"name": "weighted", "settings": {"members": MEMBERS}, "weight": 3.0}
    total = WeightedSum(members=[inner, {"name": "clip"}])
    made = Made(total, labels=LABELS)
    assert "weighted.simcse-1.again" in made.views.extra
    parts = total(made.views)
    expected = 3 * parts["weighted.loss"] + parts["clip.loss"]
    torch.testing.assert_close(parts["loss"].detach(), expected)
    assert "weighted.csp-mc.B" in parts


def test_is_rebuilt_from_its_recipe():
    total = geocsp.create("objective", "weighted", members=MEMBERS)
    again = geocsp.create("objective", total.recipe["name"], **total.recipe["settings"])
    again.load_state_dict(total.state_dict())
    made = Made(total, labels=LABELS)
    torch.testing.assert_close(again.double()(made.views)["loss"], total(made.views)["loss"])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "weights must be >= 0 and not all zero, got {}"),
        ([{"name": "clip", "weight": 0}], "weights must be >= 0 and not all zero, got {}"),
        (
            [{"name": "clip"}, {"name": "simcse", "weight": -1}],
            "weights must be >= 0 and not all zero, got {'clip': 1.0, 'simcse': -1}",
        ),
        (
            [{"name": "clip"}, {"weight": 1}],
            "member 1 needs a name and may have settings and a weight, got weight",
        ),
        (["clip"], "member 0 must be a name with settings and a weight, got 'clip'"),
        (
            [{"name": "clip", "wieght": 1}],
            "member 0 needs a name and may have settings and a weight, got name, wieght",
        ),
    ],
)
def test_members_that_make_no_loss_are_refused(members, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        WeightedSum(members=members)


def test_an_unknown_member_is_refused():
    with pytest.raises(ValueError, match="no objective 'nonsense'; available: "):
        WeightedSum(members=[{"name": "nonsense"}])


def test_a_dot_in_a_name_is_refused():
    with pytest.raises(ValueError, match=r"must have no dot and not be empty, got \['a.b'\]"):
        WeightedSum.of({"a.b": (AnFull(dim=2, classes=2), 1.0)})
