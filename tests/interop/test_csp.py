"""Files of CSP, TorchSpatial and Sphere2Vec against a plain computation of what they mean."""

import math
import zipfile

import numpy as np
import pytest
import torch
from layouts import (
    ACTIVATIONS,
    PLACES,
    agree,
    drawn,
    feed_forward,
    linear,
    refusal,
    residual,
    saved,
    through_feed_forward,
    through_residual,
    unchanged_by_saving,
)

from geocsp import import_checkpoint
from geocsp.errors import DataError
from geocsp.interop.csp import _ENCODERS
from geocsp.location import LocationEncoder

USA = [-162.0, -59.0, 20.0, 56.0]
PARAMS = {
    "spa_enc_type": "gridcell",
    "frequency_num": 4,
    "max_radius": 360.0,
    "min_radius": 0.5,
    "freq_init": "geometric",
    "num_filts": 12,
    "hidden_dim": 10,
    "num_hidden_layer": 1,
    "use_layn": True,
    "skip_connection": True,
    "spa_enc_use_postmat": True,
    "spa_f_act": "leakyrelu",
    "dropout": 0.5,
    "map_range": [-180, 180, -90, 90],
    "rbf_kernel_size": 30.0,
    "rbf_anchor_pt_ids": [7, 0, 11, 3, 19],
    "num_rbf_anchor_pts": 5,
    "loc_encode": "encode_cos_sin",
    "use_date_feats": False,
    "num_classes": 6,
    "num_users": 3,
    "device": "cuda:0",
}
TRAINING = torch.from_numpy(np.random.default_rng(3).uniform([-180, -90], [180, 90], (20, 2)))


# What each encoder computes, in the order of its features. ``p`` are params, ``state`` tensors.


def frequencies(p):
    if p["freq_init"] == "nerf":
        return [math.pi * 2**i for i in range(p["frequency_num"])]
    step = math.log(p["max_radius"] / p["min_radius"]) / max(1, p["frequency_num"] - 1)
    return [1 / (p["min_radius"] * math.exp(i * step)) for i in range(p["frequency_num"])]


def released_frequencies(p):
    """What TorchSpatial computes for some encoders: the smallest radius has no effect."""
    count = p["frequency_num"]
    return [p["max_radius"] ** (-i / max(1, count - 1)) for i in range(count)]


def grid(lon, lat, p, state):
    return [
        wave(c * w) for c in (lon, lat) for w in frequencies(p) for wave in (math.sin, math.cos)
    ]


def theory(lon, lat, p, state):
    towards = [lon, -lon / 2 + math.sqrt(3) / 2 * lat, -lon / 2 - math.sqrt(3) / 2 * lat]
    return [wave(c * w) for w in frequencies(p) for c in towards for wave in (math.sin, math.cos)]


def theorynorm(lon, lat, p, state):
    return theory(math.radians(lon), math.radians(lat), p, state)


def hexagonal(lon, lat, p, state):
    phases = [0, 2 * math.pi / 3, 4 * math.pi / 3]
    return [
        math.sin(c * w + a) for c in (lon, lat) for w in released_frequencies(p) for a in phases
    ]


def naive(lon, lat, p, state):
    west, east, south, north = p["map_range"]
    return [2 * (lon - west) / (east - west) - 1, 2 * (lat - south) / (north - south) - 1]


def rbf(lon, lat, p, state):
    anchors = TRAINING[p["rbf_anchor_pt_ids"]].tolist()
    squares = [(lon - a) ** 2 + (lat - b) ** 2 for a, b in anchors]
    return [math.exp(-square / (2 * p["rbf_kernel_size"] ** 2)) for square in squares]


def rff(lon, lat, p, state):
    x, y = naive(lon, lat, p, state)
    inner = "position_encoder." if "spa_enc.position_encoder.dirvec" in state else ""
    directions, shift = state[f"spa_enc.{inner}dirvec"], state[f"spa_enc.{inner}shift"]
    size = math.sqrt(2 / len(shift))
    by_wave = zip(*directions.tolist(), shift.tolist(), strict=True)
    return [size * math.cos(x * u + y * v + phase) for u, v, phase in by_wave]


