from dataclasses import replace

import numpy as np
import pytest
import torch

from geocsp.coords import sample_sphere
from geocsp.data.table import Categories
from geocsp.errors import DataError
from geocsp.fusion import Support, fit_guarded_fusion
from geocsp.presets import BEST, Component
from geocsp.train.classifier import _parts, train_classifier
from geocsp.train.examples import Examples
from geocsp.train.finetune import FinetuneSettings, train_image_head

NAMES = ("south", "middle", "north")
PRESET = replace(BEST, location=Component("wrap", {"dim": 16, "hidden": 32}))
TUNED = replace(PRESET, linear=None, finetune=FinetuneSettings(steps=4, batch_size=8))


def examples(count=300, labelled=120, noise=3.0, seed=0):
    """Places whose class is a zone of latitude, which features show with noise."""
    draw = torch.Generator().manual_seed(seed)
    places = sample_sphere(count, draw)
    truth = (places[:, 1] > -20).long() + (places[:, 1] > 20).long()
    features = torch.eye(3)[truth].repeat(1, 2) + noise * torch.randn(count, 6, generator=draw)
    labels = torch.full((count,), -1)
    labels[:labelled] = truth[:labelled]
    return Examples(features, places, label=Categories(labels.numpy(), NAMES)), truth


def trained(preset=PRESET, given=None, **options):
    given = examples()[0] if given is None else given
    model = preset.build_model(6, seed=3)
    return model, *train_classifier(preset, model, given, seed=0, **options)


def test_head_prior_and_fusion_are_those_of_the_functions_it_joins():
    given, truth = examples()
    held = torch.arange(90, 120)
    model, classifier, report = trained(given=given, held_out=held)
    taught = torch.arange(90)
    rest = torch.cat([taught, torch.arange(120, 300)])
    seen = model.embed_images(given.images) if report.aligned else given.images
    head = train_image_head(seen[taught], truth[taught], 3, penalty=100.0, unlabelled=seen[rest])
    assert torch.allclose(classifier.image_logits(given.images), head.logits(seen), atol=1e-5)
    said = head.logits(seen).log_softmax(1)[held]
    scores = classifier.class_scores(given.lonlat[held])
    fusion = fit_guarded_fusion(
        said, scores, truth[held], given.lonlat[held], Support(given.lonlat[taught].double())
    )
    found = classifier.fusion.logits(said, scores, given.lonlat[held])
    assert torch.allclose(found, fusion.logits(said, scores, given.lonlat[held]))
    assert (report.labelled, report.held_out, report.unlabelled) == (90, 30, 180)
    assert report.top1["image"] == pytest.approx(
        float((said.argmax(1) == truth[held]).float().mean())
    )
    assert (report.gain, report.error) == pytest.approx(
        (fusion.evidence.gain, fusion.evidence.error), rel=1e-4
    )


def test_the_head_that_makes_held_out_labels_likelier_is_chosen():
    given, truth = examples()
    held = torch.arange(60, 120)
    model, _, report = trained(given=given, held_out=held)
    losses = {}
    for aligned in (False, True):
        seen = model.embed_images(given.images) if aligned else given.images
        rest = torch.ones(300, dtype=torch.bool)
        rest[held] = False
        head = train_image_head(seen[:60], truth[:60], 3, penalty=100.0, unlabelled=seen[rest])
        losses[aligned] = torch.nn.functional.cross_entropy(head.logits(seen[held]), truth[held])
    assert report.aligned == (losses[True] < losses[False])


