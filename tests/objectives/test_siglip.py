import math

import pytest
import torch
from synthetic_views import B, Made, assert_same, dot

from geocsp.coords import great_circle_km
from geocsp.objectives import SigLip


def slow_siglip(v, scale, bias, km):
    total = 0.0
    for i in range(B):
        for j in range(B):
            near = float(great_circle_km(v.lonlat[i : i + 1], v.lonlat[j : j + 1])) < km
            if i == j or not near:
                sign = 1 if i == j else -1
                logit = scale * dot(v.location[i], v.image[j]) + bias
                total = total - torch.log(1 / (1 + torch.exp(-sign * logit))) / B
    return total


@pytest.mark.parametrize("temperature", [None, 0.5])
@pytest.mark.parametrize("km", [0.0, 6000.0])
@pytest.mark.parametrize("bias", [-10.0, 2.0])
def test_siglip_equals_its_formula(temperature, km, bias):
    made = Made(SigLip(temperature=temperature, mask_km=km, bias=bias))
    assert made.objective.bias in {p for p in made.leaves if p.dim() == 0 and p is not made.scale}
    scale = made.scale if temperature is None else 2.0
    slow = slow_siglip(made.views, scale, made.objective.bias, km)
    assert_same(made.objective(made.views)["loss"], slow, made.leaves)


def test_a_fixed_bias_is_saved_but_not_trained():
    objective = SigLip(bias=-3.0, learnable_bias=False)
    assert not objective.bias.requires_grad
    assert objective.state_dict()["bias"] == -3
    made = Made(objective)
    slow = slow_siglip(made.views, made.scale, torch.tensor(-3.0), 0.0)
    assert_same(made.objective(made.views)["loss"], slow, made.leaves)


def test_the_start_of_the_paper_makes_negatives_cheap():
    views = Made(SigLip()).with_(scale=torch.tensor(10.0).double())
    cosines = (views.location * views.image).sum(1)
    loss = float(SigLip()(views)["loss"])
    positives = float((1 + (10 - 10 * cosines).exp()).log().mean())
    assert positives < loss < positives + math.log(2) * (B - 1)
