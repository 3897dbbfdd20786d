import re

import pytest
import torch
from synthetic_views import B, Made, assert_same, dot

from geocsp.coords import great_circle_km, sample_sphere
from geocsp.objectives.hard_negatives import HardNegatives


@pytest.mark.parametrize("temperature", [None, 0.3])
def test_equals_its_formula(temperature):
    objective = HardNegatives(negatives_per_image=3, temperature=temperature)
    made = Made(objective)
    v, slow = made.views, 0.0
    scale = made.scale if temperature is None else 1 / temperature
    for i in range(B):
        own = torch.exp(scale * dot(v.image[i], v.location[i]))
        others = sum(
            torch.exp(scale * dot(v.image[i], v.extra["ring"].unit[i, c])) for c in range(3)
        )
        slow = slow - torch.log(own / (own + others)) / B
    assert_same(objective(v)["loss"], slow, made.leaves)


def test_negatives_lie_in_the_ring():
    objective = HardNegatives(near_km=100, far_km=300, negatives_per_image=5)
    lonlat = sample_sphere(40, torch.Generator().manual_seed(0)).double()
    places = objective.places(lonlat, torch.Generator().manual_seed(1))["ring"]
    assert places.shape == (40, 5, 2)
    distance = great_circle_km(lonlat.repeat_interleave(5, 0), places.flatten(0, 1))
    assert 100 - 1e-6 <= float(distance.min()) < 130
    assert 280 < float(distance.max()) <= 300 + 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"near_km": 10, "far_km": 10}, "need 0 <= near_km < far_km <= 20015, got 10 and 10"),
        ({"near_km": -1}, "need 0 <= near_km < far_km <= 20015, got -1 and 500.0"),
        ({"far_km": 30000}, "need 0 <= near_km < far_km <= 20015, got 25.0 and 30000"),
        ({"negatives_per_image": 0}, "negatives_per_image must be >= 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        HardNegatives(**settings)
