import pytest
import torch
from synthetic_views import B, D, Made, assert_same, dot, sigmoid, slow_an_full

from geocsp.errors import DataError
from geocsp.objectives.photographer import Photographer

Q, U = 4, 3
LABELS = torch.tensor([0, -1, 1, 1, -1, 0, 3])
GROUPS = torch.tensor([2, 0, -1, 0, -1, 2, 1])


def slow_likes(person, matrix, labels, rows, nll):
    total = 0.0
    for i in rows:
        for c in range(Q):
            p = sigmoid(dot(person(i), matrix[c]))
            total = total + (Q * nll(p) if c == labels[i] else nll(1 - p))
    return total / (len(rows) * Q)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_equals_its_formula(eps):
    objective = Photographer(dim=D, classes=Q, photographers=U, epsilon=eps)
    made = Made(objective, labels=LABELS, groups=GROUPS)
    v, matrix = made.views, objective.class_matrix.weight

    def nll(p):
        return -torch.log(p + eps)

    def person(i):
        return objective.photographer_matrix.weight[GROUPS[i]]

    known = [i for i in range(B) if GROUPS[i] >= 0]
    both = [i for i in known if LABELS[i] >= 0]
    assert len(known) > len(both) > 0
    seen, random = slow_an_full(v, matrix, LABELS, Q, eps)
    there = sum(nll(sigmoid(dot(person(i), v.raw_location[i]))) for i in known) / len(known)
    elsewhere = sum(
        nll(1 - sigmoid(dot(person(i), v.extra["random"].raw[i, 0]))) for i in known
    ) / len(known)
    likes = slow_likes(person, matrix, LABELS, both, nll)
    parts = objective(v)
    assert_same(parts["loss"], seen + random + there + elsewhere + likes, made.leaves)
    torch.testing.assert_close(parts["there"], there.detach())
    torch.testing.assert_close(parts["elsewhere"], elsewhere.detach())
    torch.testing.assert_close(parts["likes"], likes.detach())


def test_a_group_that_is_no_photographer_is_refused():
    objective = Photographer(dim=D, classes=Q, photographers=U)
    made = Made(objective, labels=LABELS, groups=GROUPS + 1)
    with pytest.raises(DataError) as error:
        objective(made.views)
    assert str(error.value) == (
        "group of row 0 of the batch is 3; the objective has 3 photographers, 0..2"
    )


def test_nobody_is_refused():
    with pytest.raises(ValueError, match="photographers must be at least 1, got 0"):
        Photographer(dim=D, classes=Q, photographers=0)
