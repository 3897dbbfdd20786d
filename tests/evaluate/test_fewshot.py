import numpy as np
import pytest
import torch

from geocsp.errors import DataError
from geocsp.evaluate import SHOTS, Shot, accuracy_of
from geocsp.evaluate.fewshot import top1


def test_the_protocol_has_the_published_shares_and_counts():
    assert [shot.label for shot in SHOTS] == [
        "1 per class",
        "3 per class",
        "10 per class",
        "1 %",
        "5 %",
        "10 %",
        "20 %",
        "100 %",
    ]


def test_a_shot_picks_its_rows():
    labels = np.repeat([0, 1], [40, 20])
    assert np.bincount(labels[Shot(ratio=0.05).rows(labels, seed=0)]).tolist() == [2, 1]
    assert np.bincount(labels[Shot(per_class=3).rows(labels, seed=0)]).tolist() == [3, 3]


def test_the_first_class_wins_a_tie():
    scores = torch.tensor([[1.0, 1.0], [0.0, 2.0], [3.0, 3.0]])
    assert top1(scores, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)


def test_accuracy_of_images_places_and_both():
    labels = torch.tensor([0, 0, 1, 1])
    image = torch.tensor([[0.6, 0.4], [0.4, 0.6], [0.4, 0.6], [0.1, 0.9]]).log()
    place = torch.tensor([[9.0, -9.0], [9.0, -9.0], [9.0, -9.0], [-9.0, 9.0]])
    found = accuracy_of((image, image), (place, place), (labels, labels))
    assert found.image == 0.75
    assert found.location == 0.75
    assert found.product == 0.75
    assert 0.75 <= found.fused <= 1.0
    assert found.calibration.prior_power > 0


@pytest.mark.parametrize(
    "wrong", [{}, {"ratio": 0.1, "per_class": 3}, {"ratio": 0.0}, {"ratio": 2.0}, {"per_class": 0}]
)
def test_senseless_amounts_are_refused_at_once(wrong):
    with pytest.raises(DataError):
        Shot(**wrong)
