import json
import math

import pytest
import torch
from constructed import task

from geocsp.errors import DataError
from geocsp.fusion import (
    Calibration,
    GuardedFusion,
    Mixture,
    Support,
    Variant,
    fit_guarded_fusion,
)
from geocsp.fusion.evidence import Evidence
from geocsp.fusion.trust import Trust

NOWHERE = torch.full((1, 2), math.nan)


@pytest.fixture(scope="module")
def made():
    return task(0)


@pytest.fixture(scope="module")
def fitted(made):
    return fit_guarded_fusion(*made.held_out(), made.lonlat[0], made.support)


@pytest.mark.parametrize("fusion", [Calibration(1.5, 3.0, 0.7), Mixture(1.5, 3.0, 0.3)])
def test_logits_are_those_of_the_formula(made, fusion):
    trust = Trust((900.0, 2.0), (3000.0, 5.0))
    guarded = GuardedFusion(fusion, 1.8, trust, Evidence(0.3, 0.1), made.support)
    rows = slice(60)
    lonlat = torch.cat([made.lonlat[1][rows], NOWHERE])
    log_image = torch.cat([made.log_image[1][rows], made.log_image[1][:1]])
    scores = torch.cat([made.scores[1][rows], made.scores[1][:1]])
    answers = guarded.logits(log_image, scores, lonlat).softmax(1)
    km, density = made.support.km(lonlat), made.support.density(lonlat)
    seen = []
    for row in range(61):
        spacing = math.exp(-float(density[row]) / 2)
        share = 1 / (1 + (float(km[row]) / 900) ** 4) / (1 + (spacing / 2) ** 4)
        share *= float(km[row]) <= 3000 and spacing <= 5
        image = [math.exp(value / 1.8) for value in log_image[row].tolist()]
        fused = fusion.logits(log_image[row : row + 1], scores[row : row + 1])[0].exp().tolist()
        products = [a**share * b ** (1 - share) for a, b in zip(fused, image, strict=True)]
        expected = [product / sum(products) for product in products]
        assert answers[row].tolist() == pytest.approx(expected, rel=1e-5)
        seen.append(share)
    assert guarded.trust(lonlat).tolist() == pytest.approx(seen)
    assert sum(0.05 < share < 0.95 for share in seen) > 20
    assert seen[60] == 0


def test_no_trust_leaves_the_image_in_its_order_and_calibrated(made, fitted):
    lonlat = made.lonlat[1].clone()
    lonlat[::2] = math.nan
    scores = made.scores[1].clone()
    scores[::2] = math.nan
    log_image = made.log_image[1]
    log_image = torch.where(log_image < -9, -math.inf, log_image)
    logits = fitted.logits(log_image, scores, lonlat)
    assert logits.dtype == torch.float64
    assert bool((fitted.trust(lonlat)[::2] == 0).all())
    assert bool((fitted.trust(lonlat)[1::2] > 0).any())
    expected = log_image[::2].double() / fitted.image_temperature
    torch.testing.assert_close(logits[::2], expected)
    assert not bool(logits.isnan().any())


def test_answers_that_differ_in_the_last_digit_still_differ(fitted):
    """A temperature in float32 would round them to one, and ties are broken by number."""
    near = torch.tensor(-1.9999)
    log_image = torch.stack([near, torch.nextafter(near, torch.tensor(0.0))]).repeat(400, 1)
    log_image *= torch.linspace(0.5, 2, 400).unsqueeze(1)
    padded = torch.cat([log_image, torch.full((400, 4), -9.0)], dim=1)
    logits = fitted.logits(padded, torch.zeros_like(padded), NOWHERE.repeat(400, 1))
    assert torch.equal(logits[:, :2].diff() > 0, log_image.diff() > 0)
    assert bool((log_image.diff() > 0).any())


def test_without_enough_evidence_no_place_is_trusted(made, fitted):
    closed = GuardedFusion(
        fitted.fusion, fitted.image_temperature, fitted.guard, Evidence(0.1, 0.1), made.support
    )
    assert bool((closed.trust(made.lonlat[1]) == 0).all())
    logits = closed.logits(made.log_image[1], made.scores[1], made.lonlat[1])
    assert torch.equal(logits.argmax(1), made.log_image[1].argmax(1))
    assert fitted.evidence.enough
    assert fitted.evidence.gain > 0.1


@pytest.mark.parametrize("variant", Variant)
def test_values_survive_json(made, variant):
    first = fit_guarded_fusion(*made.held_out(), made.lonlat[0], made.support, variant)
    text = json.dumps(first.to_dict(), allow_nan=False)
    again = GuardedFusion.from_dict(json.loads(text), made.support)
    asked = made.log_image[1], made.scores[1], made.lonlat[1]
    assert torch.equal(again.logits(*asked), first.logits(*asked))
    assert again.to_dict() == first.to_dict()
    assert isinstance(again.fusion, Mixture if variant is Variant.ADDITIVE else Calibration)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("guard"),
        lambda values: values["fusion"].update(other=1.0),
        lambda values: values["fusion"].update(prior_power=-1.0),
        lambda values: values.update(evidence=[1, 2]),
    ],
)
def test_other_values_are_refused(fitted, made, change):
    values = fitted.to_dict()
    change(values)
    with pytest.raises(DataError, match="not the values of a guarded fusion"):
        GuardedFusion.from_dict(values, made.support)


