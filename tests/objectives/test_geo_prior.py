import pytest
import torch
from synthetic_views import D, Made, assert_same

import geocsp
from geocsp.objectives import presence_absence
from geocsp.objectives.geo_prior import PresenceAbsence

Q = 4
LABELS = torch.tensor([0, 3, 1, 1, 2, 0, 3])


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_equals_the_loss_over_given_scores(eps):
    objective = PresenceAbsence(dim=D, classes=Q, epsilon=eps)
    made = Made(objective, labels=LABELS)
    scores = objective.class_matrix(made.views.raw_location)
    random = objective.class_matrix(made.views.extra["random"].raw[:, 0])
    slow = presence_absence(scores, LABELS, random, epsilon=eps)
    assert_same(objective(made.views)["loss"], slow, made.leaves)


def test_its_class_matrix_makes_a_prior():
    location = geocsp.create("location", "space2vec-grid", dim=8)
    objective = PresenceAbsence(dim=8, classes=Q)
    prior = geocsp.GeoPrior(location, Q)
    prior.class_matrix.load_state_dict(objective.class_matrix.state_dict())
    lonlat = torch.tensor([[10.0, 50.0], [-70.0, -30.0]])
    expected = objective.scores(location.embed(lonlat))
    torch.testing.assert_close(prior.class_scores(lonlat), expected)
