import pytest
import torch
from synthetic_views import B, D, Made, assert_same, slow_an_full

from geocsp.errors import DataError
from geocsp.objectives import class_scores
from geocsp.objectives.an_full import AnFull
from geocsp.objectives.negatives import NegativeSampling

Q = 4
LABELS = torch.tensor([0, 3, 1, 1, 2, 0, 3])
SOME = torch.tensor([0, -1, 1, 1, -1, 0, 3])


@pytest.mark.parametrize("labels", [LABELS, SOME])
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_equals_its_formula(eps, labels):
    objective = AnFull(dim=D, classes=Q, positive_weight=9.0, epsilon=eps)
    made = Made(objective, labels=labels)
    seen, random = slow_an_full(made.views, objective.class_matrix.weight, labels, 9.0, eps)
    parts = objective(made.views)
    assert_same(parts["loss"], seen + random, made.leaves)
    torch.testing.assert_close(parts["seen"], seen.detach())
    torch.testing.assert_close(parts["random"], random.detach())
    assert not parts["seen"].requires_grad


def test_in_parts_equals_the_whole(monkeypatch):
    objective = AnFull(dim=D, classes=Q)
    made = Made(objective, labels=SOME)
    whole = objective(made.views)["loss"]
    monkeypatch.setattr(class_scores, "SCORES_AT_ONCE", 2 * Q)
    assert_same(objective(made.views)["loss"], whole, made.leaves)


def test_published_weights():
    objective = AnFull(dim=D, classes=Q)
    assert (objective.positive_weight, objective.epsilon) == (2048, 1e-5)


def test_no_label_at_all_leaves_the_random_places():
    objective = AnFull(dim=D, classes=Q)
    made = Made(objective, labels=torch.full((B,), -1))
    parts = objective(made.views)
    assert float(parts["seen"]) == 0
    assert float(parts["loss"].detach()) == float(parts["random"]) > 0
    parts["loss"].backward()


def test_random_places_are_drawn_as_asked():
    objective = AnFull(dim=D, classes=Q, sampling="legacy-octant")
    places = objective.places(torch.zeros(50, 2), torch.Generator().manual_seed(0))["random"]
    drawn = NegativeSampling.LEGACY_OCTANT.sample(50, torch.Generator().manual_seed(0))
    assert torch.equal(places, drawn.unsqueeze(1))


def test_a_label_that_is_no_class_is_refused():
    objective = AnFull(dim=D, classes=Q)
    made = Made(objective, labels=torch.tensor([0, 1, 4, 0, 0, 0, 0]))
    with pytest.raises(DataError) as error:
        objective(made.views)
    assert str(error.value) == (
        "label of row 2 of the batch is 4; the objective has 4 classes, 0..3"
    )


def test_no_class_is_refused():
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        AnFull(dim=D, classes=0)
