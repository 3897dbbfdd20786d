import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import geocsp
from geocsp.classifier import GeoClassifier
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.fusion import Calibration, Mixture, Support, fit_guarded_fusion
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoModel, GeoPrior
from geocsp.train.finetune import ImageHead

NAMES = ("fox", "owl", "hare")
DRAW = torch.Generator().manual_seed(0)
PLACES = sample_sphere(80, DRAW)
FEATURES = torch.randn(80, 5, generator=DRAW)
LABELS = torch.randint(3, (80,), generator=DRAW)


def classifier(kind=LinearPrior, aligned=False, fusion=None, support=None):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        location = geocsp.create("location", "wrap", dim=8)
        model = GeoModel(location, 5).eval()
        prior = kind(location, NAMES).eval()
        size = 8 if aligned else 5
        head = ImageHead(torch.randn(size), torch.rand(size) + 0.5, nn.Linear(size, 3))
    return GeoClassifier(model, prior, head, aligned=aligned, fusion=fusion, support=support).eval()


def guarded():
    start = classifier()
    said = start.image_logits(FEATURES).log_softmax(1)
    scores = start.class_scores(PLACES)
    return fit_guarded_fusion(said, scores, LABELS, PLACES, Support(PLACES[:40]))


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("kind", [LinearPrior, GeoPrior])
def test_the_answers_are_those_of_the_parts(kind, aligned):
    model = classifier(kind, aligned, Calibration(1.5, 2.0, 0.7))
    seen = F.normalize(model.model.project_image(FEATURES), dim=1) if aligned else FEATURES
    logits = model.head((seen - model.head_mean) / model.head_deviation).detach()
    assert torch.allclose(model.image_probabilities(FEATURES), logits.softmax(1))
    scores = model.prior.class_scores(PLACES)
    expected = logits.softmax(1).pow(1 / 1.5) * (scores / 2).sigmoid().pow(0.7)
    expected /= expected.sum(1, keepdim=True)
    assert torch.allclose(model.probabilities(FEATURES, PLACES), expected, atol=1e-5)
    assert torch.equal(model.class_probabilities(PLACES), scores.sigmoid())
    assert torch.equal(model.embed(PLACES), model.model.location.embed(PLACES))


def test_an_image_without_a_place_keeps_its_answer():
    places = PLACES.clone()
    places[3] = torch.nan
    answers = classifier().probabilities(FEATURES, places)
    assert torch.allclose(answers[3], classifier().image_probabilities(FEATURES)[3])
    assert not torch.allclose(answers[4], classifier().image_probabilities(FEATURES)[4])


@pytest.mark.parametrize("fusion", [None, Calibration(2.0, 0.5, 0.1), Mixture(1.0, 2.0, 0.3)])
def test_a_folder_keeps_all_of_it(fusion, tmp_path):
    model = classifier(aligned=True, fusion=fusion)
    found = GeoClassifier.from_pretrained(model.save_pretrained(tmp_path))
    assert found.fusion == model.fusion
    assert found.class_names == NAMES
    assert torch.equal(found.probabilities(FEATURES, PLACES), model.probabilities(FEATURES, PLACES))


def test_a_folder_keeps_a_guarded_fusion_with_its_support(tmp_path):
    model = classifier(fusion=guarded(), support=PLACES[:40])
    assert model.fusion.evidence.error > 0
    found = GeoClassifier.from_pretrained(model.save_pretrained(tmp_path))
    assert torch.equal(found.fusion.trust(PLACES), model.fusion.trust(PLACES))
    assert torch.equal(found.fusion.support.km(PLACES), Support(PLACES[:40]).km(PLACES))
    assert torch.equal(found.probabilities(FEATURES, PLACES), model.probabilities(FEATURES, PLACES))


def test_a_damaged_fusion_is_a_data_error(tmp_path):
    folder = classifier(fusion=guarded(), support=PLACES[:40]).save_pretrained(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    del config["fusion"]["evidence"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="guarded fusion"):
        GeoClassifier.from_pretrained(folder)


def test_parts_that_do_not_fit_are_refused():
    model = classifier()
    head = ImageHead(torch.zeros(5), torch.ones(5), nn.Linear(5, 4))
    with pytest.raises(ValueError, match="4 classes, the prior 3"):
        GeoClassifier(model.model, model.prior, head)
    with pytest.raises(ValueError, match="needs the places"):
        classifier(fusion=guarded())
