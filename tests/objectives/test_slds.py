import pytest
import torch
from synthetic_views import B, D, Made, assert_same, dot, sigmoid

from geocsp.objectives.slds import AnSlds

Q = 4
LABELS = torch.tensor([0, -1, 1, 1, -1, 0, 3])


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_equals_its_formula(eps):
    objective = AnSlds(dim=D, classes=Q, epsilon=eps)
    made = Made(objective, labels=LABELS)
    weight = objective.class_matrix.weight
    known = [i for i in range(B) if LABELS[i] >= 0]
    seen = other = 0.0
    for i in known:
        for c in range(Q):
            p = sigmoid(dot(made.views.raw_location[i], weight[c]))
            if c == LABELS[i]:
                seen = seen - torch.log(p + eps) / len(known)
            else:
                other = other - torch.log(1 - p + eps) / (len(known) * (Q - 1))
    parts = objective(made.views)
    assert_same(parts["loss"], seen + other, made.leaves)
    torch.testing.assert_close(parts["other"], other.detach())


def test_is_the_mean_of_the_published_draw():
    objective = AnSlds(dim=D, classes=Q).double()
    labels = LABELS.clamp(min=0)
    made = Made(objective, labels=labels)
    scores = objective.scores(made.views.raw_location)
    total = 0.0
    for shift in range(1, Q):  # every other class, equally often
        drawn = scores[torch.arange(B), (labels + shift) % Q]
        total = total - torch.log(1 - drawn.sigmoid() + 1e-5).mean()
    torch.testing.assert_close(objective(made.views)["other"], (total / (Q - 1)).detach())


def test_asks_for_no_places():
    objective = AnSlds(dim=D, classes=Q)
    assert objective.places(torch.zeros(3, 2), torch.Generator()) == {}


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        AnSlds(dim=D, classes=1)
