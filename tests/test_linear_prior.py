import json

import pytest
import torch

import geocsp
from geocsp import GeoPrior, fuse
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.linear_prior import LinearPrior
from geocsp.location import LocationEncoder

PLACES = sample_sphere(40, torch.Generator().manual_seed(0))
NAMES = ("a", "b", "c")


def location(**settings):
    torch.manual_seed(0)
    return geocsp.create("location", "wrap", dim=16, **settings)


def prior(classes=NAMES, scale=3.0):
    made = LinearPrior(location(), classes)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in made.class_matrix.parameters():
            weights.copy_(scale * torch.randn(weights.shape, generator=generator))
    return made.eval()


class Constant(LinearPrior):
    """Says the same logits everywhere."""

    def __init__(self, logits):
        super().__init__(location(), len(logits))
        with torch.no_grad():
            self.class_matrix.weight.zero_()
            self.class_matrix.bias.copy_(torch.tensor(logits))


def probabilities_by_hand(model, lonlat):
    embedding = model.location.embed(lonlat).double()
    unit = embedding / embedding.square().sum(dim=1, keepdim=True).sqrt()
    matrix, bias = model.class_matrix.weight.double(), model.class_matrix.bias.double()
    return (unit @ matrix.T + bias).exp() / (unit @ matrix.T + bias).exp().sum(1, keepdim=True)


def test_probabilities_are_the_softmax_over_the_unit_length_embedding():
    model = prior()
    expected = probabilities_by_hand(model, PLACES)
    found = model.class_probabilities(PLACES)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(40))
    torch.testing.assert_close(model(PLACES).softmax(dim=1), found)


def test_scores_are_logits_of_the_probabilities():
    scores = prior().class_scores(PLACES)
    expected = torch.logit(probabilities_by_hand(prior(), PLACES))
    torch.testing.assert_close(scores.double(), expected, atol=1e-5, rtol=1e-5)
    assert scores.dtype == torch.float32
    assert not scores.requires_grad


@pytest.mark.parametrize(
    "logits",
    [
        [0.0, 0.0, 0.0],
        [16.0, 0.0, -16.0],  # 1 - p is near the rounding of float32
        [30.0, 0.0, 0.0],
        [100.0, 0.0, -100.0],
        [0.0, -1000.0, 1e4],
    ],
)
def test_scores_stay_finite_and_sum_to_one_however_certain(logits):
    scores = Constant(logits).class_scores(PLACES[:2])
    assert bool(scores.isfinite().all())
    expected = torch.tensor(logits, dtype=torch.float64).softmax(dim=0)
    torch.testing.assert_close(scores.double().sigmoid(), expected.expand(2, 3), atol=1e-7, rtol=0)
    torch.testing.assert_close(scores.sigmoid().sum(dim=1), torch.ones(2))
    assert scores[0].argmax() == expected.argmax()
    assert scores[0].max() <= 36.5


def test_log_probabilities_of_what_is_unlikely_keep_their_digits():
    scores = Constant([0.0, -50.0, -200.0]).class_scores(PLACES[:1])[0].double()
    torch.testing.assert_close(scores[1:], torch.tensor([-50.0, -200.0]).double())


def test_the_certain_keep_their_digits_as_far_as_float64_has_them():
    scores = Constant([20.0, 0.0]).class_scores(PLACES[:1])[0].double()
    torch.testing.assert_close(scores, torch.tensor([20.0, -20.0]).double(), rtol=1e-6, atol=0)


def test_one_class_is_certain():
    scores = prior(("only",)).class_scores(PLACES)
    assert bool(scores.isfinite().all())
    assert bool((scores.sigmoid() == 1).all())


def test_fusing_multiplies_by_the_probability():
    model = prior()
    image = torch.rand(40, 3, generator=torch.Generator().manual_seed(2)).softmax(dim=1)
    product = image.double() * probabilities_by_hand(model, PLACES)
    expected = product / product.sum(dim=1, keepdim=True)
    torch.testing.assert_close(fuse(image, model, PLACES).double(), expected, atol=1e-6, rtol=1e-5)


def test_the_number_of_places_changes_no_score():
    model, many = prior(), sample_sphere(5000, torch.Generator().manual_seed(3))
    together = model.class_scores(many)
    torch.testing.assert_close(together[4000:4003], model.class_scores(many[4000:4003]))


def test_no_places_have_no_scores():
    assert prior().class_scores(PLACES[:0]).shape == (0, 3)


def test_dropout_is_off_and_training_mode_comes_back():
    model = LinearPrior(location(dropout=0.5), NAMES).train()
    assert torch.equal(model.class_scores(PLACES), model.class_scores(PLACES))
    assert model.training
    assert model.location.training


def test_a_missing_place_is_told_with_its_row():
    broken = PLACES.clone()
    broken[7, 0] = torch.nan
    with pytest.raises(ValueError, match="row 7"):
        prior().class_scores(broken)


def test_time_is_for_encoders_that_take_it():
    time = torch.full((40, 2), 0.3)
    with pytest.raises(ValueError, match="takes no time"):
        prior().class_scores(PLACES, time)
    dated = LinearPrior(location(date_harmonics=1), NAMES).eval()
    assert not torch.equal(dated.class_scores(PLACES, time), dated.class_scores(PLACES))
    assert not torch.equal(dated.embed(PLACES, time), dated.embed(PLACES))


def test_classes_may_be_counted():
    assert LinearPrior(location(), 3).class_names == ("0", "1", "2")


def test_a_saved_prior_says_the_same(tmp_path):
    model = prior()
    again = LinearPrior.from_pretrained(model.save_pretrained(tmp_path))
    assert torch.equal(again.class_scores(PLACES), model.class_scores(PLACES))
    assert again.class_names == NAMES
    assert not again.training
    assert json.loads((tmp_path / "config.json").read_text())["model"] == "LinearPrior"


def test_a_folder_of_another_model_is_refused(tmp_path):
    prior().save_pretrained(tmp_path)
    for kind in (GeoPrior, LocationEncoder):
        with pytest.raises(DataError, match=f"a LinearPrior, not a {kind.__name__}"):
            kind.from_pretrained(tmp_path)
