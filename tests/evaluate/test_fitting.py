import math

import numpy as np
import pytest
import torch
from small_evaluations import OURS, ToySource, small_rows
from torch.nn import functional as F

from geocsp import GeoPrior
from geocsp.evaluate import Measure, Shot
from geocsp.evaluate.fitting import Setting, fit_place, fuse_all
from geocsp.evaluate.fitting import _possible as possible
from geocsp.fusion import Support, fit_calibration, fit_guarded_fusion
from geocsp.linear_prior import LinearPrior
from geocsp.priors import default_grid, fit_prior
from geocsp.train.finetune import finetune
from geocsp.train.linear import fit_linear_prior, self_train
from geocsp.train.pretrain import pretrain

CLASSES = 3


def setting():
    benchmark = ToySource().load()
    fold, labels = benchmark.folds["1"], benchmark.tasks["land"]
    return Setting(
        benchmark,
        labels,
        fold.train,
        fold.labelled(fold.validation, labels),
        fold.labelled(fold.test, labels),
        benchmark.subset("land", "1", Shot(ratio=0.2), 0),
    )


def image(of):
    generator = torch.Generator().manual_seed(0)
    parts = ("train", "validation", "test")
    return {
        part: torch.randn(len(getattr(of, part)), CLASSES, generator=generator).log_softmax(1)
        for part in parts
    }


def only(name):
    (row,) = small_rows(name)
    return row


def test_indices_leave_out_rows_without_a_place():
    here = setting()
    placed = here.placed(here.train)
    expected = [row for row in here.train if np.isfinite(here.benchmark.lonlat[row]).all()]
    assert placed.tolist() == expected
    assert len(placed) < len(here.train)


def test_rows_without_a_prior_have_none():
    here = setting()
    for name in ("image", "image-aligned", "simclr"):
        assert fit_place(only(name), here, image(here), 0, None) is None


@pytest.mark.parametrize("name", ["frequency", "grid-histogram", "kde", "knn"])
def test_priors_without_weights_are_chosen_on_validation_rows(name):
    here = setting()
    found = fit_place(only(name), here, image(here), 0, None)
    places, codes = here.benchmark.places, here.codes
    chosen, held = here.placed(here.subset), here.placed(here.validation)
    expected, settings = fit_prior(
        name,
        default_grid(name),
        places[chosen],
        codes[chosen],
        here.labels.names,
        places[held],
        codes[held],
    )
    assert found.settings == settings
    assert found.parameters == expected.parameters_stored
    test = here.placed(here.test)
    assert torch.equal(found.scores(places[test]), expected.class_scores(places[test]))


def test_a_supervised_prior_is_trained_on_labelled_rows_with_a_place():
    here, row = setting(), only("sup-grid")
    found = fit_place(row, here, image(here), 5, None)
    expected = row.preset.build_prior(here.labels.names, 5)
    chosen = here.placed(here.subset)
    finetune(
        expected, here.benchmark.places[chosen], here.codes[chosen], row.preset.finetune, seed=5
    )
    for one, other in zip(found.prior.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)
    assert found.parameters == sum(p.numel() for p in expected.parameters())


def pretrained(here):
    rows = here.placed(here.train)
    model = OURS.build_model(here.benchmark.features.shape[1], 0)
    model.standardise_by(here.benchmark.features[rows])
    pretrain(
        model,
        OURS.build_objective(0),
        here.benchmark.features[rows],
        here.benchmark.places[rows],
        OURS.pretrain,
        seed=0,
    )
    return model


def test_best_learns_from_what_image_and_place_say_of_all_training_places():
    here, row = setting(), only("best")
    logs, model = image(here), pretrained(here)
    found = fit_place(row, here, logs, 0, model)
    places, codes = here.benchmark.places, here.codes
    chosen, pool = here.placed(here.subset), here.placed(here.train)
    held = here.placed(here.validation)
    first = fit_linear_prior(
        model.location,
        places[chosen],
        codes[chosen],
        here.labels.names,
        OURS.linear,
        unlabelled=places[pool],
    )
    where = {row: number for number, row in enumerate(here.validation.tolist())}
    kept = [where[row] for row in held.tolist()]
    teacher = fit_calibration(
        logs["validation"][kept], first.class_scores(places[held]), codes[held]
    )
    where = {row: number for number, row in enumerate(here.train.tolist())}
    kept = [where[row] for row in pool.tolist()]
    prior = F.logsigmoid(first.class_scores(places[pool]) / teacher.prior_temperature)
    together = (
        logs["train"][kept] / teacher.image_temperature + teacher.prior_power * prior
    ).softmax(1)
    where = {row: number for number, row in enumerate(pool.tolist())}
    labelled = torch.tensor([where[row] for row in chosen.tolist()])
    expected = self_train(
        first, places[pool], together, labelled, codes[chosen], OURS.linear.self_training
    )
    test = here.placed(here.test)
    torch.testing.assert_close(
        found.scores(places[test]), expected.class_scores(places[test]), atol=1e-4, rtol=1e-4
    )
    alone = first.class_scores(places[test])
    assert float((found.scores(places[test]) - alone).abs().max()) > 0.1


