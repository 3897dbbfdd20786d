import json

import numpy
import pytest
import torch
from safetensors.torch import save_file

import geocsp
from geocsp import GeoModel, GeoPrior
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.images import Framing, ModuleEncoder
from geocsp.images.resnet import ResNet, ResNetShape
from geocsp.location import LocationEncoder
from geocsp.passes import in_passes

PLACES = sample_sphere(30, torch.Generator().manual_seed(0))
FEATURES = torch.randn(30, 7, generator=torch.Generator().manual_seed(1)) * 5 + 3


def encoder(**settings):
    torch.manual_seed(0)
    return geocsp.create("location", "space2vec-grid", dim=6, frequencies=4, hidden=8, **settings)


def geo_model():
    model = GeoModel(encoder(), feature_dim=7)
    model.standardise_by(FEATURES)
    return model


def test_both_towers_meet_in_unit_vectors():
    out = geo_model()(FEATURES, PLACES)
    for tower in ("image", "location"):
        assert out[tower].shape == (30, 6)
        torch.testing.assert_close(out[tower].norm(dim=1), torch.ones(30))
    assert float(out["scale"].detach()) == pytest.approx(1 / 0.07)


def test_the_scale_is_at_most_100():
    model = GeoModel(encoder(), feature_dim=7, temperature=1e-4)
    assert float(model.scale().detach()) == pytest.approx(100.0)


def test_standardised_features_have_mean_zero_and_deviation_one():
    standard = geo_model().standardised(FEATURES)
    torch.testing.assert_close(standard.mean(0), torch.zeros(7), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(0, correction=0), torch.ones(7), atol=1e-5, rtol=0)
    assert torch.equal(GeoModel(encoder(), feature_dim=7).standardised(FEATURES), FEATURES)


def test_a_constant_feature_stays_finite():
    model = GeoModel(encoder(), feature_dim=7)
    model.standardise_by(torch.ones(5, 7))
    assert bool(model.embed_images(torch.ones(5, 7)).isfinite().all())


def test_a_saved_model_answers_to_the_bit(tmp_path):
    model = geo_model()
    loaded = GeoModel.from_pretrained(model.save_pretrained(tmp_path / "a" / "model"))
    assert torch.equal(loaded.embed(PLACES), model.embed(PLACES))
    assert torch.equal(loaded.embed_images(FEATURES), model.embed_images(FEATURES))
    assert torch.equal(loaded.log_scale, model.log_scale)
    assert not loaded.training
    assert sorted(p.name for p in (tmp_path / "a" / "model").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_a_saved_prior_answers_to_the_bit_and_keeps_its_class_names(tmp_path):
    prior = GeoPrior(encoder(), ["oak", "pine", "Ulmus × hollandica"])
    loaded = GeoPrior.from_pretrained(prior.save_pretrained(tmp_path))
    assert torch.equal(loaded.class_probabilities(PLACES), prior.class_probabilities(PLACES))
    assert loaded.class_names == ("oak", "pine", "Ulmus × hollandica")


def test_class_probabilities_are_sigmoids_of_dot_products():
    prior = GeoPrior(encoder(), 4).eval()
    scores = prior.location(PLACES) @ prior.class_matrix.weight.T
    torch.testing.assert_close(prior.class_scores(PLACES), scores.detach())
    torch.testing.assert_close(
        prior.class_probabilities(PLACES), 1 / (1 + (-scores.detach()).exp())
    )
    assert prior.class_names == ("0", "1", "2", "3")
    assert prior.embed(PLACES).shape == (30, 6)


def test_embedding_is_without_dropout_and_restores_training():
    model = geo_model().train()
    assert torch.equal(model.embed(PLACES), model.embed(PLACES))
    assert model.training
    assert not model.embed(PLACES).requires_grad


def test_many_rows_in_passes_equal_one_pass(monkeypatch):
    model = geo_model()
    whole = model.embed(PLACES)
    monkeypatch.setattr(LocationEncoder, "rows_per_pass", 7)
    torch.testing.assert_close(model.embed(PLACES), whole)
    model.train()
    with pytest.raises(ZeroDivisionError):
        in_passes(model, lambda part: 1 / 0, PLACES)
    assert model.training


def test_folders_that_do_not_hold_the_model_are_told(tmp_path):
    folder = GeoPrior(encoder(), 2).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="holds a GeoPrior, not a GeoModel"):
        GeoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors is missing"):
        GeoPrior.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{not json"),
        ("config.json", b"[]"),
        ("config.json", json.dumps({"model": "GeoPrior"}).encode()),
        ("model.safetensors", b"\x00" * 20),
    ],
)
def test_a_damaged_folder_is_one_clear_error(tmp_path, name, content):
    folder = GeoPrior(encoder(), 2).save_pretrained(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        GeoPrior.from_pretrained(folder)


def test_weights_of_another_shape_are_one_clear_error(tmp_path):
    folder = GeoPrior(encoder(), 2).save_pretrained(tmp_path)
    other = GeoPrior(encoder(), 3).save_pretrained(tmp_path / "other")
    (other / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors does not fit its .*class_matrix"):
        GeoPrior.from_pretrained(folder)


def test_an_encoder_made_by_hand_cannot_be_saved(tmp_path):
    class Own(LocationEncoder):
        def features(self, lonlat):
            return lonlat

    prior = GeoPrior(Own(2, 3, hidden=4), 2)
    with pytest.raises(DataError, match=r"Own was not made by geocsp\.create"):
        prior.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_image_embeddings_are_normalised_projections_of_standardised_features():
    model = geo_model()
    centred = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0, correction=0)
    projected = centred @ model.projection.weight.T + model.projection.bias
    expected = projected / projected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(model.encode_image(FEATURES), expected)


def test_embed_gives_the_raw_embedding_whose_direction_is_encoded():
    model = geo_model().eval()
    raw = model.embed(PLACES)
    assert float((raw.norm(dim=1) - 1).abs().min()) > 1e-3
    direction = (raw / raw.norm(dim=1, keepdim=True)).detach()
    torch.testing.assert_close(model.encode_location(PLACES).detach(), direction)


def test_parts_that_were_in_evaluation_mode_stay_so():
    prior = GeoPrior(encoder(), 2).train()
    prior.location.eval()
    prior.embed(PLACES)
    assert prior.training
    assert not prior.location.training


def test_a_bad_place_in_a_later_pass_is_told_with_its_own_row(monkeypatch):
    monkeypatch.setattr(LocationEncoder, "rows_per_pass", 7)
    broken = PLACES.clone()
    broken[23, 1] = 95
    with pytest.raises(ValueError, match="row 23 "):
        geo_model().embed(broken)


def test_a_saved_double_precision_prior_answers_to_the_bit(tmp_path):
    prior = GeoPrior(encoder(), 2).double()
    loaded = GeoPrior.from_pretrained(prior.save_pretrained(tmp_path))
    assert loaded.class_scores(PLACES).dtype == torch.float64
    assert torch.equal(loaded.class_scores(PLACES), prior.class_scores(PLACES))


@pytest.mark.parametrize(
    "location",
    [
        {"name": "unknown", "settings": {}},
        {"name": "space2vec-grid", "settings": {"min_radius": -1.0}},
    ],
)
def test_a_folder_whose_encoder_cannot_be_built_is_one_clear_error(tmp_path, location):
    folder = GeoPrior(encoder(), 2).save_pretrained(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"location": location}))
    with pytest.raises(DataError, match=r"config\.json"):
        GeoPrior.from_pretrained(folder)