def wrapped(lon, lat, p, state):
    x, y = math.pi * lon / 180, math.pi * lat / 90
    return [math.sin(x), math.sin(y), math.cos(x), math.cos(y)]


def xyz(lon, lat, p, state):
    x, y = math.radians(lon), math.radians(lat)
    return [math.cos(y) * math.cos(x), math.cos(y) * math.sin(x), math.sin(y)]


def nerf(lon, lat, p, state):
    angles = [
        math.pi * 2**i * c for c in xyz(lon, lat, p, state) for i in range(p["frequency_num"])
    ]
    return [wave(angle) for wave in (math.sin, math.cos) for angle in angles]


def four(x, y):
    return [math.sin(y), math.cos(y), math.sin(x), math.cos(x)]


def mixed(x, y, w):
    return [
        math.cos(y * w) * math.cos(x),
        math.cos(y) * math.cos(x * w),
        math.cos(y * w) * math.sin(x),
        math.cos(y) * math.sin(x * w),
    ]


def sphere(lon, lat, p, state):
    parts = [xyz(lon * w, lat * w, p, state) for w in frequencies(p)]
    return [part for a, b, c in parts for part in (c, a, b)]


def spheregrid(lon, lat, p, state):
    features = []
    for w in frequencies(p):
        x, y = math.radians(lon) * w, math.radians(lat) * w
        features += [*four(x, y), math.cos(y) * math.cos(x), math.cos(y) * math.sin(x)]
    return features


def spheremixscale(lon, lat, p, state):
    x, y = math.radians(lon), math.radians(lat)
    return [part for w in frequencies(p) for part in [math.sin(y * w), *mixed(x, y, w)]]


def spheregridmixscale(lon, lat, p, state, scales=frequencies):
    x, y = math.radians(lon), math.radians(lat)
    return [part for w in scales(p) for part in [*four(x * w, y * w), *mixed(x, y, w)]]


def dft(lon, lat, p, state, scales=frequencies):
    x, y = ([math.radians(c) * w for w in scales(p)] for c in (lon, lat))
    rows, columns = ([wave(c) for wave in (math.sin, math.cos) for c in cs] for cs in (x, y))
    features = [row * column for row in rows for column in columns]
    return features + [part for a, b in zip(x, y, strict=True) for part in four(a, b)]


def released_spheregridmixscale(lon, lat, p, state):
    return spheregridmixscale(lon, lat, p, state, released_frequencies)


def released_dft(lon, lat, p, state):
    return dft(lon, lat, p, state, released_frequencies)


def tile(lon, lat, p, state):
    return state["spa_enc.position_encoder.embedding.weight"][0].tolist()


FORMULAS = {
    "gridcell": grid,
    "gridcellnorm": grid,
    "theory": theory,
    "theorynorm": theorynorm,
    "hexagridcell": hexagonal,
    "theorydiag": theory,
    "naive": naive,
    "rbf": rbf,
    "rff": rff,
    "geo_net_fft": wrapped,
    "sphere": sphere,
    "spheregrid": spheregrid,
    "spheremixscale": spheremixscale,
    "spheregridmixscale": spheregridmixscale,
    "dft": dft,
    "xyz": xyz,
    "nerf": nerf,
    "Space2Vec-grid": grid,
    "Space2Vec-theory": theory,
    "Sphere2Vec-sphereC": sphere,
    "Sphere2Vec-sphereC+": spheregrid,
    "Sphere2Vec-sphereM": spheremixscale,
    "Sphere2Vec-sphereM+": released_spheregridmixscale,
    "Sphere2Vec-dfs": released_dft,
    "NeRF": nerf,
    "wrap_ffn": wrapped,
    "tile_ffn": tile,
}


