import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import geocsp
from geocsp import sklearn as spatial
from geocsp.classifier import GeoClassifier
from geocsp.errors import DataError
from geocsp.sklearn import LocationEmbedder

SMALL = {"dim": 8}
_RANGE = "draws latitudes around 100, beyond the pole"
FAILING = {
    "check_fit_idempotent": _RANGE,
    "check_fit_check_is_fitted": _RANGE,
    "check_n_features_in": _RANGE,
}


def places(count=40, seed=0):
    random = np.random.default_rng(seed)
    return np.stack([random.uniform(-180, 180, count), random.uniform(-90, 90, count)], axis=1)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return geocsp.create("location", "space2vec-grid", dim=8).eval()


@pytest.fixture(scope="module")
def timed():
    torch.manual_seed(0)
    return geocsp.create("location", "wrap", dim=8, date_harmonics=2, hour_harmonics=1).eval()


@parametrize_with_checks(
    [
        LocationEmbedder(columns=(0, 1), settings=SMALL),
        LocationEmbedder(columns=(0, 1), settings=SMALL, missing="nan", normalise=True),
    ],
    expected_failed_checks=lambda estimator: FAILING,
)
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def test_it_is_what_the_model_embeds(encoder):
    lonlat = places()
    expected = encoder.embed(torch.from_numpy(lonlat)).numpy()
    found = LocationEmbedder(encoder).fit_transform(lonlat)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_poles_and_the_antimeridian_are_places(encoder):
    lonlat = np.array([[0.0, 90.0], [0.0, -90.0], [180.0, 0.0], [-180.0, 0.0], [0.0, 0.0]])
    assert np.isfinite(LocationEmbedder(encoder).fit_transform(lonlat)).all()


@pytest.mark.parametrize("kind", ["encoder", "model", "prior", "linear", "classifier"])
def test_any_model_embeds(kind, encoder):
    model = geocsp.GeoModel(encoder, 6)
    made = {
        "encoder": encoder,
        "model": model,
        "prior": geocsp.GeoPrior(encoder, 3),
        "linear": geocsp.LinearPrior(encoder, 3),
        "classifier": GeoClassifier(
            model,
            geocsp.LinearPrior(geocsp.create("location", "wrap", dim=4), 3),
            geocsp.train_image_head(torch.randn(30, 6), torch.arange(30) % 3, 3),
            aligned=False,
        ),
    }[kind]
    lonlat = places()
    expected = made.embed(torch.from_numpy(lonlat)).numpy()
    np.testing.assert_array_equal(LocationEmbedder(made).fit_transform(lonlat), expected)


def test_a_folder_is_loaded_and_not_needed_after_pickling(encoder, tmp_path):
    folder = encoder.save_pretrained(tmp_path / "model")
    lonlat = places()
    fitted = LocationEmbedder(folder).fit(lonlat)
    expected = LocationEmbedder(str(folder)).fit_transform(lonlat)
    content = pickle.dumps(fitted)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    np.testing.assert_array_equal(pickle.loads(content).transform(lonlat), expected)
    np.testing.assert_array_equal(expected, encoder.embed(torch.from_numpy(lonlat)).numpy())


def test_fitting_takes_a_copy(encoder):
    model = geocsp.LocationEncoder.from_config(encoder.config())
    fitted = LocationEmbedder(model).fit(places())
    before = fitted.transform(places())
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    np.testing.assert_array_equal(fitted.transform(places()), before)


def test_clones_and_settings():
    embedder = LocationEmbedder("rff", settings={"dim": 8}, seed=3, columns=("x", "y"))
    copied = clone(embedder)
    assert copied.get_params() == embedder.get_params()
    assert not hasattr(copied, "encoder_")
    copied.set_params(settings={"dim": 4}, columns=(0, 1))
    assert copied.fit_transform(places()).shape == (40, 4)


def test_random_weights_go_by_the_seed_and_leave_the_global_state_alone():
    lonlat = places()
    state = torch.random.get_rng_state()
    one, two, three = (
        LocationEmbedder("wrap", settings=SMALL, seed=seed).fit_transform(lonlat)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, three)


