import math

import pytest
import torch

from geocsp.fusion import Calibration, Mixture, fused_logits


@pytest.fixture
def answers():
    generator = torch.Generator().manual_seed(0)
    log_image = (2 * torch.randn(7, 4, generator=generator)).log_softmax(1).double()
    return log_image, 3 * torch.randn(7, 4, generator=generator).double()


def normalised(row):
    return [value / sum(row) for value in row]


@pytest.mark.parametrize("numbers", [(1, 1, 1), (1.5, 3.0, 0.7), (0.4, 0.2, 2.5), (2, 5, 0)])
def test_the_product_is_that_of_the_formula(answers, numbers):
    log_image, scores = answers
    image_temperature, prior_temperature, power = numbers
    fused = Calibration(*numbers).logits(log_image, scores).softmax(1)
    for row in range(7):
        products = [
            math.exp(image) ** (1 / image_temperature)
            * (1 / (1 + math.exp(-score / prior_temperature))) ** power
            for image, score in zip(log_image[row].tolist(), scores[row].tolist(), strict=True)
        ]
        assert fused[row].tolist() == pytest.approx(normalised(products), rel=1e-9)
    assert torch.equal(
        fused_logits(*answers, Calibration(*numbers)), Calibration(*numbers).logits(*answers)
    )


@pytest.mark.parametrize("numbers", [(1, 1, 0.5), (1.5, 3.0, 0.2), (0.4, 0.2, 0.9)])
def test_the_mixture_is_that_of_the_formula(answers, numbers):
    log_image, scores = answers
    image_temperature, prior_temperature, weight = numbers
    fused = Mixture(*numbers).logits(log_image, scores).exp()
    for row in range(7):
        image = [math.exp(value / image_temperature) for value in log_image[row].tolist()]
        place = [1 / (1 + math.exp(-value / prior_temperature)) for value in scores[row].tolist()]
        expected = [
            (1 - weight) * of_image + weight * of_place
            for of_image, of_place in zip(normalised(image), normalised(place), strict=True)
        ]
        assert fused[row].tolist() == pytest.approx(expected, rel=1e-9)


def test_a_mixture_without_one_side_is_the_other(answers):
    log_image, scores = answers
    torch.testing.assert_close(Mixture(place_weight=0.0).logits(*answers), log_image)
    place = scores.sigmoid() / scores.sigmoid().sum(1, keepdim=True)
    torch.testing.assert_close(Mixture(place_weight=1.0).logits(*answers).exp(), place)


def test_a_class_that_the_image_rules_out_is_possible_in_a_mixture_alone():
    log_image, scores = torch.tensor([[1.0, 0.0]]).log(), torch.zeros(1, 2)
    assert Calibration().logits(log_image, scores).softmax(1).tolist() == [[1, 0]]
    assert Mixture().logits(log_image, scores).exp().tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, -0.1)])
def test_a_calibration_that_makes_no_probability_is_refused(wrong):
    with pytest.raises(ValueError, match="temperatures must be > 0 and the power >= 0"):
        Calibration(*wrong)


@pytest.mark.parametrize(
    "wrong", [(0.0, 1.0, 0.5), (1.0, -1.0, 0.5), (1.0, 1.0, -0.1), (1.0, 1.0, 1.1)]
)
def test_a_mixture_that_makes_no_probability_is_refused(wrong):
    with pytest.raises(ValueError, match=r"temperatures must be > 0 and the weight in \[0, 1\]"):
        Mixture(*wrong)
