import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import geocsp
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.predict import fuse

NAMES = ("frequency", "grid-histogram", "kde", "knn")
CLASSES = ("oak", "pine", "palm", "moss")


def labelled(count=300):
    """Places, some of them several times, and classes that go with the longitude."""
    generator = torch.Generator().manual_seed(1)
    lonlat = sample_sphere(count, generator)
    lonlat[count // 2 : count // 2 + count // 6] = lonlat[: count // 6]
    noise = torch.randn(count, generator=generator)
    return lonlat, ((lonlat[:, 0] / 90 + 2 + 0.3 * noise).long()).clamp(0, 2)


def queries():
    special = [[180, 0], [-180, 0], [0, 90], [50, 90], [0, -90], [179.999, 89.999], [-180, -90]]
    return torch.cat([torch.tensor(special), sample_sphere(50, torch.Generator().manual_seed(2))])


def test_all_of_them_are_registered():
    assert geocsp.available("prior") == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_finite_and_sum_to_one(name):
    prior = geocsp.create("prior", name).fit(*labelled(), CLASSES)
    scores = prior.class_scores(queries())
    assert scores.shape == (57, 4)
    assert scores.dtype == torch.float32
    assert bool(scores.isfinite().all())
    assert prior.class_names == CLASSES
    probabilities = prior.class_probabilities(queries())
    torch.testing.assert_close(scores.sigmoid(), probabilities)
    torch.testing.assert_close(F.logsigmoid(scores).exp().sum(1), torch.ones(57))
    assert bool((probabilities > 0).all())  # also of the class that was never seen


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_labels_does_not_matter(name):
    lonlat, labels = labelled()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))
    prior = geocsp.create("prior", name)
    expected = prior.fit(lonlat, labels, CLASSES).class_scores(queries())
    assert torch.equal(prior.class_scores(queries()), expected)
    prior.fit(lonlat[order], labels[order], CLASSES)
    assert torch.equal(prior.class_scores(queries()), expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_ends_of_the_map_are_one_place(name):
    """Both as labelled places and as queries: the antimeridian, and the poles."""
    edges = torch.tensor([[180.0, 10], [-180, 10], [180, -50], [70, 90], [-20, 90], [5, -90]])
    other = torch.tensor([[-180.0, 10], [180, 10], [-180, -50], [-110, 90], [180, 90], [-5, -90]])
    lonlat, labels = labelled(30)
    classes = torch.cat([labels, torch.tensor([0, 3, 2, 3, 3, 1])])
    first, second = (
        geocsp.create("prior", name).fit(torch.cat([lonlat, ends]), classes, CLASSES)
        for ends in (edges, other)
    )
    asked = torch.cat([queries(), edges])
    expected = first.class_scores(asked)
    torch.testing.assert_close(second.class_scores(asked), expected)
    torch.testing.assert_close(first.class_scores(other), expected[-6:])


@pytest.mark.parametrize("name", NAMES)
def test_one_class_is_certain_but_its_score_is_finite(name):
    prior = geocsp.create("prior", name).fit(labelled()[0], torch.zeros(300).long(), ["oak"])
    scores = prior.class_scores(queries())
    assert bool(scores.isfinite().all())
    torch.testing.assert_close(scores.sigmoid(), torch.ones(57, 1))


@pytest.mark.parametrize("name", NAMES)
def test_one_label_makes_its_class_likely_and_the_others_alike(name):
    prior = geocsp.create("prior", name).fit(
        torch.tensor([[8.5, 47.4]]), torch.tensor([2]), CLASSES
    )
    there, antipode = prior.class_probabilities(torch.tensor([[8.5, 47.4], [-171.5, -47.4]]))
    assert there.argmax() == 2
    torch.testing.assert_close(there[[0, 1, 3]], there[0].expand(3))
    overall = torch.tensor([0.2, 0.2, 0.4, 0.2])
    if name != "knn":  # whose labels vote from anywhere
        torch.testing.assert_close(antipode, overall)


@pytest.mark.parametrize("name", NAMES)
def test_double_and_arrays_are_taken_and_no_query_is_fine(name):
    lonlat, labels = labelled()
    expected = geocsp.create("prior", name).fit(lonlat, labels, CLASSES).class_scores(queries())
    prior = geocsp.create("prior", name).fit(lonlat.double().numpy(), labels.numpy(), CLASSES)
    assert torch.equal(prior.class_scores(queries().double(), None), expected)
    assert prior.class_scores(torch.empty(0, 2)).shape == (0, 4)


@pytest.mark.parametrize("name", NAMES)
def test_queries_in_parts_get_the_same_answers(name, monkeypatch):
    lonlat, labels = labelled()
    prior = geocsp.create("prior", name).fit(lonlat, labels, CLASSES)
    expected = prior.class_scores(queries())
    monkeypatch.setattr("geocsp.priors.base.CELLS", 600)
    torch.testing.assert_close(prior.class_scores(queries()), expected)


@pytest.mark.parametrize("name", NAMES)
def test_it_sharpens_an_image_classifier(name):
    prior = geocsp.create("prior", name).fit(*labelled(), CLASSES)
    fused = fuse(torch.full((57, 4), 0.25), prior, queries())
    torch.testing.assert_close(fused, prior.class_probabilities(queries()), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_told(name):
    prior = geocsp.create("prior", name)
    lonlat, labels = labelled()
    with pytest.raises(DataError, match=f"fit {type(prior).__name__} to labelled places first"):
        prior.class_scores(lonlat)
    with pytest.raises(DataError, match="need one label per row, at least one"):
        prior.fit(torch.empty(0, 2), torch.empty(0).long(), CLASSES)
    with pytest.raises(DataError, match="need one label per row"):
        prior.fit(lonlat, labels[1:], CLASSES)
    with pytest.raises(DataError, match=re.escape("label of row 4 is -1, not in 0..3")):
        prior.fit(lonlat, labels.index_fill(0, torch.tensor(4), -1), CLASSES)
    lost = lonlat.clone()
    lost[7, 0] = torch.nan
    with pytest.raises(ValueError, match=r"lonlat row 7 .* must be finite"):
        prior.fit(lost, labels, CLASSES)
    prior.fit(lonlat, labels, CLASSES)
    with pytest.raises(ValueError, match=r"lonlat row 7 .* must be finite"):
        prior.class_scores(lost)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("grid-histogram", {"degrees": 0.0}),
        ("grid-histogram", {"degrees": 1e-9}),
        ("grid-histogram", {"smoothing": 0.0}),
        ("kde", {"bandwidth_km": -1.0}),
        ("kde", {"bandwidth_km": np.inf}),
        ("kde", {"smoothing": np.nan}),
        ("knn", {"neighbours": 0}),
        ("knn", {"smoothing": -1.0}),
    ],
)
def test_settings_out_of_range_are_told(name, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        geocsp.create("prior", name, **settings)


def test_numbers_kept():
    lonlat = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.6, 0.6], [90.5, 0.5]])
    labels = torch.tensor([0, 0, 1, 1])
    kept = {
        name: geocsp.create("prior", name).fit(lonlat, labels, CLASSES).parameters_stored
        for name in NAMES
    }
    assert kept["frequency"] == 4
    assert kept["grid-histogram"] == 4 + 2 + 2 * 3  # 2 cells; 2 classes in one, 1 in the other
    assert kept["kde"] == 4 + 4 * (3 + 1)
    assert kept["knn"] == 4 + 3 * 3 + 2 * 3  # 3 places with one class each
