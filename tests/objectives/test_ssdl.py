import pytest
import torch
from synthetic_views import B, D, Made, assert_same, dot, sigmoid

from geocsp.objectives.ssdl import AnSsdl

Q = 4
LABELS = torch.tensor([0, -1, 1, 1, -1, 0, 3])


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_equals_its_formula(eps):
    objective = AnSsdl(dim=D, classes=Q, epsilon=eps)
    made = Made(objective, labels=LABELS)
    weight = objective.class_matrix.weight
    known = [i for i in range(B) if LABELS[i] >= 0]
    seen = random = 0.0
    for i in known:
        p = sigmoid(dot(made.views.raw_location[i], weight[LABELS[i]]))
        r = sigmoid(dot(made.views.extra["random"].raw[i, 0], weight[LABELS[i]]))
        seen = seen - torch.log(p + eps) / len(known)
        random = random - torch.log(1 - r + eps) / len(known)
    parts = objective(made.views)
    assert_same(parts["loss"], seen + random, made.leaves)
    torch.testing.assert_close(parts["random"], random.detach())
