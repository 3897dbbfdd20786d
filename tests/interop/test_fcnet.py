"""Files of geo_prior and SINR against a plain computation of what they mean."""

import math

import numpy as np
import pytest
import torch
from layouts import (
    PLACES,
    agree,
    drawn,
    linear,
    refusal,
    residual,
    saved,
    through_residual,
    unchanged_by_saving,
)

from geocsp import import_checkpoint

DATES = torch.rand(len(PLACES), 1, generator=torch.Generator().manual_seed(1)).double()
TIMES = torch.cat([DATES, torch.full_like(DATES, torch.nan)], dim=1)


def wrapped(lon, lat):
    x, y = math.pi * lon / 180, math.pi * lat / 90
    return [math.sin(x), math.sin(y), math.cos(x), math.cos(y)]


def on_a_sphere_of_doubled_latitude(lon, lat):
    x, y = math.pi * lon / 180, math.pi * lat / 90
    return [math.cos(x) * math.cos(y), math.sin(x) * math.cos(y), math.sin(y)]


LOCATIONS = {
    "encode_cos_sin": wrapped,
    "encode_3D": on_a_sphere_of_doubled_latitude,
    "encode_none": lambda lon, lat: [lon / 180, lat / 90],
}
DATE_CODES = {
    "encode_cos_sin": lambda date: [
        math.sin(math.pi * (2 * date - 1)),
        math.cos(math.pi * (2 * date - 1)),
    ],
    "encode_none": lambda date: [2 * date - 1],
    "none": lambda date: [],
}


def geo_prior(location, date, **changes):
    """Params, tensors and embeddings of a file of geo_prior."""
    x = [
        LOCATIONS[location](lon, lat) + DATE_CODES[date](moment)
        for (lon, lat), moment in zip(PLACES.tolist(), DATES[:, 0].tolist(), strict=True)
    ]
    params = {
        "dataset": "inat_2018",
        "map_range": (-180, 180, -90, 90),
        "use_date_feats": date != "none",
        "loc_encode": location,
        "date_encode": "encode_cos_sin" if date == "none" else date,
        "num_classes": 5,
        "num_users": 3,
        "num_feats": len(x[0]),
        "num_filts": 9,
    }
    rng = np.random.default_rng(0)
    state = {"class_emb.weight": drawn(rng, 5, 9), "user_emb.weight": drawn(rng, 3, 9)}
    state |= residual(rng, len(x[0]), 9)
    content = {"epoch": 3, "state_dict": state, "optimizer": {}, "params": params | changes}
    return content, through_residual(state, np.array(x))


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("date", DATE_CODES)
def test_geo_prior_equals_the_formula(location, date, tmp_path):
    content, expected = geo_prior(location, date)
    model = import_checkpoint(saved(tmp_path, content))
    times = None if date == "none" else TIMES
    agree(model, expected, content["state_dict"]["class_emb.weight"], times)
    unchanged_by_saving(model, tmp_path / "ours", times)


def test_a_model_without_dates_takes_none(tmp_path):
    content, _ = geo_prior("encode_cos_sin", "none")
    with pytest.raises(ValueError, match="takes no time"):
        import_checkpoint(saved(tmp_path, content)).embed(PLACES, TIMES)


def test_geo_prior_in_the_older_format_of_its_authors(tmp_path):
    content, expected = geo_prior("encode_cos_sin", "encode_cos_sin")
    path = saved(tmp_path, content, _use_new_zipfile_serialization=False)
    model = import_checkpoint(path)
    agree(model, expected, content["state_dict"]["class_emb.weight"], TIMES)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loc_encode": "encode_4D"}, "loc_encode 'encode_4D'"),
        ({"loc_encode": 3}, "loc_encode is 3"),
        ({"loc_encode": "encode_3D"}, "mean 5 inputs, its first layer has 6"),
        ({"date_encode": "encode_moon"}, "date_encode 'encode_moon' is not known"),
        ({"use_date_feats": False}, "mean 4 inputs, its first layer has 6"),
        ({"use_date_feats": "often"}, "use_date_feats is 'often'"),
    ],
)
def test_params_of_geo_prior_that_do_not_fit_its_tensors_are_refused(wrong, said, tmp_path):
    content, _ = geo_prior("encode_cos_sin", "encode_cos_sin", **wrong)
    assert said in refusal(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("feats.0.bias", None),
        ("feats.0.bias", (1,)),
        ("feats.3.w2.weight", None),
        ("feats.3.w2.weight", (9, 8)),
        ("class_emb.weight", None),
        ("class_emb.weight", (5, 8)),
    ],
)
def test_tensors_of_geo_prior_that_do_not_fit_are_refused(name, shape, tmp_path):
    content, _ = geo_prior("encode_cos_sin", "none")
    if shape is None:
        del content["state_dict"][name]
    else:
        content["state_dict"][name] = torch.ones(shape)
    refusal(saved(tmp_path, content))


def test_the_baseline_without_a_residual_network_is_refused(tmp_path):
    content, _ = geo_prior("encode_cos_sin", "none")
    content["state_dict"] = linear(np.random.default_rng(0), "fc_loc", 4, 9)
    assert "its tensors are 'fc_loc.bias', 'fc_loc.weight'" in refusal(saved(tmp_path, content))


