import math

import pytest
import torch

import geocsp
from geocsp import Calibration, GeoPrior, fit_calibration, fuse
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.predict import fused_logits

PLACES = sample_sphere(6, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return GeoPrior(geocsp.create("location", "wrap", dim=8), 4)


@pytest.fixture
def image():
    return torch.rand(6, 4, generator=torch.Generator().manual_seed(1)).softmax(dim=1)


@pytest.mark.parametrize("calibration", [None, Calibration(1.5, 3.0, 0.7)])
def test_fusion_equals_the_product_of_the_formula(prior, image, calibration):
    given = calibration or Calibration()
    fused = fuse(image, prior, PLACES, calibration)
    scores = prior.class_scores(PLACES)
    for n in range(6):
        products = [
            float(image[n, c]) ** (1 / given.image_temperature)
            * (1 / (1 + math.exp(-float(scores[n, c]) / given.prior_temperature)))
            ** given.prior_power
            for c in range(4)
        ]
        expected = [product / sum(products) for product in products]
        assert fused[n].tolist() == pytest.approx(expected, rel=1e-4)


def test_a_row_without_place_keeps_the_answer_of_the_image(prior, image):
    places = PLACES.clone()
    places[2] = math.nan
    places[4, 1] = math.nan
    fused = fuse(image, prior, places)
    torch.testing.assert_close(fused[[2, 4]], image[[2, 4]])
    assert not torch.allclose(fused[0], image[0])
    nowhere = torch.full_like(PLACES, math.nan)
    torch.testing.assert_close(fuse(image, prior, nowhere), image)


def test_zero_image_probabilities_do_not_become_nan(prior, image):
    image[0] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    fused = fuse(image, prior, PLACES)
    assert int(fused[0].argmax()) == 0
    torch.testing.assert_close(fused.sum(dim=1), torch.ones(6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:, :3], r"must be \(places, classes\) = \(6, 4\), got \(6, 3\)"),
        (lambda p: p[:5], r"got \(5, 4\)"),
        (lambda p: torch.where(torch.arange(6)[:, None] == 3, -p, p), "row 3 .* softmax"),
        (lambda p: torch.where(torch.arange(6)[:, None] == 1, math.nan, p), "row 1"),
        (lambda p: torch.where(torch.arange(6)[:, None] == 5, 0.0, p), "row 5 .* not all zero"),
    ],
)
def test_what_is_no_probability_is_told_with_its_row(prior, image, change, message):
    with pytest.raises(DataError, match=message):
        fuse(change(image), prior, PLACES)


def synthetic(count=4000, classes=5):
    """Image logits and presence scores that are too sure by known factors."""
    g = torch.Generator().manual_seed(0)
    log_image = (2 * torch.randn(count, classes, generator=g)).log_softmax(dim=1)
    scores = 2 * torch.randn(count, classes, generator=g)
    truth = fused_logits(log_image, scores, Calibration()).softmax(dim=1)
    labels = torch.multinomial(truth, 1, generator=g).squeeze(1)
    return log_image, scores, labels


def nll(log_image, scores, labels, calibration):
    logits = fused_logits(log_image, scores, calibration)
    return float(torch.nn.functional.cross_entropy(logits, labels))


def test_calibration_undoes_overconfidence():
    log_image, scores, labels = synthetic()
    found = fit_calibration(3 * log_image, 4 * scores, labels)
    assert found.image_temperature == pytest.approx(3.0, rel=0.15)
    assert found.prior_temperature == pytest.approx(4.0, rel=0.35)
    assert nll(3 * log_image, 4 * scores, labels, found) < nll(
        3 * log_image, 4 * scores, labels, Calibration()
    )


def test_a_prior_without_information_is_left_out():
    log_image, _, labels = synthetic()
    noise = 6 * torch.randn(log_image.shape, generator=torch.Generator().manual_seed(5))
    labels = torch.multinomial(log_image.exp(), 1, generator=torch.Generator().manual_seed(6))
    found = fit_calibration(log_image, noise, labels.squeeze(1))
    alone = (log_image.argmax(1) == labels.squeeze(1)).double().mean()
    fused = fused_logits(log_image, noise, found).argmax(1) == labels.squeeze(1)
    plain = fused_logits(log_image, noise, Calibration()).argmax(1) == labels.squeeze(1)
    assert float(fused.double().mean()) > float(alone) - 0.01
    assert float(plain.double().mean()) < float(alone) - 0.1


def test_calibration_is_deterministic_and_finite_for_few_perfect_rows():
    log_image = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).log()
    scores = torch.tensor([[5.0, -5.0], [-5.0, 5.0]])
    labels = torch.tensor([0, 1])
    first = fit_calibration(log_image, scores, labels)
    assert first == fit_calibration(log_image, scores, labels)
    assert all(0 < value < 2000 for value in vars(first).values())


def test_every_row_sums_to_one_also_without_a_place_and_unnormalised(prior, image):
    places = PLACES.clone()
    places[1] = math.nan
    fused = fuse(7 * image, prior, places)
    torch.testing.assert_close(fused.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(fused, fuse(image, prior, places))


def test_a_bad_place_is_told_with_its_row_also_after_rows_without_a_place(prior, image):
    places = PLACES.clone()
    places[0] = math.nan
    places[3, 1] = 95
    with pytest.raises(ValueError, match="row 3 "):
        fuse(image, prior, places)


@pytest.mark.parametrize("power", [0.3, 2.0, 3.0])
def test_calibration_is_as_good_as_the_true_power_of_the_prior(power):
    log_image, scores, _ = synthetic()
    truth = Calibration(prior_power=power)
    shares = fused_logits(log_image, scores, truth).softmax(dim=1)
    labels = torch.multinomial(shares, 1, generator=torch.Generator().manual_seed(2)).squeeze(1)
    found = fit_calibration(log_image, scores, labels)
    reached = nll(log_image, scores, labels, found)
    assert reached < nll(log_image, scores, labels, truth) + 1e-3
    assert reached < nll(log_image, scores, labels, Calibration()) - 0.02
    if power > 1:  # below, a softer prior does almost the same as a smaller power
        assert found.prior_power == pytest.approx(power, rel=0.1)


def test_calibration_stays_near_one_where_few_rows_say_little():
    # Without the pull towards one these rows would drive the parameters to their limits.
    log_image = torch.tensor([[0.6, 0.4], [0.4, 0.6]]).log()
    scores = torch.tensor([[0.5, -0.5], [-0.5, 0.5]])
    found = fit_calibration(log_image, scores, torch.tensor([0, 1]))
    assert all(0.2 < value < 5 for value in vars(found).values())


def test_calibration_stays_finite_where_the_image_rules_a_class_out():
    image = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.2, 0.3, 0.5]])
    scores = torch.tensor([[1.0, -1.0, 0.0], [0.5, 1.0, -2.0], [0.0, 0.0, 1.0]])
    found = fit_calibration(image.log(), scores, torch.tensor([0, 1, 2]))
    assert all(math.isfinite(value) for value in vars(found).values())


def test_calibration_refuses_what_does_not_fit():
    log_image, scores, labels = synthetic(count=8)
    with pytest.raises(DataError, match=r"got \(8, 5\), \(1, 5\) and \(8,\)"):
        fit_calibration(log_image, scores[:1], labels)
    scores[3, 2] = math.nan
    with pytest.raises(DataError, match="row 3 are not finite"):
        fit_calibration(log_image, scores, labels)


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, -0.1)])
def test_a_calibration_that_makes_no_probability_is_refused(wrong):
    with pytest.raises(ValueError, match="temperatures must be > 0 and the power >= 0"):
        Calibration(*wrong)
