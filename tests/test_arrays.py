import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import geocsp
from geocsp import GeoPrior, fuse
from geocsp.arrays import class_order
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.predict import ScoreKind

CLASSES = ["ant", "bee", "cow", "dog"]
PLACES = sample_sphere(6, torch.Generator().manual_seed(0)).double()
IMAGE = torch.rand(6, 4, generator=torch.Generator().manual_seed(1)).double().softmax(dim=1)
SHUFFLED = [2, 0, 3, 1]


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return GeoPrior(geocsp.create("location", "wrap", dim=8), CLASSES)


@pytest.fixture(scope="module")
def expected(prior):
    """The product of the formula, in plain NumPy."""
    place = 1 / (1 + np.exp(-prior.class_scores(PLACES).double().numpy()))
    product = IMAGE.numpy() * place
    return product / product.sum(1, keepdims=True)


def shuffled(frame):
    return frame[[CLASSES[n] for n in SHUFFLED]]


def test_a_numpy_array_gives_one_back(prior, expected):
    fused = fuse(IMAGE.numpy(), prior, PLACES.numpy())
    assert isinstance(fused, np.ndarray)
    assert fused.dtype == np.float64
    np.testing.assert_allclose(fused, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_the_floating_point_type_stays(prior, expected, kind):
    fused = fuse(IMAGE.numpy().astype(kind), prior, PLACES.numpy())
    assert fused.dtype == kind
    np.testing.assert_allclose(fused, expected, rtol=3e-3)


def test_whole_numbers_are_votes(prior):
    votes = np.array([[3, 1, 0, 0]] * 6)
    fused = fuse(votes, prior, PLACES)
    assert fused.dtype == np.float64
    np.testing.assert_allclose(fused, fuse(votes / 4, prior, PLACES), atol=1e-9)


def test_pandas_columns_are_matched_by_name_and_the_index_stays(prior, expected):
    frame = pd.DataFrame(IMAGE.numpy(), index=[*"uvwxyz"], columns=CLASSES)
    fused = fuse(shuffled(frame), prior, PLACES.numpy())
    assert isinstance(fused, pd.DataFrame)
    assert list(fused.index) == [*"uvwxyz"]
    assert list(fused.columns) == [CLASSES[n] for n in SHUFFLED]
    np.testing.assert_allclose(fused[CLASSES].to_numpy(), expected, rtol=1e-6)


def test_polars_columns_are_matched_by_name(prior, expected):
    frame = pl.DataFrame(IMAGE.numpy().astype(np.float32), schema=CLASSES)
    fused = fuse(shuffled(frame), prior, PLACES.numpy())
    assert isinstance(fused, pl.DataFrame)
    assert fused.columns == [CLASSES[n] for n in SHUFFLED]
    assert fused.schema["ant"] == pl.Float32
    np.testing.assert_allclose(fused[CLASSES].to_numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("library", [pd, pl])
def test_places_may_be_a_data_frame(prior, expected, library):
    places = library.DataFrame({"Latitude": PLACES[:, 1].numpy(), "lng": PLACES[:, 0].numpy()})
    np.testing.assert_allclose(fuse(IMAGE.numpy(), prior, places), expected, rtol=1e-6)


@pytest.mark.parametrize("library", [pd, pl])
def test_a_missing_place_in_a_data_frame_keeps_the_image(prior, library):
    lon, lat = PLACES.T.tolist()
    places = library.DataFrame({"lon": [None, *lon[1:]], "lat": lat})
    fused = fuse(IMAGE.numpy(), prior, places)
    np.testing.assert_allclose(fused[0], IMAGE[0])
    assert not np.allclose(fused[1], IMAGE[1])


def test_logits_give_what_their_softmax_gives(prior, expected):
    logits = IMAGE.log() + 3.0
    fused = fuse(logits.numpy(), prior, PLACES, kind=ScoreKind.LOGITS)
    np.testing.assert_allclose(fused, expected, rtol=1e-6)
    ruled_out = torch.full((1, 4), -torch.inf)
    ruled_out[0, 2] = 0.0
    fused = fuse(ruled_out, prior, PLACES[:1], kind=ScoreKind.LOGITS)
    assert int(fused.argmax()) == 2


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_logits_that_are_none_are_told_with_their_row(prior, bad):
    logits = IMAGE.log()
    logits[3, 1] = bad
    with pytest.raises(DataError, match="logits of row 3 must be numbers"):
        fuse(logits, prior, PLACES, kind=ScoreKind.LOGITS)


def test_logits_taken_for_probabilities_are_told(prior):
    with pytest.raises(DataError, match=r"row 0 must be finite, >= 0 .*ScoreKind\.LOGITS"):
        fuse(IMAGE.log().numpy(), prior, PLACES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.drop(columns=["bee", "dog"]),
            "lacks 2 of the prior's 4 classes: 'bee', 'dog'",
        ),
        (lambda f: f.assign(elk=0.0, lon=1.0), "2 columns that are no class .*: 'elk', 'lon'"),
        (lambda f: f.rename(columns={"dog": "bee"}), "2 classes 'bee'"),
        (lambda f: f.assign(dog="much"), "could not convert string to float: 'much'"),
        (lambda f: f.where(f > f.min(axis=None)), "of row . must be finite"),
        (list, r"a pandas or polars DataFrame, got builtins\.list"),
    ],
)
def test_wrong_data_frames_are_told(prior, change, message):
    frame = pd.DataFrame(IMAGE.numpy(), columns=CLASSES)
    with pytest.raises(DataError, match=message):
        fuse(change(frame), prior, PLACES)


def test_a_table_of_places_without_them_is_told(prior):
    with pytest.raises(DataError, match="no columns lon and lat; its columns are x, z"):
        fuse(IMAGE.numpy(), prior, pd.DataFrame({"x": [1.0], "z": [2.0]}))


def test_a_prior_with_two_classes_of_one_name_cannot_be_matched():
    with pytest.raises(DataError, match="the prior has 2 classes 'ant'"):
        class_order(["ant", "bee"], ["ant", "bee", "ant"], "scores.csv")


def test_only_some_of_many_missing_classes_are_named():
    many = [f"class {n}" for n in range(8000)]
    with pytest.raises(DataError, match=r"lacks 7,999 of the prior's 8,000.* and 7,994 more"):
        class_order(many[:1], many, "scores.csv")


def test_data_frame_libraries_are_not_imported():
    code = "import sys, geocsp; sys.exit(bool({'pandas', 'polars'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