def test_settings_that_json_does_not_hold_leave_a_saved_folder_alone(tmp_path):
    good = GeoPrior(encoder(), 2).eval()
    good.save_pretrained(tmp_path)
    strange = geocsp.create("location", "sinr", dim=6, environment=(numpy.int64(3), 4, 2))
    with pytest.raises(DataError, match="plain numbers"):
        strange.save_pretrained(tmp_path)
    assert torch.equal(GeoPrior.from_pretrained(tmp_path).embed(PLACES), good.embed(PLACES))


def test_a_recipe_does_not_follow_the_list_it_was_made_from():
    scales = [1.0, 4.0]
    made = geocsp.create("location", "geoclip", dim=4, waves=2, hidden=4, scales=scales)
    scales.append(9.0)
    assert made.recipe["settings"]["scales"] == [1.0, 4.0]


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
        self.body = torch.nn.Sequential(torch.nn.Conv2d(4, 7, 3), torch.nn.Dropout(0.5))

    def forward(self, image):
        return self.body(self.stem(image).relu()).mean((2, 3))


def image_encoder():
    return ModuleEncoder(Small(), framing=Framing(8), mean=128.0, deviation=60.0)


def model_of_images(*patterns):
    model = GeoModel(encoder(), feature_dim=7, image=image_encoder())
    model.standardise_by(FEATURES)
    model.train_image(*patterns)
    return model.train()


IMAGES = torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def training_parts(model):
    return {name for name, part in model.image.module.named_modules() if name and part.training}


def test_images_go_through_the_encoder_and_features_do_not():
    model = model_of_images().eval()
    features = model.image(IMAGES)
    expected = model.encode_image(features)
    torch.testing.assert_close(model.encode_image(IMAGES), expected)
    torch.testing.assert_close(model.embed_images(IMAGES), expected)
    torch.testing.assert_close(model.embed_images(IMAGES.repeat(5, 1, 1, 1))[120:], expected)
    torch.testing.assert_close(model(IMAGES, PLACES)["image"], expected)
    torch.testing.assert_close(model.standardised(IMAGES), model.standardised(features))
    with pytest.raises(ValueError, match=r"features \(B, 7\) .* got \(30, 3, 8, 8\)"):
        geo_model().encode_image(IMAGES)


def test_an_encoder_is_frozen_until_weights_of_it_are_named():
    model = model_of_images()
    assert not any(p.requires_grad for p in model.image.parameters())
    assert training_parts(model) == set()
    before = {name: value.clone() for name, value in model.image.state_dict().items()}
    model.encode_image(IMAGES).sum().backward()
    assert model.projection.weight.grad is not None
    assert all(p.grad is None for p in model.image.parameters())
    assert all(torch.equal(v, before[name]) for name, v in model.image.state_dict().items())


