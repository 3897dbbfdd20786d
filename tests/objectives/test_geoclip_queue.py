import re

import pytest
import torch
from synthetic_views import B, D, Made, assert_same, dot

from geocsp.coords import great_circle_km
from geocsp.objectives.geoclip import GeoClip


def slow_geoclip(v, scale):
    keys = list(v.location) + list(v.extra["queue"].unit if "queue" in v.extra else [])
    total = 0.0
    for i in range(B):
        shares = [torch.exp(scale * dot(v.image[i], key)) for key in keys]
        total = total - torch.log(shares[i] / sum(shares))
    return total / B


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("temperature", [None, 0.3])
def test_equals_its_formula(temperature, steps):
    objective = GeoClip(queue=15, temperature=temperature)
    made = Made(objective, steps=steps)
    assert ("queue" in made.views.extra) == (steps > 0)
    scale = made.scale if temperature is None else 1 / temperature
    assert_same(objective(made.views)["loss"], slow_geoclip(made.views, scale), made.leaves)


def numbered(*numbers):
    return torch.tensor([[float(n), 0.0] for n in numbers])


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 16])
def test_the_queue_holds_the_last_places(batch):
    objective = GeoClip(queue=5)
    shown = []
    for step in range(7):
        numbers = list(range(step * batch, (step + 1) * batch))
        objective.remember(numbered(*numbers))
        shown += numbers
        asked = objective.places(numbered(0), torch.Generator())["queue"]
        assert sorted(asked[:, 0].tolist()) == shown[-5:]


def test_an_empty_queue_asks_for_nothing():
    assert GeoClip().places(numbered(1), torch.Generator()) == {}
    assert GeoClip().queued.shape == (4096, 2)


def test_what_was_asked_for_stays_when_the_queue_moves_on():
    objective = GeoClip(queue=2)
    objective.remember(numbered(1, 2))
    asked = objective.places(numbered(0), torch.Generator())["queue"]
    objective.remember(numbered(3, 4))
    assert asked[:, 0].tolist() == [1, 2]


def test_a_checkpoint_holds_the_queue():
    objective, other = GeoClip(queue=5), GeoClip(queue=5)
    objective.remember(numbered(1, 2, 3))
    other.load_state_dict(objective.state_dict())
    for each in (objective, other):
        each.remember(numbered(4, 5, 6))
    assert torch.equal(other.queued, objective.queued)
    assert sorted(other.queued[:, 0].tolist()) == [2, 3, 4, 5, 6]


def test_noise_moves_the_queue_anew_in_every_step():
    objective = GeoClip(queue=400, noise_km=2.0)
    objective.remember(numbered(*range(0, 100)).repeat(4, 1))
    a, b = (
        objective.places(numbered(0), torch.Generator().manual_seed(s))["queue"] for s in (0, 1)
    )
    for places in (a, b):
        distance = great_circle_km(places.double(), objective.queued.double())
        assert float(distance.square().mean()) == pytest.approx(8.0, rel=0.2)
    assert not torch.equal(a, b)
    assert torch.equal(objective.queued, numbered(*range(0, 100)).repeat(4, 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queue": 0}, "need queue >= 1 and noise_km >= 0, got 0 and 0.0"),
        ({"noise_km": -1.0}, "need queue >= 1 and noise_km >= 0, got 4096 and -1.0"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        GeoClip(**settings)


def test_learns_the_scale_unless_the_temperature_is_fixed():
    assert GeoClip().learns_scale
    assert not GeoClip(temperature=0.07).learns_scale


def test_dimensions():
    made = Made(GeoClip(queue=10), steps=1)
    assert made.views.extra["queue"].unit.shape == (B, D)
