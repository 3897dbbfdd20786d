import torch
from synthetic_views import B, D, Made, assert_same, dot

from geocsp.objectives.cross_entropy import CrossEntropy

Q = 4
LABELS = torch.tensor([0, -1, 1, 1, -1, 0, 3])


def test_equals_its_formula():
    objective = CrossEntropy(dim=D, classes=Q)
    made = Made(objective, labels=LABELS)
    known = [i for i in range(B) if LABELS[i] >= 0]
    slow = 0.0
    for i in known:
        scores = [dot(made.views.raw_location[i], row) for row in objective.class_matrix.weight]
        share = torch.exp(scores[LABELS[i]]) / sum(torch.exp(score) for score in scores)
        slow = slow - torch.log(share) / len(known)
    assert_same(objective(made.views)["loss"], slow, made.leaves)


def test_no_label_at_all_costs_nothing():
    objective = CrossEntropy(dim=D, classes=Q)
    made = Made(objective, labels=torch.full((B,), -1))
    loss = objective(made.views)["loss"]
    loss.backward()
    assert loss.item() == 0
    assert float(objective.class_matrix.weight.grad.abs().max()) == 0