def test_rows_of_unit_length(encoder):
    raw = LocationEmbedder(encoder).fit_transform(places())
    unit = LocationEmbedder(encoder, normalise=True).fit_transform(places())
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, rtol=1e-5, atol=1e-7)


def test_half_precision(encoder):
    raw = LocationEmbedder(encoder).fit_transform(places())
    half = LocationEmbedder(encoder, dtype="float16").fit_transform(places())
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, raw.astype(np.float16))


@pytest.mark.parametrize("library", [pd, pl])
def test_data_frames_go_by_names(library, encoder):
    lonlat = places()
    columns = {"kind": ["a"] * 40, "y": lonlat[:, 1], "x": lonlat[:, 0]}
    frame = library.DataFrame(columns)
    embedder = LocationEmbedder(encoder, columns=("x", "y")).fit(frame)
    expected = encoder.embed(torch.from_numpy(lonlat)).numpy()
    np.testing.assert_array_equal(embedder.transform(frame), expected)
    without = library.DataFrame({name: columns[name] for name in ("x", "y")})
    np.testing.assert_array_equal(embedder.transform(without), expected)
    assert list(embedder.feature_names_in_) == ["x", "y"]
    assert embedder.n_features_in_ == 2


@pytest.mark.parametrize("library", [pd, pl])
def test_data_frames_come_out(library, encoder):
    lonlat = places()
    name = "pandas" if library is pd else "polars"
    frame = library.DataFrame({"lon": lonlat[:, 0], "lat": lonlat[:, 1]})
    found = LocationEmbedder(encoder).set_output(transform=name).fit_transform(frame)
    assert isinstance(found, library.DataFrame)
    assert list(found.columns) == [f"embedding_{number:03}" for number in range(8)]
    np.testing.assert_array_equal(found.to_numpy(), LocationEmbedder(encoder).fit_transform(lonlat))


def test_an_index_of_pandas_stays(encoder):
    frame = pd.DataFrame({"lon": [1.0, 2.0], "lat": [3.0, 4.0]}, index=["b", "a"])
    found = LocationEmbedder(encoder).set_output(transform="pandas").fit_transform(frame)
    assert list(found.index) == ["b", "a"]


def test_positions_pick_columns_of_wide_arrays_and_frames(encoder):
    lonlat = places()
    wide = np.column_stack([lonlat[:, 1], np.full(40, np.nan), lonlat[:, 0]])
    expected = LocationEmbedder(encoder).fit_transform(lonlat)
    embedder = LocationEmbedder(encoder, columns=(2, 0))
    np.testing.assert_array_equal(embedder.fit_transform(wide), expected)
    frame = pd.DataFrame(wide, columns=["a", "b", "c"])
    np.testing.assert_array_equal(embedder.fit_transform(frame), expected)


def test_missing_places(encoder):
    lonlat = places(5)
    lonlat[1, 0] = np.nan
    lonlat[3] = np.nan
    with pytest.raises(DataError, match="X row 1 has a NaN coordinate"):
        LocationEmbedder(encoder).fit(lonlat)
    found = LocationEmbedder(encoder, missing="nan").fit_transform(lonlat)
    assert np.isnan(found[[1, 3]]).all()
    rest = LocationEmbedder(encoder).fit_transform(lonlat[[0, 2, 4]])
    np.testing.assert_array_equal(found[[0, 2, 4]], rest)
    nothing = LocationEmbedder(encoder, missing="nan").fit_transform(np.full((2, 2), np.nan))
    assert nothing.shape == (2, 8)
    assert np.isnan(nothing).all()


