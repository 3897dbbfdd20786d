import pytest
import torch
from parts import mean_over_processes
from synthetic_views import B, Made, assert_same, dot

import geocsp
from geocsp.coords import great_circle_km
from geocsp.objectives import Clip, CspMc, CspNce, SigLip


def slow_clip(v, scale, km=0.0):
    total = 0.0
    for i in range(B):
        for rows, columns in ((v.location, v.image), (v.image, v.location)):
            shares = 0.0
            for j in range(B):
                near = float(great_circle_km(v.lonlat[i : i + 1], v.lonlat[j : j + 1])) < km
                if j == i or not near:
                    shares = shares + torch.exp(scale * dot(rows[i], columns[j]))
            total = total - torch.log(torch.exp(scale * dot(rows[i], columns[i])) / shares)
    return total / (2 * B)


@pytest.mark.parametrize("temperature", [None, 0.2])
@pytest.mark.parametrize("km", [0.0, 6000.0])
def test_clip_equals_its_formula(temperature, km):
    made = Made(Clip(temperature=temperature, mask_km=km))
    scale = made.scale if temperature is None else 5.0
    assert made.objective.learns_scale is (temperature is None)
    assert_same(made.objective(made.views)["loss"], slow_clip(made.views, scale, km), made.leaves)


def test_the_mask_leaves_out_some_pairs_and_not_all():
    made = Made(Clip())
    near = geocsp.coords.pairwise_within_km(made.lonlat, made.lonlat, 6000.0)
    assert B < int(near.sum()) < B * B


OBJECTIVES = [
    Clip(mask_km=6000.0),
    Clip(temperature=0.1),
    SigLip(),
    SigLip(mask_km=6000.0, bias=-1.0),
    CspMc(mask_km=6000.0),
    CspMc(symmetric=True, learnable_temperature=True),
    CspNce(epsilon=1e-5),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_processes_share_the_loss_of_the_whole_batch(objective):
    made = Made(objective)
    split = mean_over_processes(made.objective, made.views, world=B)
    assert_same(split, made.objective(made.views)["loss"], made.leaves)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_partners_score_better_than_strangers(objective):
    views = Made(objective).views
    agreed = Made(objective).with_(location=views.image, image=views.image)
    strangers = Made(objective).with_(location=views.image, image=views.image.roll(1, dims=0))
    assert objective(agreed)["loss"].item() < objective(strangers)["loss"].item()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, r"temperature must be positive, got 0\.0"),
        ({"mask_km": -2.0}, r"mask_km must be >= 0, got -2\.0"),
    ],
)
@pytest.mark.parametrize("objective", ["clip", "siglip"])
def test_settings_out_of_range_are_refused(objective, settings, message):
    with pytest.raises(ValueError, match=message):
        geocsp.create("objective", objective, **settings)
