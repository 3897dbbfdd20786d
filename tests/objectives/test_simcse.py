import pytest
import torch
from synthetic_views import B, Made, assert_same, dot

from geocsp.coords import great_circle_km, sample_sphere
from geocsp.objectives.simcse import SimCse


@pytest.mark.parametrize("km", [0.0, 800.0])
@pytest.mark.parametrize("temperature", [None, 0.3])
def test_equals_its_formula(temperature, km):
    objective = SimCse(jitter_km=km, temperature=temperature)
    made = Made(objective)
    again = made.views.extra["again"].unit
    scale = made.scale if temperature is None else 1 / temperature
    slow = 0.0
    for i in range(B):
        shares = [torch.exp(scale * dot(made.views.location[i], again[j, 0])) for j in range(B)]
        slow = slow - torch.log(shares[i] / sum(shares)) / B
    assert_same(objective(made.views)["loss"], slow, made.leaves)


def test_views_differ_by_dropout_or_by_kilometres():
    lonlat = sample_sphere(500, torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(SimCse().places(lonlat, generator)["again"], lonlat.unsqueeze(1))
    moved = SimCse(jitter_km=3.0).places(lonlat, generator)["again"]
    assert moved.shape == (500, 1, 2)
    distance = great_circle_km(lonlat, moved[:, 0])
    assert float(distance.square().mean()) == pytest.approx(18.0, rel=0.2)


def test_published_temperature_and_no_images():
    assert SimCse().temperature == 0.05
    assert not SimCse().uses_images
    assert SimCse(temperature=None).learns_scale


def test_negative_jitter_is_refused():
    with pytest.raises(ValueError, match="jitter_km must be >= 0, got -1"):
        SimCse(jitter_km=-1)
