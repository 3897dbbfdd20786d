import numpy as np
import pytest
import torch
from torch.nn import functional as F

import geocsp
from geocsp.errors import DataError
from geocsp.fusion import Calibration
from geocsp.linear_prior import LinearPrior
from geocsp.maps import quantities
from geocsp.maps.natural_earth import Detail, on_land
from geocsp.maps.quantities import (
    Colours,
    Scale,
    best_class,
    class_probability,
    embedding_colours,
    land_places,
    similarity,
    support_distance,
    uncertainty,
)

NAMES = ("red fox", "grey wolf", "Parus major")
PLACES = torch.tensor([[2.35, 48.86], [-180.0, 0.0], [0.0, 90.0], [10.0, -90.0], [179.9, -17.0]])


def encoder(**settings):
    torch.manual_seed(0)
    return geocsp.create("location", "space2vec-grid", dim=16, **settings).eval()


def prior(kind=geocsp.GeoPrior, names=NAMES, **settings):
    model = kind(encoder(**settings), names)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.class_matrix.weight)
    return model.eval()


def classifier(support=None):
    model = geocsp.GeoModel(encoder(), 4)
    head = geocsp.ImageHead(torch.zeros(4), torch.ones(4), torch.nn.Linear(4, 3))
    return geocsp.GeoClassifier(model, prior(), head, fusion=Calibration(), support=support)


@pytest.mark.parametrize("kind", [geocsp.GeoPrior, LinearPrior])
def test_class_probability_is_the_prior_s(kind):
    model = prior(kind)
    for number, name in enumerate(NAMES):
        quantity = class_probability(model, name)
        expected = model.class_probabilities(PLACES)[:, number]
        torch.testing.assert_close(quantity.of(PLACES), expected)
        assert name in quantity.title
        assert quantity.scale is Scale.MORE


def test_class_probability_of_a_classifier_is_that_of_its_prior():
    model = classifier()
    expected = model.class_probabilities(PLACES)[:, 1]
    torch.testing.assert_close(class_probability(model, "grey wolf").of(PLACES), expected)


def test_the_model_is_left_as_it_was():
    model = prior().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    class_probability(model, "red fox").of(PLACES)
    assert model.training
    assert all(part.training for part in model.modules())
    assert list(model.state_dict()) == list(before)


@pytest.mark.parametrize("kind", [geocsp.GeoPrior, LinearPrior])
def test_uncertainty_is_the_normalised_entropy(kind):
    model = prior(kind)
    share = model.class_probabilities(PLACES).double()
    share = share / share.sum(dim=1, keepdim=True)
    expected = np.array([-sum(p * np.log(p) for p in row) for row in share.tolist()]) / np.log(3)
    np.testing.assert_allclose(uncertainty(model).of(PLACES), expected, rtol=1e-5)


def test_uncertainty_goes_from_none_to_all():
    model = prior(LinearPrior)
    torch.nn.init.zeros_(model.class_matrix.weight)
    torch.nn.init.zeros_(model.class_matrix.bias)
    np.testing.assert_allclose(uncertainty(model).of(PLACES), 1.0, atol=1e-5)
    with torch.no_grad():
        model.class_matrix.bias[0] = 100.0
    np.testing.assert_allclose(uncertainty(model).of(PLACES), 0.0, atol=1e-5)


def test_one_class_is_certain():
    model = prior(names=("alone",))
    assert uncertainty(model).of(PLACES).tolist() == [0.0] * 5
    assert best_class(model).of(PLACES).tolist() == [0] * 5


def test_the_best_class_has_the_highest_probability():
    model = prior()
    quantity = best_class(model)
    assert quantity.names == NAMES
    expected = model.class_probabilities(PLACES).argmax(dim=1)
    assert quantity.of(PLACES).tolist() == expected.tolist()


def test_similarity_is_the_cosine_of_embeddings():
    model = encoder()
    one = model.embed(torch.tensor([[2.35, 48.86]]))
    expected = F.cosine_similarity(model.embed(PLACES), one)
    values = similarity(model, 2.35, 48.86).of(PLACES)
    torch.testing.assert_close(values, expected)
    assert values[0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("lon", "lat"), [(200, 0), (0, 91), (float("nan"), 0)])