def test_every_label_calibrates_while_it_is_held_out_and_is_trained_on_in_the_end():
    given, truth = examples()
    model, classifier, report = trained(TUNED, given)
    assert (report.labelled, report.held_out, report.folds) == (120, 120, 5)
    seen = model.embed_images(given.images) if report.aligned else given.images
    head = train_image_head(seen[:120], truth[:120], 3, penalty=100.0, unlabelled=seen)
    assert torch.allclose(classifier.image_logits(given.images), head.logits(seen), atol=1e-5)
    parts = _parts(given.lonlat, given.labels, torch.ones(300, dtype=torch.bool))
    right = 0.0
    for part in parts:
        taught = torch.tensor([row for row in range(120) if row not in set(part.tolist())])
        rest = torch.cat([taught, torch.arange(120, 300)]).sort().values
        held = train_image_head(
            seen[taught], truth[taught], 3, penalty=100.0, unlabelled=seen[rest]
        )
        right += float((held.logits(seen[part]).argmax(1) == truth[part]).sum())
    assert report.top1["image"] == pytest.approx(right / 120)
    assert len(classifier.support) == 120


def test_blocks_are_whole_and_photos_of_one_place_stay_together():
    given, _ = examples()
    places = given.lonlat.clone()
    places[60:90] = places[:30]
    parts = _parts(places, given.labels, torch.ones(300, dtype=torch.bool))
    fold = torch.full((300,), -1)
    for number, part in enumerate(parts):
        fold[part] = number
    assert sorted(torch.cat(parts).tolist()) == list(range(120))
    assert torch.equal(fold[60:90], fold[:30])
    assert min(len(part) for part in parts) >= 10


def test_images_without_place_are_held_out_too_where_places_are_few():
    places = sample_sphere(60, torch.Generator().manual_seed(2))
    places[20:] = float("nan")
    placed = places.isfinite().all(dim=1)
    parts = _parts(places, torch.zeros(60, dtype=torch.int64), placed)
    assert len(parts) == 4
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(60))


def test_one_class_is_nothing_to_learn():
    given, _ = examples()
    labels = np.where(given.label.codes == -1, -1, 1)
    with pytest.raises(DataError, match="fewer than 2 classes"):
        trained(given=replace(given, label=Categories(labels, NAMES)))


def test_the_only_image_of_a_class_does_not_calibrate():
    given, _ = examples()
    codes = given.labels.numpy().copy()
    codes[0] = 3
    given = replace(given, label=Categories(codes, (*NAMES, "rare")))
    _, classifier, report = trained(given=given)
    assert (report.labelled, report.held_out) == (120, 119)
    assert classifier.class_names[-1] == "rare"


def test_a_place_that_tells_the_class_helps_on_new_places():
    _, classifier, report = trained()
    fresh, truth = examples(400, 400, seed=5)
    alone = classifier.image_probabilities(fresh.images).argmax(1) == truth
    fused = classifier.probabilities(fresh.images, fresh.lonlat).argmax(1) == truth
    assert float(fused.float().mean()) > float(alone.float().mean()) + 0.1
    assert report.gain > report.error


def test_a_fine_tuned_prior_and_images_without_places_do():
    given = examples()[0]
    given.lonlat[::7] = torch.nan
    _, classifier, report = trained(TUNED, given)
    assert report.labelled == report.held_out == 120
    assert len(classifier.support) == int(given.lonlat[:120, 0].isfinite().sum())
    assert bool(classifier.probabilities(given.images, given.lonlat).isfinite().all())


def test_photos_of_one_town_do():
    given = examples()[0]
    given = replace(given, lonlat=given.lonlat / 1000 + torch.tensor([7.0, 50.0]))
    assert trained(given=given)[2].folds == 5


def test_the_same_seed_gives_the_same_classifier():
    first, second = trained()[1], trained()[1]
    given = examples()[0]
    assert torch.equal(
        first.probabilities(given.images, given.lonlat),
        second.probabilities(given.images, given.lonlat),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: replace(e, label=None), "no classes"),
        (lambda e: replace(e, images=None), "image features"),
        (
            lambda e: replace(e, lonlat=torch.full((300, 2), torch.nan)),
            "0 different places",
        ),
        (lambda e: replace(e, lonlat=torch.zeros(300, 2)), "1 different places"),
        (lambda e: replace(e, label=Categories(np.full(300, 7), NAMES)), "label of row 0 is 7"),
    ],
)
def test_what_cannot_be_trained_on_is_told(change, message):
    with pytest.raises(DataError, match=message):
        trained(given=change(examples()[0]))
