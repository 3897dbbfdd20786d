import json

import pytest
import torch
from test_classifier import FEATURES, NAMES, PLACES, classifier

import geocsp
from geocsp.classifier import GeoClassifier
from geocsp.config import write_config
from geocsp.errors import DataError
from geocsp.images import EfficientNetLite0
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoModel, GeoPrior
from geocsp.models import fingerprint_of, geo_model_of, load, load_with_images, prior_of, run_of
from geocsp.presets import BEST


def encoder():
    return geocsp.create("location", "wrap", dim=8).eval()


@pytest.mark.parametrize(
    "model",
    [
        encoder(),
        GeoModel(encoder(), 5),
        GeoPrior(encoder(), NAMES),
        LinearPrior(encoder(), NAMES),
        classifier(),
    ],
    ids=lambda model: model.kind,
)
def test_every_kind_of_model_comes_back_from_its_folder(model, tmp_path):
    found = load(model.save_pretrained(tmp_path))
    assert found.kind == model.kind
    assert torch.equal(found.embed(PLACES), model.embed(PLACES))
    assert fingerprint_of(found) == fingerprint_of(model)


def test_a_run_folder_names_its_model_and_a_run_without_one_its_prior(tmp_path):
    prior = GeoPrior(encoder(), NAMES)
    prior.save_pretrained(tmp_path / "prior")
    assert isinstance(load(tmp_path), GeoPrior)
    GeoModel(encoder(), 5).save_pretrained(tmp_path / "model")
    assert isinstance(load(tmp_path), GeoModel)
    assert run_of(tmp_path / "model") is None
    (tmp_path / "config.yaml").write_text(write_config(BEST))
    assert run_of(tmp_path / "model") == run_of(tmp_path) == tmp_path


@pytest.mark.parametrize("content", ["{", "[]", '{"model": "Toaster"}', "{}"])
def test_a_damaged_folder_is_a_data_error(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"config\.json is damaged"):
        load(tmp_path)


def test_what_holds_no_model_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "absent")
    with pytest.raises(DataError, match=r"holds no model: neither config\.json"):
        load(tmp_path)


def test_the_image_encoder_of_a_run_is_found(tmp_path):
    image = EfficientNetLite0(pixels=64)
    model = GeoModel(encoder(), image.dim)
    model.standardise_by(torch.randn(20, image.dim))
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(DataError, match="does not say of which encoder"):
        load_with_images(tmp_path)
    settings = write_config(BEST).replace("pixels: null", "pixels: 64")
    assert "pixels: 64" in settings
    (tmp_path / "config.yaml").write_text(settings)
    found = load_with_images(tmp_path)
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.embed_images(image.eval()(pixels))
    assert torch.allclose(found.embed_images(pixels), expected, atol=1e-6)
    assert torch.equal(
        load_with_images(tmp_path / "model").embed_images(pixels), found.embed_images(pixels)
    )


def test_features_of_another_encoder_are_noticed(tmp_path):
    GeoModel(encoder(), 5).save_pretrained(tmp_path / "model")
    (tmp_path / "config.yaml").write_text(write_config(BEST))
    with pytest.raises(DataError, match="other features than those of efficientnet-lite0"):
        load_with_images(tmp_path)


def test_a_model_that_lacks_a_part_is_told(tmp_path):
    whole = classifier()
    assert geo_model_of(whole, "x") is whole.model
    assert prior_of(whole, "x") is whole.prior
    prior = GeoPrior(encoder(), NAMES)
    assert prior_of(prior, "x") is prior
    with pytest.raises(DataError, match="knows places but no images"):
        geo_model_of(prior, "x")
    with pytest.raises(DataError, match="knows no classes"):
        prior_of(GeoModel(encoder(), 5), "x")
    with pytest.raises(DataError, match="takes no images"):
        load_with_images(prior.save_pretrained(tmp_path / "prior"))
    with pytest.raises(DataError, match="no image encoder"):
        load_with_images(whole.save_pretrained(tmp_path / "classifier"))


def test_a_classifier_with_its_encoder_takes_pixels(tmp_path):
    image = geocsp.create("image", "efficientnet-lite0", pixels=64)
    model = GeoModel(encoder(), image.dim, image=image)
    linear = torch.nn.Linear(image.dim, 3)
    head = geocsp.ImageHead(torch.zeros(image.dim), torch.ones(image.dim), linear)
    whole = GeoClassifier(model, LinearPrior(encoder(), NAMES), head).eval()
    found = load_with_images(whole.save_pretrained(tmp_path))
    pixels = torch.rand(2, 3, 64, 64)
    expected = whole.probabilities(pixels, PLACES[:2])
    assert torch.equal(found.probabilities(pixels, PLACES[:2]), expected)
    assert json.loads((tmp_path / "config.json").read_text())["geo_model"]["image"]
    assert FEATURES.shape[1] != image.dim


def test_a_folder_does_not_start_a_download(tmp_path):
    image = geocsp.create("image", "efficientnet-lite0", pixels=64)
    folder = GeoModel(encoder(), image.dim, image=image).save_pretrained(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["image"] = {
        "name": "transformers",
        "settings": {"source": "hf-internal-testing/nowhere", "allow_download": True},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"allow_download|--allow-download|not on this computer"):
        load(folder)