def tensors(p, inner="", seed=0):
    """The location side of a file of these params."""
    rng = np.random.default_rng(seed)
    dim, count = p["num_filts"], p["frequency_num"]
    state = {}
    if p["spa_enc_type"] == "rff":
        state[f"spa_enc.{inner}dirvec"] = drawn(rng, 2, count, size=3.0)
        state[f"spa_enc.{inner}shift"] = drawn(rng, count).abs()
    if p["spa_enc_type"] == "tile_ffn":
        state["spa_enc.position_encoder.embedding.weight"] = drawn(rng, 1, dim)
    width = len(FORMULAS[p["spa_enc_type"]](0.0, 0.0, p, state))
    if p["spa_enc_type"] == "hexagridcell":
        state |= linear(rng, "spa_enc.post_linear", width, dim)
    elif p["spa_enc_type"] == "theorydiag":
        state["spa_enc.post_mat"] = drawn(rng, count, 6, dim // count)
        state["spa_enc.spa_postmat"] = state["spa_enc.post_mat"]
        if p["spa_enc_use_postmat"]:
            state |= linear(rng, "spa_enc.post_linear", dim, dim)
    else:
        widths = [width, *[p["hidden_dim"]] * p["num_hidden_layer"], dim]
        state |= feed_forward(rng, widths, p["use_layn"])
    state["class_emb.weight"] = drawn(rng, p["num_classes"], dim)
    state["user_emb.weight"] = drawn(rng, p["num_users"], dim)
    return state


def embeddings(p, state):
    kind = p["spa_enc_type"]
    x = np.array([FORMULAS[kind](lon, lat, p, state) for lon, lat in PLACES.tolist()])
    activation = ACTIVATIONS[p["spa_f_act"]]
    if kind == "hexagridcell":
        return activation(affine_of(state, x))
    if kind == "theorydiag":
        parts = state["spa_enc.post_mat"].double().numpy()
        x = np.concatenate([x[:, 6 * i : 6 * i + 6] @ part for i, part in enumerate(parts)], axis=1)
        return activation(affine_of(state, x) if p["spa_enc_use_postmat"] else x)
    return through_feed_forward(state, x, p)


def affine_of(state, x):
    weight, bias = (state[f"spa_enc.post_linear.{part}"].double() for part in ("weight", "bias"))
    return x @ weight.numpy().T + bias.numpy()


def content(params, state):
    return {"epoch": 5, "state_dict": state, "optimizer": {"state": {}}, "params": params}


def given(p):
    return {"training_locations": TRAINING} if p["spa_enc_type"] == "rbf" else {}


def equals_the_formula(tmp_path, p, claimed=None, inner=""):
    """Write a file of params ``p``, which claims other ones, and compare."""
    state = tensors(p, inner)
    path = saved(tmp_path, content(p if claimed is None else claimed, state))
    model = import_checkpoint(path, **given(p))
    agree(model, embeddings(p, state), state["class_emb.weight"])
    return model


def test_every_encoder_of_the_importer_is_compared_with_a_formula():
    assert sorted(FORMULAS) == sorted(_ENCODERS)


@pytest.mark.parametrize("kind", sorted({*FORMULAS, *_ENCODERS}))
@pytest.mark.parametrize("count", [1, 4])
def test_probabilities_and_embeddings_equal_the_formula(kind, count, tmp_path):
    p = PARAMS | {"spa_enc_type": kind, "frequency_num": count}
    model = equals_the_formula(tmp_path, p)
    assert model.class_names == ("0", "1", "2", "3", "4", "5")
    unchanged_by_saving(model, tmp_path / "ours")


@pytest.mark.parametrize("kind", ["gridcell", "theorydiag", "rbf", "hexagridcell"])
def test_the_location_side_counts_where_a_file_has_the_image_side_too(kind, tmp_path):
    p = PARAMS | {"spa_enc_type": kind}
    state = tensors(p)
    doubled = {f"loc_enc.{name}": tensor for name, tensor in state.items()} | state
    doubled |= linear(np.random.default_rng(1), "img_dec", 20, p["num_filts"])
    model = import_checkpoint(saved(tmp_path, content(p, doubled)), **given(p))
    agree(model, embeddings(p, state), state["class_emb.weight"])


def test_layer_sizes_come_from_the_tensors_where_params_contradict_them(tmp_path):
    lies = {"frequency_num": 64, "hidden_dim": 512, "num_filts": 3, "num_hidden_layer": 9}
    lies |= {"num_classes": 2, "num_users": 0, "use_layn": False}
    for kind in ("Space2Vec-grid", "Sphere2Vec-dfs", "NeRF", "theorydiag", "hexagridcell", "rff"):
        p = PARAMS | {"spa_enc_type": kind}
        equals_the_formula(tmp_path, p, claimed=p | lies)


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("norm", [True, False])
def test_any_number_of_hidden_layers_with_and_without_norm(layers, norm, tmp_path):
    equals_the_formula(tmp_path, PARAMS | {"num_hidden_layer": layers, "use_layn": norm})


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("width", [16, 10])
def test_a_layer_as_wide_as_its_input_skips_only_if_params_say_so(skip, width, tmp_path):
    p = PARAMS | {"hidden_dim": width, "skip_connection": skip, "num_hidden_layer": 2}
    model = equals_the_formula(tmp_path, p)
    skips = [layer.skip for layer in model.location.network.hidden]
    assert skips == [skip and width == 4 * p["frequency_num"], skip]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["gridcell", "theorydiag", "hexagridcell"])
