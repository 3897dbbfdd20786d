import numpy as np
import pytest
import torch

from geocsp.errors import DataError
from geocsp.evaluate import SHOTS, Shot
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


@pytest.mark.parametrize(
    "wrong", [{}, {"ratio": 0.1, "per_class": 3}, {"ratio": 0.0}, {"ratio": 2.0}, {"per_class": 0}]
)
def test_senseless_amounts_are_refused_at_once(wrong):
    with pytest.raises(DataError):
        Shot(**wrong)


@pytest.mark.parametrize(
    ("text", "shot"),
    [
        ("3", Shot(per_class=3)),
        (" 10 ", Shot(per_class=10)),
        ("5%", Shot(ratio=0.05)),
        ("7 %", Shot(ratio=0.07)),
        (" 0.5% ", Shot(ratio=0.005)),
        ("100%", Shot(ratio=1.0)),
    ],
)
def test_amounts_are_read_from_texts(text, shot):
    assert Shot.parse(text) == shot


@pytest.mark.parametrize("shot", SHOTS)
def test_a_share_is_read_from_its_own_label(shot):
    if shot.ratio is not None:
        assert Shot.parse(shot.label) == shot
    else:
        assert Shot.parse(shot.label.removesuffix(" per class")) == shot


@pytest.mark.parametrize("text", ["", "%", "few", "1.5", "x%", "5%%", "3 per class"])
def test_other_texts_are_no_amounts(text):
    with pytest.raises(DataError, match="write 3 for labels per class or 5% for a share"):
        Shot.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "at least 1 label"),
        ("-3", "at least 1 label"),
        ("0%", r"in \(0, 1\]"),
        ("101%", r"in \(0, 1\]"),
        ("nan%", r"in \(0, 1\]"),
        ("inf%", r"in \(0, 1\]"),
    ],
)
def test_amounts_out_of_range_say_so(text, message):
    with pytest.raises(DataError, match=message):
        Shot.parse(text)
