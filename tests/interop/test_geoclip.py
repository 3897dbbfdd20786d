"""Files of GeoCLIP against a plain computation, and the published weights against their package."""

import importlib
import importlib.util
import json
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import PLACES, agree, drawn, linear, refusal, saved, unchanged_by_saving
from safetensors.torch import save_file

from geocsp import import_checkpoint
from geocsp.location import LocationEncoder

SCALES = (1.0, 4.0)


def tensors(layers=3, scales=SCALES):
    rng = np.random.default_rng(0)
    state = {}
    for number, scale in enumerate(scales):
        inner = f"LocEnc{number}.capsule"
        state[f"{inner}.0.b"] = drawn(rng, 5, 2, size=scale)
        widths = [10, *[8] * layers]
        for layer in range(layers):
            state |= linear(rng, f"{inner}.{2 * layer + 1}", widths[layer], widths[layer + 1])
        state |= linear(rng, f"LocEnc{number}.head.0", widths[-1], 6)
    return state


def equal_earth(lon, lat):
    a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
    t = math.asin(math.sqrt(3) / 2 * math.sin(math.radians(lat)))
    below = 9 * a4 * t**8 + 7 * a3 * t**6 + 3 * a2 * t**2 + a1
    x = 2 * math.sqrt(3) * math.radians(lon) * math.cos(t) / (3 * below)
    y = a4 * t**9 + a3 * t**7 + a2 * t**3 + a1 * t
    return x * 66.50336 / 180, y * 66.50336 / 180


def embeddings(state):
    points = np.array([equal_earth(lon, lat) for lon, lat in PLACES.tolist()])
    total = 0.0
    for number in range(sum(name.endswith("capsule.0.b") for name in state)):
        inner = {
            name.split(".", 1)[1]: tensor.double().numpy()
            for name, tensor in state.items()
            if name.startswith(f"LocEnc{number}.")
        }
        angle = 2 * math.pi * points @ inner["capsule.0.b"].T
        x = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
        layer = 1
        while f"capsule.{layer}.weight" in inner:
            weight, bias = inner[f"capsule.{layer}.weight"], inner[f"capsule.{layer}.bias"]
            x = np.maximum(x @ weight.T + bias, 0)
            layer += 2
        total = total + x @ inner["head.0.weight"].T + inner["head.0.bias"]
    return total


@pytest.mark.parametrize(
    ("layers", "scales"), [(3, SCALES), (1, (2.0,)), (2, (1.0, 2.0, 4.0, 8.0))]
)
def test_a_bare_state_dict_equals_the_formula(layers, scales, tmp_path):
    state = tensors(layers, scales)
    model = import_checkpoint(saved(tmp_path, state, "location_encoder_weights.pth"))
    assert isinstance(model, LocationEncoder)
    agree(model, embeddings(state))
    unchanged_by_saving(model, tmp_path / "ours")


def test_the_whole_model_equals_the_formula(tmp_path):
    state = tensors()
    whole = {"logit_scale": torch.tensor(3.68), "gps_queue": torch.zeros(2, 9)}
    whole |= {"gps_queue_ptr": torch.zeros(1, dtype=torch.int64)}
    whole |= linear(np.random.default_rng(1), "image_encoder.mlp.0", 7, 6)
    whole |= {f"location_encoder.{name}": tensor for name, tensor in state.items()}
    agree(import_checkpoint(saved(tmp_path, whole, "geoclip.pth")), embeddings(state))
    agree(
        import_checkpoint(saved(tmp_path, {"state_dict": whole}, "nested.pth")), embeddings(state)
    )


@pytest.mark.parametrize("prefix", ["", "location_encoder."])
def test_safetensors_as_a_file_and_as_a_folder(prefix, tmp_path):
    state = tensors()
    path = tmp_path / "model.safetensors"
    save_file({prefix + name: tensor for name, tensor in state.items()}, path)
    (tmp_path / "config.json").write_text(json.dumps({"sigma": SCALES, "format_version": 1}))
    agree(import_checkpoint(path), embeddings(state))
    agree(import_checkpoint(tmp_path), embeddings(state))
    agree(import_checkpoint(str(tmp_path)), embeddings(state))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("LocEnc1.capsule.0.b", (4, 2)),
        ("LocEnc0.capsule.0.b", (5, 3)),
        ("LocEnc0.capsule.0.b", (10,)),
        ("LocEnc0.capsule.5.weight", None),
        ("LocEnc1.capsule.5.weight", None),
        ("LocEnc1.capsule.3.weight", None),
        ("LocEnc1.capsule.5.weight", (8, 9)),
        ("LocEnc0.capsule.1.bias", (1,)),
        ("LocEnc0.head.0.weight", None),
        ("LocEnc1.head.0.weight", (7, 8)),
    ],
)
def test_tensors_that_do_not_fit_each_other_are_refused(name, shape, tmp_path):
    state = tensors()
    state[name] = None if shape is None else torch.ones(shape)
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    refusal(saved(tmp_path, state, "weights.pth"))


def test_directions_without_a_scale_are_refused(tmp_path):
    state = tensors()
    for number in range(len(SCALES)):
        state[f"LocEnc{number}.capsule.0.b"] = torch.zeros(5, 2)
    refusal(saved(tmp_path, state, "weights.pth"))


@pytest.fixture
def package(monkeypatch):
    """The package's location encoder, without the rest, which needs an image model."""
    found = importlib.util.find_spec("geoclip")
    if found is None or found.origin is None:
        pytest.skip(
            "geoclip is NOT INSTALLED, so the published GeoCLIP weights were NOT COMPARED: "
            "pip install --no-deps geoclip==1.3.0"
        )
    folder = Path(found.origin).parent / "model"
    for name, place in (("geoclip", folder.parent), ("geoclip.model", folder)):
        parent = types.ModuleType(name)
        parent.__path__ = [str(place)]
        monkeypatch.setitem(sys.modules, name, parent)
    misc = types.ModuleType("geoclip.model.misc")  # the real one imports pandas
    misc.file_dir = str(folder)
    monkeypatch.setitem(sys.modules, "geoclip.model.misc", misc)
    yield importlib.import_module("geoclip.model.location_encoder"), folder / "weights"
    for name in [name for name in sys.modules if name.split(".")[0] == "geoclip"]:
        monkeypatch.delitem(sys.modules, name)


def test_the_published_weights_equal_the_package(package):
    module, weights = package
    reference = module.LocationEncoder().eval()
    model = import_checkpoint(weights / "location_encoder_weights.pth")
    grid = torch.cartesian_prod(torch.linspace(-180, 180, 25), torch.linspace(-90, 90, 13))
    places = torch.cat([PLACES.float(), grid])
    with torch.no_grad():
        expected = reference(places.flip(1))
    torch.testing.assert_close(model.embed(places), expected, atol=1e-5, rtol=0)
    assert expected.norm(dim=1).min() > 0.1


def test_the_image_side_of_the_package_is_no_location_encoder(package):
    message = refusal(package[1] / "image_encoder_mlp_weights.pth")
    assert "its tensors are '0.bias', '0.weight'" in message
    assert "the file is a Tensor, not a dictionary" in refusal(
        package[1] / "logit_scale_weights.pth"
    )


def test_the_scales_are_read_off_the_directions(tmp_path):
    model = import_checkpoint(saved(tmp_path, tensors()))
    scales = model.directions.square().mean(dim=(1, 2)).sqrt().tolist()
    assert model.recipe["settings"]["scales"] == pytest.approx(scales, rel=1e-5)
