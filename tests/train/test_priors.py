from dataclasses import replace

import pytest
import torch

import geocsp
from geocsp import GeoPrior, ImageTeacher, finetune, fit_linear_prior, self_train, train_prior
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.linear_prior import LinearPrior
from geocsp.predict import fit_calibration, fused_logits
from geocsp.presets import BEST, Component, Preset
from geocsp.train.finetune import FinetuneSettings

NAMES = ("a", "b", "c")
PLACES = sample_sphere(150, torch.Generator().manual_seed(0))
TRUTH = (PLACES[:, 0] > 0).long() + (PLACES[:, 1] > 20).long()
KNOWN = torch.tensor([140, 3, 17, 50, 51, 88, 9, 120])
LABELS = torch.full((150,), -1).index_copy(0, KNOWN, TRUTH[KNOWN])
ROWS = KNOWN.sort().values
HELD = sample_sphere(60, torch.Generator().manual_seed(1))
HELD_TRUTH = (HELD[:, 0] > 0).long() + (HELD[:, 1] > 20).long()


def seen(truth, seed):
    """What an image classifier says that is right more often than not."""
    noise = torch.randn(len(truth), 3, generator=torch.Generator().manual_seed(seed))
    return (2 * torch.nn.functional.one_hot(truth, 3) + noise).log_softmax(dim=1)


TEACHER = ImageTeacher(seen(TRUTH, 2), seen(HELD_TRUTH, 3), HELD, HELD_TRUTH)
LINEAR = replace(BEST, location=Component("wrap", {"dim": 16, "hidden": 32}))
TUNED = replace(LINEAR, linear=None, finetune=FinetuneSettings(steps=4, batch_size=8))


def pretrained(preset=LINEAR):
    return preset.build_model(12, seed=7)


def trained(preset, **changes):
    given = {"lonlat": PLACES, "labels": LABELS, "seed": 0} | changes
    return train_prior(preset, NAMES, given.pop("lonlat"), given.pop("labels"), **given)


@pytest.mark.parametrize("model", [None, pretrained()], ids=["new", "pretrained"])
def test_a_preset_without_a_linear_head_is_fine_tuned_on_the_labelled_places(model):
    found = trained(TUNED, pretrained=model)
    expected = TUNED.build_prior(NAMES, 0, model)
    finetune(expected, PLACES[ROWS], TRUTH[ROWS], TUNED.finetune, seed=0)
    assert isinstance(found, GeoPrior)
    assert torch.equal(found.class_scores(PLACES), expected.class_scores(PLACES))
    other = trained(TUNED, pretrained=model, seed=1)
    assert not torch.equal(found.class_scores(PLACES), other.class_scores(PLACES))


def test_a_linear_head_is_standardised_by_all_training_places():
    model = pretrained()
    found = trained(LINEAR, pretrained=model)
    expected = fit_linear_prior(
        model.location, PLACES[ROWS], TRUTH[ROWS], NAMES, LINEAR.linear, unlabelled=PLACES
    )
    assert isinstance(found, LinearPrior)
    assert torch.equal(found.class_scores(PLACES), expected.class_scores(PLACES))


def test_image_and_place_teach_the_prior_on_images_without_labels():
    model = pretrained()
    found = trained(LINEAR, pretrained=model, teacher=TEACHER)
    first = trained(LINEAR, pretrained=model)
    calibration = fit_calibration(TEACHER.held_out, first.class_scores(HELD), HELD_TRUTH)
    said = fused_logits(TEACHER.train, first.class_scores(PLACES), calibration).softmax(dim=1)
    expected = self_train(first, PLACES, said, ROWS, TRUTH[ROWS], LINEAR.linear.self_training)
    assert torch.equal(found.class_scores(PLACES), expected.class_scores(PLACES))
    fresh = sample_sphere(400, torch.Generator().manual_seed(4))
    truth = (fresh[:, 0] > 0).long() + (fresh[:, 1] > 20).long()
    right, before = (
        float((p.class_scores(fresh).argmax(dim=1) == truth).double().mean())
        for p in (found, first)
    )
    assert right > before + 0.1