def test_a_missing_value_of_pandas_is_a_missing_place(encoder):
    frame = pd.DataFrame({"lon": pd.array([1.0, pd.NA], "Float64"), "lat": [2, 3]})
    found = LocationEmbedder(encoder, missing="nan").fit_transform(frame)
    assert np.isnan(found).any(axis=1).tolist() == [False, True]


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({}, [[0.0, 91.0]], r"X row 0 is \(lon 0, lat 91\): latitude must be in"),
        ({}, [[0.0, 0.0], [181.0, 0.0]], "X row 1 is .*longitude must be in"),
        ({}, [[0.0, np.inf]], "coordinates must be finite"),
        ({}, np.zeros((3, 5)), r"got 5 feature\(s\); say which are longitude"),
        ({}, pd.DataFrame({"longitude": [1.0], "lat": [1.0]}), "no column 'lon'; its columns are"),
        ({"columns": ("lon",)}, [[0.0, 0.0]], "columns must be two"),
        ({"columns": (0, "lat")}, [[0.0, 0.0]], "all names or all positions"),
        ({"columns": (0, 2)}, [[0.0, 0.0]], r"X has 2 feature\(s\), from 0 on, and none at 2"),
        ({"missing": "drop"}, [[0.0, 0.0]], "no way 'drop' to treat missing places"),
        ({"dtype": "int8"}, [[0.0, 0.0]], "no dtype 'int8'"),
        ({"model": "no-such"}, [[0.0, 0.0]], "no-such"),
        ({"model": "wrap", "settings": {"scales": 4}}, [[0.0, 0.0]], "wrap with .*scales"),
        ({"time": "when"}, pd.DataFrame({"lon": [0.0], "lat": [0.0]}), "takes no time"),
    ],
)
def test_bad_input_is_one_clear_error(settings, given, message):
    settings = {"model": "xyz", "settings": {"dim": 4}} | settings
    if settings["model"] == "no-such":
        del settings["settings"]
    with pytest.raises(DataError, match=message):
        LocationEmbedder(**settings).fit(given)


def test_settings_are_for_random_weights_alone(encoder):
    with pytest.raises(DataError, match="a trained model has its own"):
        LocationEmbedder(encoder, settings={"dim": 4}).fit(places())


def test_a_row_out_of_range_keeps_its_number_beside_missing_ones(encoder):
    lonlat = np.array([[np.nan, 0.0], [0.0, 0.0], [0.0, 95.0]])
    with pytest.raises(DataError, match="X row 2"):
        LocationEmbedder(encoder, missing="nan").fit(lonlat)


def test_it_must_be_fitted(encoder):
    with pytest.raises(NotFittedError):
        LocationEmbedder(encoder).transform(places())
    with pytest.raises(NotFittedError):
        LocationEmbedder(encoder).get_feature_names_out()


def test_names_of_columns_out(encoder):
    embedder = LocationEmbedder(encoder).fit(pd.DataFrame({"lon": [1.0], "lat": [2.0]}))
    names = embedder.get_feature_names_out()
    assert names.dtype == object
    assert list(embedder.get_feature_names_out(["lon", "lat"])) == list(names)
    with pytest.raises(ValueError, match="feature_names_in_"):
        embedder.get_feature_names_out(["a", "b"])


@pytest.mark.parametrize("kind", ["text", "pandas", "zoned", "polars", "seconds"])
def test_times_of_all_kinds(kind, timed):
    lonlat = places(3)
    texts = ["2024-03-01T06:30:00", "2023-07-15T18:00:00", None]
    moments = pd.to_datetime(pd.Series(texts))
    frame = pd.DataFrame({"lon": lonlat[:, 0], "lat": lonlat[:, 1], "when": moments})
    if kind == "text":
        frame["when"] = texts
    elif kind == "zoned":
        frame["when"] = moments.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    elif kind == "polars":
        frame = pl.from_pandas(frame)
    elif kind == "seconds":
        seconds = [moment.timestamp() for moment in moments[:2]]
        frame = np.column_stack([lonlat, [*seconds, np.nan]])
    time = geocsp.times_of(texts, torch.from_numpy(lonlat[:, 0]))
    expected = timed.embed(torch.from_numpy(lonlat), time).numpy()
    found = LocationEmbedder(timed, time="when").fit_transform(frame)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    unknown = LocationEmbedder(timed).fit_transform(lonlat)
    assert not np.allclose(found[0], unknown[0])
    np.testing.assert_allclose(found[2], unknown[2], rtol=1e-5, atol=1e-6)


