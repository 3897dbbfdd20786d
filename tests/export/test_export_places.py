"""Places and priors as ONNX."""

import pytest
import torch
from small_models import (
    NAN,
    answers,
    encoder,
    places,
    prior,
)

import geocsp
from geocsp.export import export_onnx

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("space2vec-grid", {"min_radius": 1e-4}),
        ("nerf", {"frequencies": 20}),
        ("tile", {}),
    ],
)
def test_the_location_tower_keeps_its_angles_exact(tmp_path, name, settings):
    model = encoder(name, **settings)
    export_onnx(model, tmp_path / "a.onnx")
    found = answers(tmp_path / "a.onnx", lonlat=places())["embedding"]
    torch.testing.assert_close(found, model.embed(places()), **CLOSE)


def test_without_exact_constants_the_check_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("geocsp.export.write.translations", lambda opset: {})
    with pytest.raises(RuntimeError, match=r"differs from the model by .* in embedding"):
        export_onnx(encoder(min_radius=1e-4), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    path = tmp_path_factory.mktemp("tower") / "a.onnx"
    return encoder(), export_onnx(encoder(), path)


def test_any_number_of_rows_also_none(tower):
    model, written = tower
    assert written.inputs == {"lonlat": (None, 2)}
    for count in (0, 1, 2, 3000):
        where = places(3000)[:count]
        found = answers(written.path, lonlat=where)["embedding"]
        assert found.shape == (count, 6)
        torch.testing.assert_close(found, model.embed(where), **CLOSE)


def test_what_the_model_refuses_is_nan_in_its_row_alone(tower):
    bad = [(NAN, 0), (0, NAN), (181, 0), (0, -90.01), (torch.inf, 0), (NAN, NAN)]
    where = torch.cat([places(3)[:3], torch.tensor(bad), places(3)[:3]]).float()
    found = answers(tower[1].path, lonlat=where)["embedding"]
    assert bool(found[3:-3].isnan().all())
    assert torch.equal(found[:3], found[-3:])
    assert bool(found[:3].isfinite().all())


@pytest.mark.parametrize("kind", [geocsp.GeoPrior, geocsp.LinearPrior])
def test_priors_say_scores_and_probabilities(tmp_path, kind):
    model = prior(kind)
    export_onnx(model, tmp_path / "a.onnx")
    found = answers(tmp_path / "a.onnx", lonlat=places())
    torch.testing.assert_close(found["scores"], model.class_scores(places()), **CLOSE)
    expected = model.class_probabilities(places())
    torch.testing.assert_close(found["probabilities"], expected, **CLOSE)


def test_time_is_an_input_of_encoders_that_take_it(tmp_path):
    model = prior(date_harmonics=2, hour_harmonics=1)
    written = export_onnx(model, tmp_path / "a.onnx")
    assert list(written.inputs) == ["lonlat", "time"]
    time = torch.rand(len(places()), 2) * torch.tensor([1.0, 24.0])
    time[::3, 1] = NAN
    time[::4, 0] = NAN
    found = answers(tmp_path / "a.onnx", lonlat=places(), time=time)["scores"]
    torch.testing.assert_close(found, model.class_scores(places(), time), **CLOSE)
    assert not torch.allclose(found, model.class_scores(places()), atol=1e-3)