def test_without_self_training_in_the_preset_there_is_no_teacher():
    alone = replace(LINEAR, linear=replace(LINEAR.linear, self_training=None))
    model = pretrained()
    found = trained(alone, pretrained=model).class_scores(PLACES)
    assert torch.equal(found, trained(LINEAR, pretrained=model).class_scores(PLACES))
    for preset in (alone, TUNED):
        with pytest.raises(ValueError, match="no self-training, so it takes no teacher"):
            trained(preset, pretrained=model, teacher=TEACHER)


def test_the_pretrained_model_stays_as_it_is():
    model = pretrained()
    before = model.embed(PLACES)
    for preset, teacher in ((TUNED, None), (LINEAR, TEACHER)):
        prior = trained(preset, pretrained=model, teacher=teacher)
        assert not prior.training
        assert torch.equal(model.embed(PLACES), before)


def test_times_reach_every_step():
    preset = replace(LINEAR, location=Component("wrap", {"dim": 16, "date_harmonics": 1}))
    time = torch.rand(150, 2, generator=torch.Generator().manual_seed(5))
    held = torch.rand(60, 2, generator=torch.Generator().manual_seed(6))
    tuned = replace(preset, linear=None, finetune=TUNED.finetune)
    model = pretrained(preset)
    teacher = replace(TEACHER, time=held)
    told = [
        trained(tuned, time=time),
        trained(tuned),
        trained(preset, pretrained=model, time=time),
        trained(preset, pretrained=model),
        trained(preset, pretrained=model, time=time, teacher=teacher),
        trained(preset, pretrained=model, time=time, teacher=TEACHER),
    ]
    scores = [prior.class_scores(PLACES, time) for prior in told]
    for one, other in ((0, 1), (2, 3), (4, 5), (2, 4)):
        assert not torch.allclose(scores[one], scores[other], atol=1e-4)


@pytest.mark.parametrize(
    ("preset", "changes", "error", "message"),
    [
        (LINEAR, {"pretrained": None}, ValueError, "linear head on a pre-trained model"),
        (LINEAR, {"labels": LABELS[:5]}, DataError, "5 labels, 150 rows"),
        (TUNED, {"labels": LABELS[:5]}, DataError, "5 labels, 150 rows"),
        (LINEAR, {"labels": torch.full((150,), -1)}, DataError, "at least one: 0 labels"),
        (TUNED, {"labels": torch.full((150,), -1)}, DataError, "at least one: 0 labels"),
        (LINEAR, {"labels": LABELS.index_fill(0, KNOWN[3], 3)}, DataError, "label of row 50 is 3"),
        (LINEAR, {"labels": LABELS.index_fill(0, KNOWN[3], -2)}, DataError, "of row 50 is -2"),
        (LINEAR, {"labels": LABELS.float()}, DataError, "must be int64"),
        (LINEAR, {"lonlat": PLACES.index_fill(0, KNOWN[3], torch.nan)}, ValueError, "row 50"),
        (TUNED, {"lonlat": PLACES.index_fill(0, KNOWN[3], torch.nan)}, ValueError, "row 50"),
        (
            LINEAR,
            {"teacher": replace(TEACHER, train=TEACHER.train[1:])},
            DataError,
            r"every training place and class, \(150, 3\), got \(149, 3\)",
        ),
        (
            LINEAR,
            {"teacher": replace(TEACHER, train=TEACHER.train * torch.nan)},
            DataError,
            "probabilities of row 0 are not finite",
        ),
        (
            LINEAR,
            {"teacher": replace(TEACHER, labels=HELD_TRUTH[1:])},
            DataError,
            "log_image, scores and labels must be",
        ),
    ],
)
def test_bad_input_is_told(preset, changes, error, message):
    with pytest.raises(error, match=message):
        trained(preset, **({"pretrained": pretrained()} | changes))


def test_every_preset_that_learns_from_images_trains_a_prior_for_fusing():
    preset = Preset(location=Component("wrap", {"dim": 8}), finetune=TUNED.finetune)
    for one in (preset, LINEAR):
        prior = trained(one, pretrained=one.build_model(12, seed=0))
        fused = geocsp.fuse(TEACHER.held_out.exp(), prior, HELD)
        torch.testing.assert_close(fused.sum(dim=1), torch.ones(60))