def test_every_activation(activation, kind, tmp_path):
    p = PARAMS | {"spa_enc_type": kind, "spa_f_act": activation}
    equals_the_formula(tmp_path, p)
    equals_the_formula(tmp_path, p | {"spa_enc_use_postmat": False})


@pytest.mark.parametrize(
    "kind", [k for k, formula in FORMULAS.items() if formula in (grid, theory, sphere, dft)]
)
def test_frequencies_that_double(kind, tmp_path):
    equals_the_formula(tmp_path, PARAMS | {"spa_enc_type": kind, "freq_init": "nerf"})


def test_the_smallest_radius_has_no_effect_where_the_released_code_ignores_it(tmp_path):
    for kind in ("Sphere2Vec-sphereM+", "Sphere2Vec-dfs", "hexagridcell"):
        p = PARAMS | {"spa_enc_type": kind, "max_radius": 1.0}
        equals_the_formula(tmp_path, p, claimed=p | {"min_radius": None})


def test_random_frequencies_cannot_be_imported(tmp_path):
    p = PARAMS | {"freq_init": "random"}
    message = refusal(saved(tmp_path, content(p, tensors(PARAMS))))
    assert message.endswith("its 'random' frequencies were not saved with it")


@pytest.mark.parametrize("kind", ["naive", "rff"])
@pytest.mark.parametrize("as_tuple", [True, False])
def test_the_range_of_the_map_may_be_the_usa(kind, as_tuple, tmp_path):
    p = PARAMS | {"spa_enc_type": kind, "map_range": USA}
    equals_the_formula(tmp_path, p, claimed=p | {"map_range": tuple(USA) if as_tuple else USA})


@pytest.mark.parametrize("kind", ["gridcell", "wrap_ffn", "xyz", "sphere"])
def test_the_range_of_the_map_does_not_enter_other_encoders(kind, tmp_path):
    equals_the_formula(tmp_path, PARAMS | {"spa_enc_type": kind, "map_range": USA})


@pytest.mark.parametrize("kind", ["naive", "rff"])
@pytest.mark.parametrize(
    "given",
    [
        [0, 0, -90, 90],
        [1, 2, 3],
        [1, 2, 3, "4"],
        [math.nan, 180, -90, 90],
        [-math.inf, math.inf, -90, 90],
        [-180, 10**400, -90, 90],
        "world",
    ],
)
def test_a_range_of_the_map_that_is_none_is_refused(kind, given, tmp_path):
    p = PARAMS | {"spa_enc_type": kind}
    assert "map_range" in refusal(saved(tmp_path, content(p | {"map_range": given}, tensors(p))))


def test_random_features_of_torchspatial_lie_one_level_deeper(tmp_path):
    p = PARAMS | {"spa_enc_type": "rff", "map_range": USA}
    equals_the_formula(tmp_path, p, inner="position_encoder.")


