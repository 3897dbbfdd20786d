"""The guard on tasks made so that it is known whether the place helps."""

import pytest
import torch
from constructed import hemisphere, image_of, task
from torch.nn import functional as F

from geocsp.fusion import (
    Calibration,
    Support,
    Variant,
    ensemble,
    fit_calibration,
    fit_fusion,
    fit_guarded_fusion,
)

SEEDS = range(6)


def guarded(made, variant=Variant.POWER):
    return fit_guarded_fusion(*made.held_out(), made.lonlat[0], made.support, variant)


def fused(made, fusion):
    return made.accuracy(fusion.logits(made.log_image[1], made.scores[1]))


def answered(made, fusion):
    return made.accuracy(fusion.logits(made.log_image[1], made.scores[1], made.lonlat[1]))


@pytest.mark.parametrize("variant", Variant)
def test_a_place_without_information_does_no_harm(variant):
    lost, lost_by_product, opened = [], [], 0
    for seed in SEEDS:
        made = task(seed, informative=False)
        fusion = guarded(made, variant)
        lost.append(made.image_alone() - answered(made, fusion))
        lost_by_product.append(made.image_alone() - fused(made, Calibration()))
        opened += bool(fusion.trust(made.lonlat[1]).max() > 0)
    assert min(lost_by_product) > 2
    assert max(lost) < 0.7  # of 2000 rows, one standard error is 1.1 per cent
    assert opened <= 2


@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("held_out_north", [True, False])
def test_a_place_that_misleads_off_region_is_not_asked_there(variant, held_out_north):
    for seed in SEEDS[:3]:
        made = task(seed, swapped=True, held_out_north=held_out_north)
        fusion = guarded(made, variant)
        logits = fusion.logits(made.log_image[1], made.scores[1], made.lonlat[1])
        right = logits.argmax(1) == made.labels[1]
        alone = made.log_image[1].argmax(1) == made.labels[1]
        product = Calibration().logits(made.log_image[1], made.scores[1]).argmax(1)
        north, south = made.lonlat[1][:, 1] > 0, made.lonlat[1][:, 1] < -25
        gain = right.double() - alone.double()
        product_gain = (product == made.labels[1]).double() - alone.double()
        assert product_gain[south].mean() < -0.1
        assert product_gain.mean() < 0
        assert gain[south].mean() > -0.01
        assert gain[north].mean() > 0.08
        assert gain.mean() > 0.03
        trust = fusion.trust(made.lonlat[1])
        assert trust[south].mean() < 0.05
        assert trust[north].mean() > 0.35


def test_beyond_what_held_out_labels_cover_the_order_is_that_of_the_image():
    made = task(0, swapped=True, held_out_north=True)
    fusion = guarded(made)
    far = made.support.km(made.lonlat[1]) > 2 * made.support.km(made.lonlat[0]).max()
    assert far.sum() > 500
    assert bool((fusion.trust(made.lonlat[1])[far] == 0).all())
    logits = fusion.logits(made.log_image[1], made.scores[1], made.lonlat[1])
    order = logits[far].argsort(dim=1, stable=True)
    assert torch.equal(order, made.log_image[1][far].argsort(dim=1, stable=True))


@pytest.mark.parametrize("variant", [Variant.TEMPERATURES, Variant.POWER, Variant.ADDITIVE])
def test_most_of_what_an_informative_place_gives_is_kept(variant):
    for seed in SEEDS[:4]:
        made = task(seed)
        alone = made.image_alone()
        gain = fused(made, fit_fusion(*made.held_out(), variant)) - alone
        assert gain > 7
        assert answered(made, guarded(made, variant)) - alone > 0.85 * gain


def test_where_an_ensemble_disagrees_the_place_is_not_asked():
    """In half of the rows, which are anywhere, priors know the class; in others each guesses."""
    generator = torch.Generator().manual_seed(0)
    lonlat = hemisphere(2400, generator)
    labels = torch.randint(6, (2400,), generator=generator)
    log_image = image_of(labels, generator)
    known = torch.rand(2400, generator=generator) < 0.5
    guesses = torch.randint(6, (5, 2400), generator=generator)
    said = F.one_hot(torch.where(known, labels, guesses), 6)
    scores, disagreement = ensemble(4.0 * said - 2.0 + torch.randn(said.shape, generator=generator))
    support = Support(hemisphere(100, generator))
    held, test = slice(400), slice(400, None)

    def accuracy(logits):
        return 100 * float((logits.argmax(1) == labels[test]).double().mean())

    rows = (log_image[held], scores[held], labels[held])
    asked = log_image[test], scores[test]
    calibrated = accuracy(fit_calibration(*rows).logits(*asked))
    blind = fit_guarded_fusion(*rows, lonlat[held], support)
    seeing = fit_guarded_fusion(*rows, lonlat[held], support, disagreement=disagreement[held])
    with_it = accuracy(seeing.logits(*asked, lonlat[test], disagreement[test]))
    without = accuracy(blind.logits(*asked, lonlat[test]))
    trust = seeing.trust(lonlat[test], disagreement[test])
    assert with_it > max(calibrated, without) + 2
    assert without > accuracy(log_image[test]) + 5
    assert trust[known[test]].mean() > 0.7
    assert trust[~known[test]].mean() < 0.1