def test_scores_without_a_place_are_zero():
    here = setting()
    found = fit_place(only("knn"), here, image(here), 0, None)
    nan = math.nan
    lonlat = torch.tensor([[nan, nan], [10.0, 20.0], [nan, 3.0], [5.0, nan]])
    scores = found.scores(lonlat)
    assert (scores[[0, 2, 3]] == 0).all()
    assert torch.equal(scores[1:2], found.prior.class_scores(lonlat[1:2]))
    assert (found.scores(lonlat[:1]) == 0).all()


def test_priors_with_weights_are_saved_and_load_again(tmp_path):
    here = setting()
    lonlat = torch.tensor([[10.0, 20.0], [-180.0, 90.0]])
    model = pretrained(here)
    for name, kind, given in (("sup-grid", GeoPrior, None), ("best", LinearPrior, model)):
        found = fit_place(only(name), here, image(here), 0, given)
        found.save(tmp_path / name)
        loaded = kind.from_pretrained(tmp_path / name)
        assert torch.equal(loaded.class_scores(lonlat), found.scores(lonlat))
        assert loaded.class_names == here.labels.names
    fit_place(only("knn"), here, image(here), 0, None).save(tmp_path / "knn")
    assert not (tmp_path / "knn").exists()


def fused(rows=60, zeros=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (2, rows), generator=generator)
    right = F.one_hot(labels, CLASSES)
    logs = (torch.randn(2, rows, CLASSES, generator=generator) + right).log_softmax(2)
    if zeros:
        logs = logs.masked_fill(logs < -2.5, -math.inf)
    scores = 2 * torch.randn(2, rows, CLASSES, generator=generator) + 2 * right
    lonlat = torch.rand(2, rows, 2, generator=generator) * 20
    lonlat[:, :4] = math.nan
    scores[:, :4] = 0
    support = Support(torch.rand(80, 2, generator=generator) * 20)
    found = fuse_all(tuple(logs), tuple(scores), tuple(lonlat), labels[0], support)
    return found, logs, scores, lonlat, labels, support


@pytest.mark.parametrize("zeros", [False, True])
def test_every_way_of_fusing_is_what_it_says(zeros):
    found, logs, scores, lonlat, labels, support = fused(zeros=zeros)
    assert tuple(found.logits) == tuple(Measure)
    assert found.placed.tolist() == [False] * 4 + [True] * 56
    assert torch.equal(found.logits[Measure.IMAGE], logs[1])
    place = scores[1].sigmoid().double()
    torch.testing.assert_close(found.logits[Measure.LOCATION].exp().double(), place)
    product = logs[1].double().exp() * place
    said = found.logits[Measure.PRODUCT][4:].double().exp()
    torch.testing.assert_close(said, product[4:], atol=1e-6, rtol=1e-5)
    held = logs[0].clamp_min(math.log(1e-12))[4:]
    calibration = fit_calibration(held, scores[0, 4:], labels[0, 4:])
    assert found.fitted[Measure.FUSED] == vars(calibration)
    tested = logs[1].clamp_min(math.log(1e-12))
    powered = tested / calibration.image_temperature + calibration.prior_power * F.logsigmoid(
        scores[1] / calibration.prior_temperature
    )
    torch.testing.assert_close(found.logits[Measure.FUSED][4:], powered[4:])
    guarded = fit_guarded_fusion(held, scores[0, 4:], labels[0, 4:], lonlat[0, 4:], support)
    assert found.fitted[Measure.GUARDED] == guarded.to_dict()
    expected = guarded.logits(tested, scores[1], lonlat[1])
    torch.testing.assert_close(found.logits[Measure.GUARDED][4:], expected[4:])
    for measure in (Measure.PRODUCT, Measure.FUSED, Measure.GUARDED):
        assert torch.equal(found.logits[measure][:4].float(), logs[1, :4])


def test_only_the_place_alone_goes_without_an_answer():
    found, *_ = fused()
    for measure in Measure:
        answered = found.answered(measure)
        if measure is Measure.LOCATION:
            assert torch.equal(answered, found.placed)
        else:
            assert answered is None


def test_a_class_that_the_image_rules_out_stays_out_of_the_plain_product_alone():
    found, logs, *_ = fused(zeros=True)
    never = logs[1].isneginf()
    assert never[4:].any()
    assert (found.logits[Measure.PRODUCT].isneginf() == never).all()
    for measure in (Measure.FUSED, Measure.GUARDED):
        assert found.logits[measure][4:].isfinite().all()


def test_what_is_ruled_out_is_never_likelier_than_what_is_not():
    smallest = math.log(1e-12)
    logs = torch.tensor(
        [[0.0, -math.inf, -1.0], [-40.0, 0.0, -math.inf], [-0.1, -3.0, -4.0], [-math.inf] * 3]
    )
    expected = torch.tensor(
        [[0.0, smallest, -1.0], [-40.0, 0.0, -40.0], [-0.1, -3.0, -4.0], [smallest] * 3]
    )
    assert torch.equal(possible(logs), expected)


def test_labels_of_test_rows_have_no_part_in_fusing():
    """They are not even an argument; nor do test rows change what is fitted."""
    found, logs, scores, lonlat, labels, support = fused()
    fewer = fuse_all(
        (logs[0], logs[1, :10]),
        (scores[0], scores[1, :10]),
        (lonlat[0], lonlat[1, :10]),
        labels[0],
        support,
    )
    assert fewer.fitted == found.fitted
    for measure in Measure:
        assert torch.equal(fewer.logits[measure], found.logits[measure][:10])
