import math

import pytest
import torch
from synthetic_views import B, D, Made, assert_same, dot

from geocsp.coords import great_circle_km
from geocsp.objectives.clip import Clip
from geocsp.objectives.soft_positives import SoftPositives

CLUSTER = torch.tensor(
    [[0, 50], [0.2, 50], [0.9, 50], [179.9, 0], [-179.9, 0.1], [10, 90], [99, -30]],
    dtype=torch.float64,
)


def slow_soft(v, width, scale):
    total = 0.0
    for i in range(B):
        weights = []
        for j in range(B):
            widths = float(great_circle_km(v.lonlat[i : i + 1], v.lonlat[j : j + 1])) / width
            weights.append(math.exp(-(widths**2) / 2) if widths <= 3 else 0.0)
        for a, b in ((v.location, v.image), (v.image, v.location)):
            shares = [torch.exp(scale * dot(a[i], b[j])) for j in range(B)]
            for j in range(B):
                total = total - weights[j] / sum(weights) * torch.log(shares[j] / sum(shares))
    return total / (2 * B)


@pytest.mark.parametrize("temperature", [None, 0.3])
@pytest.mark.parametrize("width", [0.1, 15.0, 30.0, 9000.0])
def test_equals_its_formula(width, temperature):
    objective = SoftPositives(width_km=width, temperature=temperature)
    made = Made(objective, lonlat=CLUSTER)
    scale = made.scale if temperature is None else 1 / temperature
    slow = slow_soft(made.views, width, scale)
    assert_same(objective(made.views)["loss"], slow, made.leaves)


def test_without_neighbours_it_is_clip():
    made = Made(SoftPositives(width_km=0.1))
    soft, clip = made.objective(made.views)["loss"], Clip()(made.views)["loss"]
    torch.testing.assert_close(soft, clip)


def test_images_of_one_place_share_the_target():
    objective = SoftPositives(temperature=1.0)
    made = Made(objective, lonlat=torch.tensor([[5.0, 5.0]] * B, dtype=torch.float64))
    same = torch.full((B, D), 1 / math.sqrt(D), dtype=torch.float64)
    loss = objective(made.with_(location=same, image=same))["loss"]
    assert float(loss) == pytest.approx(math.log(B))


def test_a_width_of_zero_is_refused():
    with pytest.raises(ValueError, match="width_km must be positive, got 0"):
        SoftPositives(width_km=0)