BANDS = 3
TAXA = [7, 47, 1003, 200001]
WIDTHS = {"sin_cos": 4, "env": BANDS, "sin_cos_env": 4 + BANDS}


def raster():
    """An environment of 5 x 8 pixels, some of them sea."""
    values = np.random.default_rng(2).normal(size=(5, 8, BANDS))
    values[1:3, 2:4] = np.nan
    return torch.from_numpy(values).float()


def sampled(lon, lat):
    values = raster().double().nan_to_num(0.0).numpy()
    column, row = (lon + 180) / 360 * 7, (90 - lat) / 180 * 4
    west, north = min(math.floor(column), 6), min(math.floor(row), 3)
    east, south = column - west, row - north
    top = (1 - east) * values[north, west] + east * values[north, west + 1]
    bottom = (1 - east) * values[north + 1, west] + east * values[north + 1, west + 1]
    return ((1 - south) * top + south * bottom).tolist()


def sinr(network, coding, depth=4):
    """Content and embeddings of a file of SINR."""
    rng = np.random.default_rng(0)
    inputs = {
        "sin_cos": wrapped,
        "env": sampled,
        "sin_cos_env": lambda lon, lat: wrapped(lon, lat) + sampled(lon, lat),
    }[coding]
    x = np.array([inputs(lon, lat) for lon, lat in PLACES.tolist()])
    linear_alone = network == "LinNet"
    state = {"class_emb.weight": drawn(rng, 4, x.shape[1] if linear_alone else 9)}
    state |= {} if linear_alone else residual(rng, x.shape[1], 9, depth)
    params = {
        "model": network,
        "input_enc": coding,
        "input_dim": x.shape[1],
        "num_filts": 256,
        "depth": 4,
        "num_classes": 4,
        "class_to_taxa": TAXA,
    }
    content = {"state_dict": state, "params": params}
    return content, x if linear_alone else through_residual(state, x)


@pytest.mark.parametrize("network", ["ResidualFCNet", "LinNet"])
@pytest.mark.parametrize("coding", WIDTHS)
def test_sinr_equals_the_formula(network, coding, tmp_path):
    content, expected = sinr(network, coding)
    model = import_checkpoint(saved(tmp_path, content, "model.pt"), environment=raster())
    agree(model, expected, content["state_dict"]["class_emb.weight"])
    assert model.class_names == ("7", "47", "1003", "200001")
    unchanged_by_saving(model, tmp_path / "ours")


@pytest.mark.parametrize("depth", [0, 2])
def test_sinr_of_another_depth_than_its_params_say(depth, tmp_path):
    content, expected = sinr("ResidualFCNet", "sin_cos", depth)
    model = import_checkpoint(saved(tmp_path, content, "model.pt"))
    agree(model, expected, content["state_dict"]["class_emb.weight"])


def test_the_sea_counts_as_zero():
    land, sea = sampled(-180, 90), sampled(-180 + 2.5 / 7 * 360, 90 - 1.5 / 4 * 180)
    assert all(land)
    assert sea == [0.0] * BANDS


@pytest.mark.parametrize("network", ["ResidualFCNet", "LinNet"])
@pytest.mark.parametrize("coding", ["env", "sin_cos_env"])
def test_sinr_with_environment_asks_for_the_raster(network, coding, tmp_path):
    path = saved(tmp_path, sinr(network, coding)[0], "model.pt")
    message = refusal(path)
    assert "takes 3 bands of environment" in message
    assert "pass environment=, the raster (rows, columns, bands)" in message


@pytest.mark.parametrize("shape", [(5, 8, BANDS + 1), (BANDS, 5, 8), (5, 8), (0, 0, BANDS)])
def test_a_raster_of_another_shape_is_refused(shape, tmp_path):
    path = saved(tmp_path, sinr("ResidualFCNet", "sin_cos_env")[0], "model.pt")
    refusal(path, environment=torch.zeros(shape))


def test_a_raster_of_one_pixel_is_the_same_everywhere(tmp_path):
    content, _ = sinr("LinNet", "env")
    pixel = torch.tensor([[[0.5, -1.0, 2.0]]])
    model = import_checkpoint(saved(tmp_path, content, "model.pt"), environment=pixel)
    agree(
        model, pixel[0].double().expand(len(PLACES), -1), content["state_dict"]["class_emb.weight"]
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"input_enc": "sin"}, "input_enc 'sin' is not known"),
        ({"input_enc": 4}, "input_enc is 4"),
        ({"input_enc": "sin_cos"}, "does not mean 3 inputs"),
        ({"class_to_taxa": TAXA[:3]}, "names 3 classes and has 4"),
    ],
)
def test_params_of_sinr_that_do_not_fit_its_tensors_are_refused(wrong, said, tmp_path):
    content, _ = sinr("LinNet", "env")
    content["params"] |= wrong
    assert said in refusal(saved(tmp_path, content, "model.pt"), environment=raster())


def test_sinr_with_fewer_inputs_than_its_coordinates_need_is_refused(tmp_path):
    content, _ = sinr("LinNet", "env")
    content["params"]["input_enc"] = "sin_cos_env"
    message = refusal(saved(tmp_path, content, "model.pt"))
    assert "-1" not in message.removeprefix(str(tmp_path))