def test_rbf_without_its_training_places_says_what_to_pass(tmp_path):
    p = PARAMS | {"spa_enc_type": "rbf"}
    message = refusal(saved(tmp_path, content(p, tensors(p))))
    assert "pass training_locations=, the (N, 2) degrees" in message
    assert "or the 5 anchors themselves" in message


def test_rbf_takes_the_anchors_themselves(tmp_path):
    p = PARAMS | {"spa_enc_type": "rbf"}
    state = tensors(p)
    path = saved(tmp_path, content(p | {"rbf_anchor_pt_ids": None}, state))
    model = import_checkpoint(path, training_locations=TRAINING[p["rbf_anchor_pt_ids"]])
    agree(model, embeddings(p, state), state["class_emb.weight"])
    assert "does not say which training places" in refusal(path, training_locations=TRAINING)


def test_rbf_kernel_may_be_spelled_as_in_csp(tmp_path):
    p = PARAMS | {"spa_enc_type": "rbf", "rbf_kernel_size": 9.0}
    csp = {key: value for key, value in p.items() if key != "rbf_kernel_size"}
    equals_the_formula(tmp_path, p, claimed=csp | {"rbf_kernal_size": 9})
    assert "does not say rbf_kernal_size" in refusal(
        saved(tmp_path, content(csp, tensors(p))), **given(p)
    )


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([7, 0, 11, 3, 20], "picks row 20 of the training places"),
        ([7, 0, 11, 3, -1], "picks row -1 of the training places"),
        ([7, 0, 11, 3, 1.5], "1.5"),
        ([7, 0, 11, 3, "a"], "a"),
        ([1], "does not say which training places; pass 5 anchors"),
        ("abcde", "does not say which training places; pass 5 anchors"),
    ],
)
def test_rbf_anchors_that_the_training_places_do_not_have_are_refused(ids, said, tmp_path):
    p = PARAMS | {"spa_enc_type": "rbf"}
    path = saved(tmp_path, content(p | {"rbf_anchor_pt_ids": ids}, tensors(p)))
    assert said in refusal(path, training_locations=TRAINING)


@pytest.mark.parametrize(
    "places", [torch.zeros(5), torch.full((5, 2), torch.nan), torch.tensor([[0.0, 91.0]] * 5)]
)
def test_training_places_that_are_none_are_refused(places, tmp_path):
    p = PARAMS | {"spa_enc_type": "rbf"}
    path = saved(tmp_path, content(p, tensors(p)))
    with pytest.raises(DataError, match=r"^training_locations"):
        import_checkpoint(path, training_locations=places)


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, "wide", None, True])
def test_rbf_kernels_without_a_size_are_refused(width, tmp_path):
    p = PARAMS | {"spa_enc_type": "rbf"}
    refusal(saved(tmp_path, content(p | {"rbf_kernel_size": width}, tensors(p))), **given(p))


def test_a_regression_file_gives_the_encoder_alone(tmp_path):
    p = {k: value for k, value in PARAMS.items() if k not in ("num_classes", "num_users")}
    state = tensors(PARAMS)
    del state["user_emb.weight"]
    model = import_checkpoint(saved(tmp_path, content(p, state)))
    assert isinstance(model, LocationEncoder)
    agree(model, embeddings(PARAMS, state))
    unchanged_by_saving(model, tmp_path / "ours")


@pytest.mark.parametrize("truth", [True, False])
def test_flags_may_be_letters(truth, tmp_path):
    p = PARAMS | {"hidden_dim": 16, "skip_connection": truth}
    equals_the_formula(tmp_path, p, claimed=p | {"skip_connection": "T" if truth else "F"})


