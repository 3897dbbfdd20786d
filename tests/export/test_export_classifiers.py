"""Images, and images with places, as ONNX."""

import pytest
import torch
from small_models import (
    NAN,
    answers,
    classifier,
    features,
    geo_model,
    guarded,
    image_encoder,
    places,
)

import geocsp
from geocsp.errors import DataError
from geocsp.export import Part, export_onnx, graphs
from geocsp.fusion import Calibration, Mixture

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def test_images_become_embeddings(tmp_path):
    model, images = geo_model(image_encoder()), torch.randn(9, 3, 8, 8)
    export_onnx(model, tmp_path / "embedding.onnx", Part.IMAGE)
    found = answers(tmp_path / "embedding.onnx", images=images)["embedding"]
    torch.testing.assert_close(found, model.embed_images(images), **CLOSE)


def test_features_become_logits_and_probabilities(tmp_path):
    whole, images = classifier(aligned=True), features(9)
    export_onnx(whole, tmp_path / "classes.onnx", Part.IMAGE)
    found = answers(tmp_path / "classes.onnx", images=images)
    torch.testing.assert_close(found["logits"], whole.image_logits(images), **CLOSE)
    expected = whole.image_probabilities(images)
    torch.testing.assert_close(found["probabilities"], expected, **CLOSE)


SUPPORT = places(60, seed=9)


@pytest.mark.parametrize(
    "joined",
    [
        {"fusion": Calibration(1.3, 2.0, 0.7)},
        {"fusion": Mixture(1.3, 2.0, 0.4)},
        {"fusion": guarded(Calibration(1.3, 2.0, 0.7), SUPPORT), "support": SUPPORT},
        {"fusion": guarded(Mixture(1.3, 2.0, 0.4), SUPPORT[:3]), "support": SUPPORT[:3]},
        {"fusion": guarded(Calibration(), SUPPORT, gain=0.1), "support": SUPPORT},
    ],
)
def test_the_classifier_joins_image_and_place(tmp_path, joined):
    model = classifier(**joined)
    export_onnx(model, tmp_path / "a.onnx")
    where = torch.cat([places(), SUPPORT, torch.tensor([[NAN, 0], [0, NAN], [NAN, NAN]])])
    images = features(len(where))
    found = answers(tmp_path / "a.onnx", images=images, lonlat=where)["probabilities"]
    torch.testing.assert_close(found, model.probabilities(images, where), **CLOSE)
    alone = model.image_probabilities(images)
    torch.testing.assert_close(found[-3:], alone[-3:], **CLOSE)
    evidence = getattr(model.fusion, "evidence", None)
    if evidence is None or evidence.enough:
        assert float((found - alone)[:-3].abs().max()) > 0.05
    outside = torch.tensor([[200.0, 0.0]])
    refused = answers(tmp_path / "a.onnx", images=images[:1], lonlat=outside)["probabilities"]
    assert bool(refused.isnan().all())


def test_the_classifier_takes_pixels(tmp_path):
    model = classifier(image=image_encoder())
    written = export_onnx(model, tmp_path / "a.onnx")
    assert written.inputs == {"images": (None, 3, 8, 8), "lonlat": (None, 2)}
    images = torch.randn(len(places()), 3, 8, 8)
    found = answers(tmp_path / "a.onnx", images=images, lonlat=places())["probabilities"]
    torch.testing.assert_close(found, model.probabilities(images, places()), **CLOSE)


def test_signals_of_the_graph_are_those_of_the_fusion():
    from geocsp.fusion import Support
    from geocsp.fusion.trust import signals_of

    where = torch.cat([places(), SUPPORT[:5], SUPPORT[:5] + 1e-3])
    for support in (SUPPORT, SUPPORT[:1], SUPPORT[:4]):
        found = graphs.Near(support)(where)
        expected = signals_of(Support(support), where, None)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-3)


def test_a_large_support_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "MOST_SUPPORT", 10)
    model = classifier(fusion=guarded(Calibration(), SUPPORT), support=SUPPORT)
    with pytest.raises(DataError, match="parts image and prior"):
        export_onnx(model, tmp_path / "a.onnx")
    without = classifier(fusion=guarded(Calibration(), SUPPORT, gain=0.0), support=SUPPORT)
    assert graphs.ClassifierGraph(without).near is None


def test_certain_priors_keep_their_order(tmp_path):
    model = classifier(kind=geocsp.LinearPrior)
    with torch.no_grad():
        model.prior.class_matrix.weight.mul_(40)
    assert float(model.class_scores(places()).min()) < -40
    export_onnx(model, tmp_path / "a.onnx")
    images = features(len(places()))
    found = answers(tmp_path / "a.onnx", images=images, lonlat=places())["probabilities"]
    torch.testing.assert_close(found, model.probabilities(images, places()), **CLOSE)
