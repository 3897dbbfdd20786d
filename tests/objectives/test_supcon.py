import pytest
import torch
from synthetic_views import B, Made, assert_same, dot

from geocsp.objectives.clip import Clip
from geocsp.objectives.supcon import SupCon

LABELS = torch.tensor([0, -1, 1, 1, -1, 0, 1])


@pytest.mark.parametrize("temperature", [None, 0.3])
def test_equals_its_formula(temperature):
    objective = SupCon(temperature=temperature)
    made = Made(objective, labels=LABELS)
    scale = made.scale if temperature is None else 1 / temperature
    slow = 0.0
    for a, b in ((made.views.location, made.views.image), (made.views.image, made.views.location)):
        for i in range(B):
            shares = [torch.exp(scale * dot(a[i], b[j])) for j in range(B)]
            positives = [
                j for j in range(B) if j == i or (LABELS[i] >= 0 and LABELS[i] == LABELS[j])
            ]
            for j in positives:
                slow = slow - torch.log(shares[j] / sum(shares)) / (2 * B * len(positives))
    assert_same(objective(made.views)["loss"], slow, made.leaves)


@pytest.mark.parametrize("labels", [torch.full((B,), -1), torch.arange(B)])
def test_with_nothing_in_common_it_is_clip(labels):
    made = Made(SupCon(), labels=labels)
    torch.testing.assert_close(made.objective(made.views)["loss"], Clip()(made.views)["loss"])


def test_uses_labels_and_images():
    assert SupCon().uses_labels
    assert SupCon().uses_images
