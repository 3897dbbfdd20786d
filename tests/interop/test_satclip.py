"""Files of SatCLIP against a plain computation of what they mean."""

import itertools
import math

import numpy as np
import pytest
import torch
from layouts import (
    PLACES,
    affine,
    agree,
    drawn,
    linear,
    refusal,
    residual,
    saved,
    through_residual,
    unchanged_by_saving,
)
from scipy import special

from geocsp import import_checkpoint
from geocsp.interop.satclip import _ENCODINGS, _NETWORKS
from geocsp.location import LocationEncoder

if not hasattr(special, "sph_harm_y"):
    pytest.skip("scipy before 1.15 has no sph_harm_y", allow_module_level=True)

SETTINGS = {
    "embed_dim": 6,
    "image_resolution": 256,
    "in_channels": 13,
    "vision_layers": "moco_resnet18",
    "le_type": "sphericalharmonics",
    "pe_type": "siren",
    "frequency_num": 3,
    "max_radius": 260,
    "min_radius": 1,
    "legendre_polys": 5,
    "harmonics_calculation": "analytic",
    "sh_embedding_dims": 16,
    "num_hidden_layers": 2,
    "capacity": 8,
    "eval_downstream": False,
}


# What each encoding computes, in the order of its features.


def harmonics(lon, lat, s):
    polar, azimuth = math.radians(lat + 90), math.radians(lon + 180)
    features = []
    for degree in range(s["legendre_polys"]):
        for m in range(-degree, degree + 1):
            value = special.sph_harm_y(degree, abs(m), polar, azimuth)  # with Condon-Shortley
            size = 1 if m == 0 else math.sqrt(2)
            closed = size * float(value.imag if m < 0 else value.real)
            analytic = closed * (math.pi if m == 0 else (-1) ** m)
            features.append(analytic if s["harmonics_calculation"] == "analytic" else closed)
    return features


def frequencies(s):
    count = s["frequency_num"]
    ratio = s["max_radius"] / s["min_radius"]
    return [1 / (s["min_radius"] * ratio ** (k / max(1, count - 1))) for k in range(count)]


def grid(lon, lat, s):
    return [
        wave(c * f) for c in (lon, lat) for f in frequencies(s) for wave in (math.sin, math.cos)
    ]


def theory(lon, lat, s):
    towards = [lon, -lon / 2 + math.sqrt(3) / 2 * lat, -lon / 2 - math.sqrt(3) / 2 * lat]
    angles = [angle * f for f in frequencies(s) for angle in towards for _ in range(2)]
    half = len(angles) // 2
    return [
        wave(angle)
        for part in (angles[:half], angles[half:])
        for number, angle in enumerate(part)
        for wave in [(math.sin, math.cos)[number % 2]]
    ]


def doubled(features):
    return [feature for feature in features for _ in range(2)]


def four(x, y):
    return [math.sin(y), math.cos(y), math.sin(x), math.cos(x)]


def mixed(x, y, f):
    return [
        math.cos(y * f) * math.cos(x),
        math.cos(y) * math.cos(x * f),
        math.cos(y * f) * math.sin(x),
        math.cos(y) * math.sin(x * f),
    ]


def spherec(lon, lat, s):
    features = []
    for f in frequencies(s):
        x, y = lon * f, lat * f
        features += [math.sin(y), math.cos(y) * math.cos(x), math.cos(y) * math.sin(x)]
    return doubled(features)


def spherecplus(lon, lat, s):
    features = []
    for f in frequencies(s):
        x, y = lon * f, lat * f
        features += [*four(x, y), math.cos(y) * math.cos(x), math.cos(y) * math.sin(x)]
    return doubled(features)


def spherem(lon, lat, s):
    features = []
    for f in frequencies(s):
        features += [math.sin(lat * f), *mixed(lon, lat, f)]
    return doubled(features)


def spheremplus(lon, lat, s):
    features = []
    for f in frequencies(s):
        features += [*four(lon * f, lat * f), *mixed(lon, lat, f)]
    return doubled(features)


def direct(lon, lat, s):
    return [math.radians(lon) - math.pi, math.radians(lat) - math.pi]


def cartesian3d(lon, lat, s):
    x, y = math.radians(lon), math.radians(lat)
    return [math.cos(x) * math.cos(y), math.sin(x) * math.cos(y), math.sin(y)]


def wrap(lon, lat, s):
    x, y = math.radians(lon), math.radians(lat)
    return [math.cos(x), math.sin(x), math.cos(y), math.sin(y)]