def test_times_that_cannot_be_read(timed):
    frame = pd.DataFrame({"lon": [1.0], "lat": [2.0], "when": ["tomorrow"]})
    with pytest.raises(DataError, match="1 times in X cannot be read"):
        LocationEmbedder(timed, time="when").fit(frame)


def test_in_a_column_transformer_with_an_imputer(encoder):
    lonlat = places(60)
    frame = pd.DataFrame({"lon": lonlat[:, 0], "lat": lonlat[:, 1], "area": np.arange(60.0)})
    frame.loc[7, "lon"] = np.nan
    place = make_pipeline(LocationEmbedder(encoder, missing="nan"), SimpleImputer())
    columns = ColumnTransformer(
        [("place", place, ["lon", "lat"]), ("rest", StandardScaler(), ["area"])]
    ).set_output(transform="pandas")
    found = columns.fit_transform(frame)
    assert found.shape == (60, 9)
    assert found.columns[0] == "place__embedding_000"
    assert np.isfinite(found.to_numpy()).all()
    model = make_pipeline(columns, Ridge()).fit(frame, lonlat[:, 1])
    assert model.predict(frame.iloc[:5]).shape == (5,)


def test_a_grid_search_over_encoders_and_their_settings():
    lonlat = places(120)
    target = (lonlat[:, 0] > 0).astype(int)
    model = make_pipeline(LocationEmbedder(), LogisticRegression())
    search = GridSearchCV(
        model,
        {
            "locationembedder__model": ["xyz", "wrap"],
            "locationembedder__settings": [{"dim": 4}, {"dim": 8}],
        },
        cv=spatial.RandomFolds(folds=3),
        error_score="raise",
    ).fit(lonlat, target)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ > 0.8
    found = search.best_estimator_[0].encoder_
    assert found.dim == search.best_params_["locationembedder__settings"]["dim"]


@pytest.mark.parametrize(
    "splitter",
    [
        spatial.RandomFolds(folds=3),
        spatial.SpatialBlocks(20.0, folds=3),
        spatial.Checkerboard(),
        spatial.HealpixCells(folds=3),
        spatial.Buffered(spatial.SpatialBlocks(30.0, folds=3), km=100.0),
        spatial.StratifiedFolds(folds=3),
    ],
)
def test_splitters_hold_out_folds_of_a_pipeline(splitter):
    lonlat = places(300)
    target = (lonlat[:, 1] > 10).astype(int)
    model = make_pipeline(LocationEmbedder("xyz", settings=SMALL), LogisticRegression())
    found = cross_val_score(model, lonlat, target, cv=splitter, error_score="raise")
    by_hand = [
        model.fit(lonlat[train], target[train]).score(lonlat[test], target[test])
        for train, test in splitter.split(lonlat, target)
    ]
    np.testing.assert_allclose(found, by_hand)


def test_waves_tell_a_line_what_degrees_do_not():
    random = np.random.default_rng(0)
    lonlat = np.stack([random.uniform(-60, 60, 400), random.uniform(-60, 60, 400)], axis=1)
    target = np.sin(np.deg2rad(lonlat[:, 0] * 4)) * np.cos(np.deg2rad(lonlat[:, 1] * 3))
    head, folds = make_pipeline(StandardScaler(), Ridge(10.0)), spatial.RandomFolds(folds=3)
    plain = cross_val_score(head, lonlat, target, cv=folds).mean()
    waves = make_pipeline(LocationEmbedder(), head)
    assert cross_val_score(waves, lonlat, target, cv=folds).mean() > plain + 0.5


def test_without_scikit_learn_the_extra_is_named():
    code = "import sys; sys.modules['sklearn'] = None\nimport geocsp.sklearn"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: scikit-learn is not installed" in run.stderr
    assert "geocsp[evaluate]" in run.stderr
