import math

import pytest
import torch
from synthetic_views import B, D, Made, assert_same, dot, sigmoid

from geocsp.objectives.max_entropy import MeFull, MeSlds, MeSsdl

Q = 4
LABELS = torch.tensor([0, -1, 1, 1, -1, 0, 3])
KNOWN = [i for i in range(B) if LABELS[i] >= 0]


def nll(p, eps):
    return -torch.log(p + eps)


def entropy(p, eps):
    return p * nll(p, eps) + (1 - p) * nll(1 - p, eps)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_me_full_equals_its_formula(eps):
    objective = MeFull(dim=D, classes=Q, positive_weight=9.0, epsilon=eps)
    made = Made(objective, labels=LABELS)
    weight, slow = objective.class_matrix.weight, 0.0
    for i in range(B):
        for c in range(Q):
            p = sigmoid(dot(made.views.raw_location[i], weight[c]))
            r = sigmoid(dot(made.views.extra["random"].raw[i, 0], weight[c]))
            term = 9 * nll(p, eps) if c == LABELS[i] else -entropy(p, eps)
            slow = slow + (term / (len(KNOWN) * Q) if i in KNOWN else 0) - entropy(r, eps) / (B * Q)
    assert_same(objective(made.views)["loss"], slow, made.leaves)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_me_slds_equals_its_formula(eps):
    objective = MeSlds(dim=D, classes=Q, epsilon=eps)
    made = Made(objective, labels=LABELS)
    weight, slow = objective.class_matrix.weight, 0.0
    for i in KNOWN:
        for c in range(Q):
            p = sigmoid(dot(made.views.raw_location[i], weight[c]))
            term = nll(p, eps) if c == LABELS[i] else -entropy(p, eps) / (Q - 1)
            slow = slow + term / len(KNOWN)
    assert_same(objective(made.views)["loss"], slow, made.leaves)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_me_ssdl_equals_its_formula(eps):
    objective = MeSsdl(dim=D, classes=Q, epsilon=eps)
    made = Made(objective, labels=LABELS)
    weight, slow = objective.class_matrix.weight, 0.0
    for i in KNOWN:
        p = sigmoid(dot(made.views.raw_location[i], weight[LABELS[i]]))
        r = sigmoid(dot(made.views.extra["random"].raw[i, 0], weight[LABELS[i]]))
        slow = slow + (nll(p, eps) - entropy(r, eps)) / len(KNOWN)
    assert_same(objective(made.views)["loss"], slow, made.leaves)


def test_an_undecided_class_costs_least():
    objective = MeFull(dim=D, classes=Q, epsilon=0.0)
    scores = torch.tensor([-2.0, 0.0, 2.0, 500.0, -500.0], requires_grad=True)
    costs = objective.absent(scores)
    assert int(costs.argmin()) == 1
    assert costs[1].item() == pytest.approx(-math.log(2))
    assert costs[3:].tolist() == [0, 0]
    costs.sum().backward()
    assert bool(scores.grad.isfinite().all())