ENCODINGS = {
    "sphericalharmonics": harmonics,
    "grid": grid,
    "theory": theory,
    "spherec": spherec,
    "spherecplus": spherecplus,
    "spherem": spherem,
    "spheremplus": spheremplus,
    "direct": direct,
    "cartesian3d": cartesian3d,
    "wrap": wrap,
}


def tensors(s, width):
    rng = np.random.default_rng(0)
    inner, dim, layers = s["capacity"], s["embed_dim"], s["num_hidden_layers"]
    if s["pe_type"] == "siren":
        widths = [width, *[inner] * layers]
        state = linear(rng, "last_layer", inner, dim)
        for number in range(layers):
            state |= linear(rng, f"layers.{number}", widths[number], widths[number + 1])
        state["layers.0.weight"] /= 30
    elif s["pe_type"] == "fcnet":
        state = residual(rng, width, inner) | {"class_emb.weight": drawn(rng, dim, inner)}
    elif s["pe_type"] == "mlp":
        state = linear(rng, "features.0", width, inner)
        again = linear(rng, "", inner, inner)
        for number in range(layers):
            state |= {f"features.{2 * number + 2}{part}": again[part] for part in again}
        state |= linear(rng, f"features.{2 * layers + 2}", inner, dim)
    else:
        state = linear(rng, "", width, dim)
        state = {name.removeprefix("."): tensor for name, tensor in state.items()}
    return {name: tensor.double() for name, tensor in state.items()}


def through(state, x, s):
    if s["pe_type"] == "siren":
        for number in range(s["num_hidden_layers"]):
            x = np.sin((1 if number else 30) * affine(state, f"layers.{number}", x))
        return affine(state, "last_layer", x)
    if s["pe_type"] == "fcnet":
        return through_residual(state, x) @ state["class_emb.weight"].numpy().T
    if s["pe_type"] == "mlp":
        for number in range(s["num_hidden_layers"] + 1):
            x = np.maximum(affine(state, f"features.{2 * number}", x), 0)
        return affine(state, f"features.{2 * s['num_hidden_layers'] + 2}", x)
    return x @ state["weight"].numpy().T + state["bias"].numpy()


def content(s, state):
    """As Lightning writes it: image tower first, the network twice."""
    rng = np.random.default_rng(1)
    full = {"model.logit_scale": torch.tensor(2.65)} | linear(rng, "model.visual.fc", 7, 6)
    full["model.visual.bn1.num_batches_tracked"] = torch.tensor(3)
    for prefix in ("model.nnet.", "model.location.nnet."):
        full |= {prefix + name: tensor for name, tensor in state.items()}
    return {
        "epoch": 1,
        "global_step": 2,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": full,
        "loops": {},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": s,
    }


def equals_the_formula(tmp_path, s, claimed=None):
    x = np.array([ENCODINGS[s["le_type"]](lon, lat, s) for lon, lat in PLACES.tolist()])
    state = tensors(s, x.shape[1])
    path = saved(tmp_path, content(claimed or s, state), "model.ckpt")
    model = import_checkpoint(path)
    assert isinstance(model, LocationEncoder)
    agree(model, through(state, x, s))
    return model


def test_every_encoding_and_network_of_the_importer_is_compared():
    assert sorted(ENCODINGS) == sorted(_ENCODINGS)
    assert sorted(_NETWORKS) == ["fcnet", "linear", "mlp", "siren"]


@pytest.mark.parametrize("encoding", sorted({*ENCODINGS, *_ENCODINGS}))
@pytest.mark.parametrize("network", _NETWORKS)
def test_embeddings_equal_the_formula(encoding, network, tmp_path):
    s = SETTINGS | {"le_type": encoding, "pe_type": network}
    model = equals_the_formula(tmp_path, s)
    unchanged_by_saving(model, tmp_path / "ours")


@pytest.mark.parametrize("way", ["analytic", "closed-form"])
@pytest.mark.parametrize("network", ["siren", "fcnet"])
@pytest.mark.parametrize("degrees", [1, 2, 12])
def test_both_conventions_of_the_harmonics(way, network, degrees, tmp_path):
    s = SETTINGS | {"pe_type": network, "harmonics_calculation": way, "legendre_polys": degrees}
    equals_the_formula(tmp_path, s)