def test_fitting_is_deterministic(made, fitted):
    again = fit_guarded_fusion(*made.held_out(), made.lonlat[0], made.support)
    assert again.to_dict() == fitted.to_dict()


def test_held_out_rows_without_a_place_do_not_count_for_the_place(made, fitted):
    extra = task(1)
    lonlat = torch.cat([made.lonlat[0], NOWHERE.repeat(400, 1)])
    scores = torch.cat([made.scores[0], torch.full_like(extra.scores[0], math.nan)])
    more = fit_guarded_fusion(
        torch.cat([made.log_image[0], extra.log_image[0]]),
        scores,
        torch.cat([made.labels[0], extra.labels[0]]),
        lonlat,
        made.support,
    )
    expected, found = fitted.to_dict(), more.to_dict()
    assert found.pop("image_temperature") != expected.pop("image_temperature")
    assert found == expected


@pytest.mark.parametrize("placed", [0, 1, 15])
def test_few_rows_are_no_evidence(made, placed):
    lonlat = made.lonlat[0].clone()
    lonlat[placed:] = math.nan
    fusion = fit_guarded_fusion(*made.held_out(), lonlat, made.support)
    assert bool((fusion.trust(made.lonlat[1]) == 0).all())
    assert fusion.image_temperature > 1.2
    json.dumps(fusion.to_dict(), allow_nan=False)


def test_sixteen_rows_are_evidence_where_the_place_says_it_all():
    lonlat = torch.stack([torch.linspace(-170, 170, 16), torch.zeros(16)], dim=1)
    labels = torch.arange(16) % 2
    scores = torch.where(torch.eye(2)[labels] > 0, 3.0, -3.0)
    fusion = fit_guarded_fusion(torch.zeros(16, 2), scores, labels, lonlat, Support(lonlat))
    assert fusion.evidence.enough
    assert bool((fusion.trust(lonlat) > 0.9).all())
    away = lonlat + torch.tensor([0.0, 1.0])
    assert bool((fusion.trust(away) == 0).all())  # no held-out label is away from all places


def test_one_class_and_one_spot_make_no_trouble():
    spot = torch.tensor([[8.5, 47.4]]).repeat(40, 1)
    zeros = torch.zeros(40, 1)
    fusion = fit_guarded_fusion(zeros, zeros, torch.zeros(40).long(), spot, Support(spot))
    assert not fusion.evidence.enough
    assert fusion.logits(zeros, zeros, spot).tolist() == [[0.0]] * 40
    assert fusion.logits(zeros[:0], zeros[:0], spot[:0]).shape == (0, 1)


def test_a_disagreement_is_given_both_times_or_never(made, fitted):
    disagreement = torch.rand(2000, generator=torch.Generator().manual_seed(0))
    with pytest.raises(DataError, match="goes by 2 signals, got 3"):
        fitted.trust(made.lonlat[1], disagreement)
    other = fit_guarded_fusion(
        *made.held_out(), made.lonlat[0], made.support, disagreement=disagreement[:400]
    )
    with pytest.raises(DataError, match="goes by 3 signals, got 2"):
        other.logits(made.log_image[1], made.scores[1], made.lonlat[1])
    trust = other.trust(made.lonlat[1], 50 * disagreement)
    assert bool((trust[disagreement > 0.1] == 0).all())  # more than ever seen


def test_what_does_not_fit_is_told(made, fitted):
    log_image, scores, labels = made.held_out()
    lonlat, support = made.lonlat[0], made.support
    lost = scores.index_fill(0, torch.tensor(7), math.nan)
    wrong = torch.zeros(400).index_fill(0, torch.tensor(9), math.nan)
    far = lonlat.index_fill(0, torch.tensor(5), 95.0)
    with pytest.raises(DataError, match=r"must be \(N, Q\), \(N, Q\) and \(N,\)"):
        fit_guarded_fusion(log_image, scores[:3], labels, lonlat, support)
    with pytest.raises(DataError, match=r"lonlat must be \(400, 2\), got \(399, 2\)"):
        fit_guarded_fusion(log_image, scores, labels, lonlat[1:], support)
    with pytest.raises(DataError, match="presence scores of row 7 are not finite"):
        fit_guarded_fusion(log_image, lost, labels, lonlat, support)
    with pytest.raises(DataError, match="disagreements of row 9 are not finite"):
        fit_guarded_fusion(log_image, scores, labels, lonlat, support, disagreement=wrong)
    with pytest.raises(ValueError, match=r"row 5 .*latitude must be in"):
        fit_guarded_fusion(log_image, scores, labels, far, support)
    with pytest.raises(DataError, match=r"and lonlat must be .* got \(400, 6\), \(400, 6\) and"):
        fitted.logits(log_image, scores, lonlat[:1])
