import json

import numpy
import pytest
import torch

import geocsp
from geocsp import GeoModel, GeoPrior
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
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