def test_discretized_harmonics_are_refused(tmp_path):
    s = SETTINGS | {"harmonics_calculation": "discretized"}
    message = refusal(saved(tmp_path, content(s, tensors(s, 25)), "model.ckpt"))
    assert message.endswith("'discretized' harmonics cannot be imported; a coarse table")


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("encoding", ["grid", "theory", "spherec", "spheremplus"])
def test_any_even_or_odd_number_of_frequencies(count, encoding, tmp_path):
    s = SETTINGS | {"le_type": encoding, "frequency_num": count}
    equals_the_formula(tmp_path, s)
    equals_the_formula(tmp_path, s | {"max_radius": 0.01, "min_radius": 0.001, "pe_type": "linear"})


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("network", ["siren", "mlp"])
def test_any_number_of_layers(layers, network, tmp_path):
    equals_the_formula(tmp_path, SETTINGS | {"pe_type": network, "num_hidden_layers": layers})


def test_sizes_come_from_the_tensors_where_settings_contradict_them(tmp_path):
    lies = {"embed_dim": 99, "frequency_num": 1, "legendre_polys": 2, "num_hidden_layers": 7}
    for encoding in ("sphericalharmonics", "grid", "theory", "spherem"):
        s = SETTINGS | {"le_type": encoding}
        equals_the_formula(tmp_path, s, claimed=s | lies | {"capacity": 3, "_instantiator": "x"})


@pytest.mark.parametrize("prefix", ["model.nnet.", "model.location.nnet."])
def test_either_copy_of_the_network_is_enough(prefix, tmp_path):
    whole = content(SETTINGS, tensors(SETTINGS, 25))
    both = import_checkpoint(saved(tmp_path, whole, "both.ckpt"))
    state = whole["state_dict"]
    whole["state_dict"] = {name: state[name] for name in state if name.startswith(prefix)}
    one = import_checkpoint(saved(tmp_path, whole, "one.ckpt"))
    assert torch.equal(one(PLACES), both(PLACES))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pe_type": "transformer"}, "network 'transformer' is not known: siren, fcnet"),
        ({"le_type": "hexagons"}, "encoding 'hexagons' is not known: sphericalharmonics"),
        ({"le_type": None}, "does not say le_type"),
        ({"pe_type": "fcnet"}, "lacks the tensor"),
        ({"pe_type": "linear"}, "lacks the tensor weight"),
        ({"pe_type": "mlp"}, "model.ckpt"),
        ({"le_type": "wrap"}, "wrap has 4 features, the first layer takes 25"),
        ({"le_type": "direct"}, "direct has 2 features"),
        ({"le_type": "spherec"}, "spherec has 24 features, the first layer takes 25"),
        ({"le_type": "grid"}, "25"),
        ({"le_type": "theory"}, "25"),
        ({"le_type": "grid", "min_radius": "abc"}, "min_radius is 'abc'"),
        ({"le_type": "grid", "min_radius": -1.0}, "radii from -1.0"),
        ({"le_type": "grid", "min_radius": 261}, "radii from 261.0 to 260.0"),
        ({"le_type": "spherem", "max_radius": None}, "does not say max_radius"),
        ({"le_type": "spherem", "max_radius": math.nan}, "max_radius is nan, not a usable float"),
        ({"harmonics_calculation": "a\nb"}, "harmonics"),
    ],
)
def test_settings_that_do_not_fit_the_tensors_are_refused(wrong, said, tmp_path):
    path = saved(tmp_path, content(SETTINGS | wrong, tensors(SETTINGS, 25)), "model.ckpt")
    assert said in refusal(path)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_first_layer_of_an_impossible_width_is_refused(encoding, tmp_path):
    s = SETTINGS | {"le_type": encoding}
    for width in (0, 5, 7):
        state = tensors(s, max(1, width))
        state["layers.0.weight"] = state["layers.0.weight"][:, :width]
        refusal(saved(tmp_path, content(s, state), "model.ckpt"))


@pytest.mark.parametrize(("network", "other"), list(itertools.permutations(_NETWORKS, 2)))
def test_tensors_of_another_network_are_refused(network, other, tmp_path):
    s = SETTINGS | {"pe_type": network}
    refusal(saved(tmp_path, content(s | {"pe_type": other}, tensors(s, 25)), "model.ckpt"))


def test_a_bias_of_another_size_is_refused(tmp_path):
    s = SETTINGS | {"le_type": "direct"}
    for size in (1, 3):
        state = tensors(s, 2) | {"layers.0.bias": torch.ones(size)}
        refusal(saved(tmp_path, content(s, state), "model.ckpt"))