@pytest.mark.parametrize("spelling", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpy_scalars_count_as_numbers_in_the_spelling_of_any_numpy(spelling, tmp_path):
    p = PARAMS | {"spa_enc_type": "rbf"}
    claimed = p | {
        "rbf_anchor_pt_ids": [np.int64(row) for row in p["rbf_anchor_pt_ids"]],
        "rbf_kernel_size": np.float64(p["rbf_kernel_size"]),
        "dropout": np.float32(0.25),
        "skip_connection": np.bool_(True),
        "num_classes": np.dtype(">i4").type(6),
    }
    state = tensors(p)
    written = saved(tmp_path, content(claimed, state), "as_written.pth")
    path = tmp_path / "respelled.pth"
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.namelist():
            part = old.read(entry)
            if entry.endswith("data.pkl"):
                part = part.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
                part = part.replace(b"numpy.core.multiarray", spelling)
                assert spelling + b"\nscalar" in part
            new.writestr(entry, part)
    model = import_checkpoint(path, **given(p))
    agree(model, embeddings(p, state), state["class_emb.weight"])


def test_the_older_file_format(tmp_path):
    state = tensors(PARAMS)
    path = saved(tmp_path, content(PARAMS, state), _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    agree(import_checkpoint(path), embeddings(PARAMS, state), state["class_emb.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_any_precision(dtype, tmp_path):
    state = {name: tensor.to(dtype) for name, tensor in tensors(PARAMS).items()}
    model = import_checkpoint(saved(tmp_path, content(PARAMS, state)))
    agree(model, embeddings(PARAMS, state), state["class_emb.weight"])
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", ["geo_net", "wrap"])
@pytest.mark.parametrize("image_side", [True, False])
def test_the_network_without_a_position_encoder(kind, image_side, tmp_path):
    rng = np.random.default_rng(0)
    state = {"class_emb.weight": drawn(rng, 6, 8), "user_emb.weight": drawn(rng, 3, 8)}
    state |= residual(rng, 4, 8)
    full = state
    if image_side:
        full = {f"{p}{k}": v for p in ("loc_enc.", "spa_enc.") for k, v in state.items()}
        full |= {k: state[k] for k in ("class_emb.weight", "user_emb.weight")}
        full |= linear(rng, "img_dec", 20, 8)
    model = import_checkpoint(saved(tmp_path, content(PARAMS | {"spa_enc_type": kind}, full)))
    x = np.array([wrapped(lon, lat, None, None) for lon, lat in PLACES.tolist()])
    agree(model, through_residual(state, x), state["class_emb.weight"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min_radius": "abc"}, "min_radius is 'abc', not a usable float"),
        ({"min_radius": None}, "does not say min_radius"),
        ({"min_radius": True}, "min_radius is True"),
        ({"min_radius": [1.0]}, "min_radius is"),
        ({"min_radius": math.nan}, "min_radius is nan, not a usable float"),
        ({"min_radius": -1.0}, "radii from -1"),
        ({"min_radius": 0}, "radii from 0"),
        ({"min_radius": 400.0}, "radii from 400.0 to 360"),
        ({"max_radius": math.inf}, "inf"),
        ({"max_radius": 10**400}, "max_radius"),
        ({"max_radius": {}}, "max_radius is {}"),
        ({"dropout": 1.5}, "dropout"),
        ({"dropout": "high"}, "dropout is 'high'"),
        ({"dropout": math.nan}, "dropout"),
        ({"spa_f_act": "swish"}, "activation 'swish' is not known"),
        ({"spa_f_act": 3}, "spa_f_act is 3"),
        ({"skip_connection": "maybe"}, "skip_connection is 'maybe'"),
        ({"skip_connection": 1}, "skip_connection is 1"),
        ({"freq_init": 7}, "freq_init is 7"),
        ({"freq_init": "a\nb"}, "frequencies"),
        ({"spa_enc_type": "spherical_harmonics"}, "'spherical_harmonics' cannot be imported"),
        ({"spa_enc_type": None}, "does not say spa_enc_type"),
        ({"spa_enc_type": ["gridcell"]}, "spa_enc_type is"),
        ({"spa_enc_type": "theory"}, "16 position features are no multiple of 6"),
        ({"spa_enc_type": "xyz"}, "16 position features"),
        ({"spa_enc_type": "dft"}, "16 features are no double Fourier series"),
        ({"spa_enc_type": "rff"}, "lacks the tensor dirvec"),
        ({"spa_enc_type": "tile_ffn"}, "lacks the tensor position_encoder.embedding.weight"),
        ({"spa_enc_type": "theorydiag"}, "lacks the tensor post_mat"),
    ],
)
def test_senseless_params_are_refused(wrong, said, tmp_path):
    assert said in refusal(saved(tmp_path, content(PARAMS | wrong, tensors(PARAMS))))


def broken(kind, name, shape):
    return pytest.param(kind, name, shape, id=f"{kind}-{name}-{shape}")


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        broken("gridcell", "class_emb.weight", (6, 11)),
        broken("gridcell", "class_emb.weight", (6,)),
        broken("gridcell", "class_emb.weight", None),
        broken("gridcell", "spa_enc.ffn.layers.0.linear.weight", (10, 0)),
        broken("gridcell", "spa_enc.ffn.layers.0.linear.weight", None),
        broken("gridcell", "spa_enc.ffn.layers.1.linear.weight", (12, 9)),
        broken("gridcell", "spa_enc.ffn.layers.1.linear.bias", (1,)),
        broken("gridcell", "spa_enc.ffn.layers.0.layernorm.bias", None),
        broken("naive", "spa_enc.ffn.layers.0.linear.bias", (7,)),
        broken("naive", "spa_enc.ffn.layers.0.linear.bias", (1,)),
        broken("rff", "spa_enc.dirvec", (3, 4)),
        broken("rff", "spa_enc.dirvec", (2, 5)),
        broken("rff", "spa_enc.shift", (5,)),
        broken("rff", "spa_enc.shift", (1,)),
        broken("theorydiag", "spa_enc.post_mat", (0, 6, 3)),
        broken("theorydiag", "spa_enc.post_mat", (4, 5, 3)),
        broken("theorydiag", "spa_enc.post_linear.weight", (12, 11)),
        broken("hexagridcell", "spa_enc.post_linear.bias", (1,)),
        broken("tile_ffn", "spa_enc.position_encoder.embedding.weight", (2, 12)),
        broken("tile_ffn", "spa_enc.position_encoder.embedding.weight", (0, 12)),
    ],
)
def test_tensors_that_do_not_fit_each_other_are_refused(kind, name, shape, tmp_path):
    p = PARAMS | {"spa_enc_type": kind}
    state = tensors(p)
    assert name in state
    state[name] = None if shape is None else torch.ones(shape)
    refusal(saved(tmp_path, content(p, {k: t for k, t in state.items() if t is not None})))


def test_random_features_without_any_wave_are_refused(tmp_path):
    p = PARAMS | {"spa_enc_type": "rff"}
    state = tensors(p) | {"spa_enc.dirvec": torch.zeros(2, 4)}
    refusal(saved(tmp_path, content(p, state)))


def test_settings_that_a_file_leaves_out_are_those_of_the_released_code(tmp_path):
    p = PARAMS | {"hidden_dim": 16, "skip_connection": True, "spa_f_act": "leakyrelu"}
    silent = {k: v for k, v in p.items() if k not in ("skip_connection", "spa_f_act")}
    equals_the_formula(tmp_path, p, claimed=silent)


def test_random_waves_tell_their_own_scale(tmp_path):
    p = PARAMS | {"spa_enc_type": "rff", "map_range": [-162, -59, 20, 56]}
    model = equals_the_formula(tmp_path, p)
    variance = float(model.location.directions.square().mean())
    wave = 2 * math.pi / math.sqrt(variance) * 180 * 111.195
    assert model.location.resolution_km == pytest.approx(wave, rel=1e-4)


@pytest.mark.parametrize("kind", ["wrap", "gridcell"])
def test_a_regression_file_gives_its_encoder_whatever_its_network(kind, tmp_path):
    state = tensors(PARAMS)
    params = {k: v for k, v in PARAMS.items() if k not in ("num_classes", "num_users")}
    if kind == "wrap":
        params |= {"spa_enc_type": "wrap", "loc_encode": "encode_cos_sin", "use_date_feats": False}
        state = residual(np.random.default_rng(0), 4, 12) | {
            "class_emb.weight": drawn(np.random.default_rng(1), 24, 12)
        }
    state.pop("user_emb.weight", None)
    assert isinstance(import_checkpoint(saved(tmp_path, content(params, state))), LocationEncoder)