def test_similarity_needs_a_place(lon, lat):
    with pytest.raises(DataError, match="no place at"):
        similarity(encoder(), lon, lat)


def test_distance_is_to_the_nearest_training_place():
    support = torch.tensor([[0.0, 0.0], [180.0, 0.0]])
    quantity = support_distance(classifier(support))
    places = torch.tensor([[1.0, 0.0], [-179.0, 0.0], [0.0, 90.0]])
    expected = geocsp.coords.EARTH_RADIUS_KM * np.deg2rad([1.0, 1.0, 90.0])
    np.testing.assert_allclose(quantity.of(places), expected, rtol=1e-6)
    assert quantity.unit == "km"


def test_distance_needs_training_places():
    for model in (classifier(), prior(), encoder()):
        with pytest.raises(DataError, match="does not know where"):
            support_distance(model)


def test_colours_are_the_same_every_time_and_apart():
    model = encoder()
    first, second = embedding_colours(model), embedding_colours(model)
    assert first.of(PLACES).dtype == torch.uint8
    assert first.of(PLACES).tolist() == second.of(PLACES).tolist()
    assert embedding_colours(model, seed=1).of(PLACES).tolist() != first.of(PLACES).tolist()
    everywhere = first.of(land_places(500, seed=3)).double()
    assert (everywhere.std(dim=0) > 30).all()


def test_a_place_has_one_colour_whatever_is_around_it():
    colours = embedding_colours(encoder())
    whole = colours.of(PLACES)
    assert torch.cat([colours.of(place[None]) for place in PLACES]).tolist() == whole.tolist()


def test_colours_may_be_fitted_on_other_places():
    places = torch.rand(50, 2) * 10
    colours = Colours.fit(encoder(), places=places).of(places).double()
    assert (colours.max(dim=0).values == 255).all()


def test_places_for_colours_are_on_land_and_equal_in_area():
    places = land_places(2000)
    assert on_land(places.numpy(), Detail.LOW).all()
    assert places.shape == (2000, 2)
    antarctic = (places[:, 1] < -60).double().mean()
    assert 0.05 < antarctic < 0.13  # a twelfth of all land


def test_values_do_not_depend_on_how_many_are_computed_at_once(monkeypatch):
    model = prior()
    many = land_places(300)
    wanted = [class_probability(model, "red fox"), uncertainty(model), best_class(model)]
    wanted = [*wanted, similarity(model, 0, 0), embedding_colours(model)]
    whole = [quantity.of(many) for quantity in wanted]
    monkeypatch.setattr(quantities, "_NUMBERS", 100)
    for quantity, expected in zip(wanted, whole, strict=True):
        torch.testing.assert_close(quantity.of(many), expected)


def test_no_places_have_no_values():
    model = prior()
    none = torch.empty(0, 2)
    assert uncertainty(model).of(none).shape == (0,)
    assert embedding_colours(model).of(none).shape == (0, 3)


def test_time_reaches_the_model():
    model = prior(date_harmonics=2)
    quantity = class_probability(model, "red fox")
    summer = torch.tensor([[0.5, 12.0]]).expand(5, 2)
    torch.testing.assert_close(
        quantity.of(PLACES, summer), model.class_probabilities(PLACES, summer)[:, 0]
    )
    assert not torch.allclose(quantity.of(PLACES, summer), quantity.of(PLACES))
    with pytest.raises(ValueError, match="time must be"):
        quantity.of(PLACES, summer[:2])


def test_a_wrong_place_is_told():
    with pytest.raises(ValueError, match="row 1"):
        class_probability(prior(), "red fox").of(torch.tensor([[0.0, 0.0], [0.0, 91.0]]))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("red foxx", "did you mean 'red fox'"),
        ("parus MAJOR", "did you mean 'Parus major'"),
        ("wolf", "did you mean 'grey wolf'"),
        ("xylophone", "the 3 classes are 'red fox', 'grey wolf', 'Parus major'"),
    ],
)
def test_an_unknown_class_names_those_that_are_close(name, hint):
    with pytest.raises(DataError, match=hint):
        class_probability(prior(), name)


def test_a_model_without_classes_says_so():
    for make in (uncertainty, best_class, lambda model: class_probability(model, "x")):
        with pytest.raises(DataError, match="knows no classes"):
            make(encoder())
