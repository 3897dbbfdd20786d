import math
import sys

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_average_precision

import geocsp
from geocsp.coords import sample_sphere
from geocsp.errors import DataError, MissingExtraError
from geocsp.evaluate import range_maps as module
from geocsp.evaluate.range_maps import average_precision, range_maps
from geocsp.model import GeoPrior


def slow(scores, presence):
    """Precision at every score, weighted by the recall gained there."""
    total, area, before = sum(presence), 0.0, 0
    for level in sorted(set(scores), reverse=True):
        shown = [here for score, here in zip(scores, presence, strict=True) if score >= level]
        area += (sum(shown) - before) / total * sum(shown) / len(shown)
        before = sum(shown)
    return area


def drawn(places=60, classes=7, seed=0):
    """Scores with many ties, and presence."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(-9, 9, (places, classes), generator=generator) * 5.0
    return scores, torch.rand(places, classes, generator=generator) < 0.3


def trained(classes=9):
    torch.manual_seed(0)
    return GeoPrior(geocsp.create("location", "space2vec-grid", dim=8), classes)


def test_as_a_slow_loop_finds():
    scores, presence = drawn()
    presence[:, 3] = False
    presence[:, 4] = True
    found = average_precision(scores, presence)
    assert found.present.tolist() == presence.sum(0).tolist()
    assert math.isnan(found.precision[3])
    assert found.precision[4] == 1
    expected = [slow(scores[:, c].tolist(), presence[:, c].tolist()) for c in (0, 1, 2, 4, 5, 6)]
    assert found.precision[[0, 1, 2, 4, 5, 6]] == pytest.approx(expected)
    assert found.mean == pytest.approx(np.mean(expected))


def test_as_torchmetrics_finds():
    scores, presence = drawn()
    found = average_precision(scores, presence)
    for c in range(7):
        shares = (scores[:, c] / 100 + 0.5).double()  # within [0, 1], or it takes a sigmoid
        expected = float(binary_average_precision(shares, presence[:, c].long()))
        assert found.precision[c] == pytest.approx(expected)


def test_only_the_order_counts():
    scores, presence = drawn()
    stretched = average_precision(scores.double().exp(), presence)
    assert np.array_equal(average_precision(scores, presence).precision, stretched.precision)


def test_equal_scores_are_worth_the_prevalence():
    found = average_precision(torch.zeros(8, 1), torch.arange(8)[:, None] < 2)
    assert found.precision.tolist() == [0.25]


def test_saturated_scores_still_have_an_order():
    presence = torch.tensor([[False], [True], [False]])
    found = average_precision(torch.tensor([[40.0], [50.0], [30.0]]), presence)
    assert found.precision.tolist() == [1]


def test_one_place():
    assert average_precision(torch.zeros(1, 2), torch.tensor([[True, False]])).mean == 1


@pytest.mark.parametrize("scores", [2**26, 9 * 10, 130, 1], ids=str)
def test_a_prior_in_parts_as_a_whole(monkeypatch, scores):
    prior, lonlat = trained(), sample_sphere(40, torch.Generator().manual_seed(1))
    presence = torch.rand(40, 9, generator=torch.Generator().manual_seed(2)) < 0.3
    expected = average_precision(prior.class_scores(lonlat), presence)
    monkeypatch.setattr(module, "_SCORES", scores)
    found = range_maps(prior, lonlat, presence)
    np.testing.assert_allclose(found.precision, expected.precision)
    assert np.array_equal(found.present, expected.present)


def test_a_prior_without_training():
    prior = geocsp.create("prior", "knn")
    lonlat = sample_sphere(50, torch.Generator().manual_seed(1))
    labels = (lonlat[:, 1] > 0).long()
    prior.fit(lonlat, labels, ["south", "north"])
    assert range_maps(prior, lonlat, labels[:, None] == torch.arange(2)).mean > 0.9


def test_no_part_is_larger_than_allowed(monkeypatch):
    prior, lonlat = trained(), sample_sphere(40, torch.Generator().manual_seed(1))
    monkeypatch.setattr(module, "_SCORES", 90)
    sizes, scores = [], prior.class_scores
    monkeypatch.setattr(
        prior, "class_scores", lambda places: (sizes.append(len(places)), scores(places))[1]
    )
    range_maps(prior, lonlat, torch.ones(40, 9, dtype=torch.bool))
    assert max(sizes) * 9 <= 90
    assert sum(sizes) == 5 * 40  # two classes at a time


def test_bad_input_is_refused():
    scores, presence = drawn()
    with pytest.raises(DataError, match=r"= \(60, 7\), got torch.bool \(59, 7\)"):
        average_precision(scores, presence[1:])
    with pytest.raises(DataError, match="presence must be bool"):
        average_precision(scores, presence.float())
    with pytest.raises(DataError, match="no class is present"):
        average_precision(scores, torch.zeros_like(presence))
    with pytest.raises(DataError, match="no class is present"):
        average_precision(scores[:0], presence[:0])
    scores[5, 2] = math.nan
    with pytest.raises(DataError, match="place 5 is nan"):
        average_precision(scores, presence)
    prior, lonlat = trained(7), sample_sphere(60, torch.Generator().manual_seed(1))
    with pytest.raises(DataError, match=r"= \(59, 7\)"):
        range_maps(prior, lonlat[1:], presence)
    lonlat[4, 0] = math.nan
    with pytest.raises(ValueError, match="row 4"):
        range_maps(prior, lonlat, presence)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(MissingExtraError, match=r"geocsp\[evaluate\]"):
        average_precision(*drawn())
