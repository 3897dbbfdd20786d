import math

import pytest
import torch
from scipy.optimize import minimize

from geocsp.errors import DataError
from geocsp.fusion import (
    Calibration,
    Mixture,
    Variant,
    fit_calibration,
    fit_fusion,
    fused_logits,
)


def synthetic(count=4000, classes=5):
    """Image logits and presence scores that are too sure by known factors."""
    g = torch.Generator().manual_seed(0)
    log_image = (2 * torch.randn(count, classes, generator=g)).log_softmax(dim=1)
    scores = 2 * torch.randn(count, classes, generator=g)
    return log_image, scores, drawn(Calibration(), log_image, scores, g)


def drawn(fusion, log_image, scores, generator):
    """Labels as likely as a fusion says."""
    shares = fusion.logits(log_image, scores).softmax(dim=1)
    return torch.multinomial(shares, 1, generator=generator).squeeze(1)


def nll(log_image, scores, labels, fusion):
    logits = fused_logits(log_image, scores, fusion)
    return float(torch.nn.functional.cross_entropy(logits, labels))


def test_calibration_undoes_overconfidence():
    log_image, scores, labels = synthetic()
    found = fit_calibration(3 * log_image, 4 * scores, labels)
    assert found.image_temperature == pytest.approx(3.0, rel=0.15)
    assert found.prior_temperature == pytest.approx(4.0, rel=0.35)
    assert nll(3 * log_image, 4 * scores, labels, found) < nll(
        3 * log_image, 4 * scores, labels, Calibration()
    )


@pytest.mark.parametrize("variant", Variant)
def test_what_is_fitted_is_least_by_another_way_of_looking_for_it(variant):
    log_image, scores, labels = synthetic(600)
    log_image, scores = 3 * log_image.double(), 4 * scores.double()
    found = fit_fusion(log_image, scores, labels, variant)

    def made(logs):
        if variant is Variant.ADDITIVE:
            temperatures = [math.exp(value) for value in logs[:2]]
            return Mixture(*temperatures, 1 / (1 + math.exp(-logs[2])))
        return Calibration(*(math.exp(value) for value in logs))

    def penalised(logs):
        likely = made(logs).logits(log_image, scores).log_softmax(1)
        own = likely[torch.arange(600), labels].mean()
        return -float(own) + 1e-3 * sum(value**2 for value in logs)

    count = {Variant.PRODUCT: 0, Variant.TEMPERATURES: 2}.get(variant, 3)
    if count == 0:
        assert found == Calibration()
        return
    best = minimize(penalised, [0.1] * count, method="Nelder-Mead", tol=1e-9).x
    assert list(vars(found).values()) == pytest.approx(list(vars(made(best)).values()), rel=2e-3)


def test_what_has_more_numbers_fits_better():
    log_image, scores, _ = synthetic()
    truth = Calibration(2.0, 1.0, 3.0)
    labels = drawn(truth, log_image, scores, torch.Generator().manual_seed(1))
    product, temperatures, power, _ = (
        nll(log_image, scores, labels, fit_fusion(log_image, scores, labels, variant))
        for variant in Variant
    )
    assert power < temperatures - 1e-3
    assert temperatures < product - 1e-3


def test_a_mixture_is_found_again():
    log_image, scores, _ = synthetic()
    labels = drawn(Mixture(place_weight=0.3), log_image, scores, torch.Generator().manual_seed(3))
    found = fit_fusion(2 * log_image, 3 * scores, labels, Variant.ADDITIVE)
    assert isinstance(found, Mixture)
    assert found.image_temperature == pytest.approx(2.0, rel=0.15)
    assert found.prior_temperature == pytest.approx(3.0, rel=0.4)
    assert found.place_weight == pytest.approx(0.3, abs=0.05)
    power = fit_calibration(2 * log_image, 3 * scores, labels)
    assert nll(2 * log_image, 3 * scores, labels, found) < nll(
        2 * log_image, 3 * scores, labels, power
    )


@pytest.mark.parametrize("variant", [Variant.POWER, Variant.ADDITIVE])
def test_a_prior_without_information_is_left_out(variant):
    log_image, _, _ = synthetic()
    noise = 6 * torch.randn(log_image.shape, generator=torch.Generator().manual_seed(5))
    labels = torch.multinomial(log_image.exp(), 1, generator=torch.Generator().manual_seed(6))
    found = fit_fusion(log_image, noise, labels.squeeze(1), variant)
    alone = (log_image.argmax(1) == labels.squeeze(1)).double().mean()
    fused = fused_logits(log_image, noise, found).argmax(1) == labels.squeeze(1)
    plain = fused_logits(log_image, noise, Calibration()).argmax(1) == labels.squeeze(1)
    assert float(fused.double().mean()) > float(alone) - 0.01
    assert float(plain.double().mean()) < float(alone) - 0.1


@pytest.mark.parametrize("variant", Variant)
def test_fitting_is_deterministic_and_finite_for_few_perfect_rows(variant):
    log_image = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).log()
    scores = torch.tensor([[5.0, -5.0], [-5.0, 5.0]])
    labels = torch.tensor([0, 1])
    first = fit_fusion(log_image, scores, labels, variant)
    assert first == fit_fusion(log_image, scores, labels, variant)
    assert all(isinstance(value, float) for value in vars(first).values())
    assert all(0 < value < 2000 for value in vars(first).values())


@pytest.mark.parametrize("power", [0.3, 2.0, 3.0])
def test_calibration_is_as_good_as_the_true_power_of_the_prior(power):
    log_image, scores, _ = synthetic()
    truth = Calibration(prior_power=power)
    labels = drawn(truth, log_image, scores, torch.Generator().manual_seed(2))
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


def test_one_class_says_nothing():
    found = fit_calibration(torch.zeros(5, 1), torch.randn(5, 1), torch.zeros(5).long())
    assert found == Calibration()


def test_calibration_refuses_what_does_not_fit():
    log_image, scores, labels = synthetic(count=8)
    with pytest.raises(DataError, match=r"got \(8, 5\), \(1, 5\) and \(8,\)"):
        fit_calibration(log_image, scores[:1], labels)
    with pytest.raises(DataError, match=r"got \(0, 5\), \(0, 5\) and \(0,\)"):
        fit_calibration(log_image[:0], scores[:0], labels[:0])
    with pytest.raises(DataError, match=r"label of row 2 is -100, not in 0\.\.4"):
        fit_calibration(log_image, scores, labels.index_fill(0, torch.tensor(2), -100))
    with pytest.raises(DataError, match="image probabilities of row 4 are not finite"):
        fit_calibration(log_image.index_fill(0, torch.tensor(4), math.nan), scores, labels)
    scores[3, 2] = math.nan
    with pytest.raises(DataError, match="row 3 are not finite"):
        fit_calibration(log_image, scores, labels)