def test_weights_are_named_by_patterns():
    model = model_of_images("body.*")
    assert training_parts(model) == {"body", "body.0", "body.1"}
    model.encode_image(IMAGES).sum().backward()
    moved = {name for name, p in model.image.named_parameters() if p.grad is not None}
    assert moved == {"module.body.0.weight", "module.body.0.bias"}
    assert model.train_image("*bias", "module.stem.1.weight") == (
        "module.stem.0.bias",
        "module.stem.1.weight",
        "module.stem.1.bias",
        "module.body.0.bias",
    )
    assert training_parts(model) == set()  # norm over the batch keeps its statistics
    assert model.train_image() == ()
    assert not any(p.requires_grad for p in model.image.parameters())


def test_all_of_an_encoder_trains_but_for_the_statistics_of_norms():
    model = model_of_images("*")
    assert training_parts(model) == {"stem", "stem.0", "body", "body.0", "body.1"}
    before = model.image.module.stem[1].running_mean.clone()
    first, second = model.encode_image(IMAGES), model.encode_image(IMAGES)
    assert not torch.equal(first, second)  # dropout
    assert torch.equal(model.image.module.stem[1].running_mean, before)
    model.eval()
    assert training_parts(model) == set()
    assert torch.equal(model.encode_image(IMAGES), model.encode_image(IMAGES))
    model.train()
    model.embed_images(IMAGES)
    assert training_parts(model) == {"stem", "stem.0", "body", "body.0", "body.1"}


def test_a_pattern_that_matches_nothing_lists_the_names_and_changes_nothing():
    model = model_of_images("body.*")
    with pytest.raises(
        DataError, match=r"no weight is named 'layer4\.\*'; there are module\.stem\.0"
    ):
        model.train_image("*bias", "layer4.*")
    assert {n for n, p in model.image.named_parameters() if p.requires_grad} == {
        "module.body.0.weight",
        "module.body.0.bias",
    }
    with pytest.raises(DataError, match="has no image encoder"):
        geo_model().train_image("*")


def test_of_many_names_some_are_listed():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 1), *(torch.nn.Conv2d(2, 2, 1) for _ in range(5))
    )
    tower = ModuleEncoder(network, framing=Framing(4), mean=0.0, deviation=1.0)
    model = GeoModel(encoder(), feature_dim=2, image=tower)
    names = r"there are 12: module\.0\.weight, .*module\.1\.bias, \.\.\., module\.4\.weight, "
    with pytest.raises(DataError, match=names):
        model.train_image("none")


def test_sizes_of_encoder_and_projection_have_to_agree():
    with pytest.raises(ValueError, match="feature_dim is 8, but the encoder gives 7"):
        GeoModel(encoder(), feature_dim=8, image=image_encoder())


def test_a_model_with_an_image_encoder_comes_back_from_its_folder(tmp_path):
    torch.manual_seed(0)
    weights = tmp_path / "moco.safetensors"
    network = ResNet(ResNetShape((1, 1, 1, 1), bottleneck=False, width=4))
    save_file(network.state_dict(), weights)
    tower = geocsp.create("image", "moco", weights=weights, pixels=32)
    model = GeoModel(encoder(), feature_dim=tower.dim, image=tower)
    model.train_image("layer4.*", "conv1.*")
    with torch.no_grad():
        for parameter in model.image.parameters():
            if parameter.requires_grad:
                parameter += 0.1
    folder = model.save_pretrained(tmp_path / "model")
    loaded = GeoModel.from_pretrained(folder)
    images = torch.randn(3, 3, 32, 32)
    assert torch.equal(loaded.embed_images(images), model.embed_images(images))
    assert torch.equal(loaded.embed(PLACES), model.embed(PLACES))
    assert not any(p.requires_grad for p in loaded.image.parameters())
    weights.unlink()
    with pytest.raises(DataError, match=r"moco\.safetensors"):
        GeoModel.from_pretrained(folder)


def test_an_image_encoder_made_by_hand_cannot_be_saved(tmp_path):
    with pytest.raises(DataError, match=r"ModuleEncoder was not made by geocsp\.create\('image'"):
        model_of_images().save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_hidden_layer_in_the_projection_comes_back_from_its_folder(tmp_path):
    torch.manual_seed(0)
    model = GeoModel(encoder(), feature_dim=FEATURES.shape[1], hidden=5)
    model.standardise_by(FEATURES)
    centred = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0, correction=0)
    inner = (centred @ model.hidden.weight.T + model.hidden.bias).clamp(min=0)
    projected = inner @ model.projection.weight.T + model.projection.bias
    expected = projected / projected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(model.encode_image(FEATURES), expected)
    again = GeoModel.from_pretrained(model.save_pretrained(tmp_path))
    assert torch.equal(again.embed_images(FEATURES), model.embed_images(FEATURES))
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        GeoModel(encoder(), feature_dim=3, hidden=0)
