import json

import numpy as np
import pandas as pd
import pytest
import torch

import geocsp
from geocsp import GeoPrior
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.fusion import GuardedFusion, Support, fit_calibration, fit_guarded_fusion
from geocsp.scores import FittedFusion, ScoreOptions, ScoreTable, fit_on, predict
from geocsp.scores import fitted as fitting

CLASSES = ["ant", "bee", "cow"]
COUNT = 120
GENERATOR = torch.Generator().manual_seed(3)
PLACES = sample_sphere(COUNT, GENERATOR).double()
LABELS = torch.randint(3, (COUNT,), generator=GENERATOR)
IMAGE = (
    torch.rand(COUNT, 3, generator=GENERATOR).log() + torch.nn.functional.one_hot(LABELS, 3) * 0.5
).softmax(dim=1)
SUPPORT = sample_sphere(40, GENERATOR).double()


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return GeoPrior(geocsp.create("location", "wrap", dim=8), CLASSES)


@pytest.fixture
def table(tmp_path, prior):
    """Some rows without a label, and some without a place."""
    frame = pd.DataFrame(IMAGE.numpy(), columns=CLASSES)
    frame["lon"], frame["lat"] = PLACES.T.tolist()
    frame["label"] = [CLASSES[n] for n in LABELS]
    frame.loc[:9, "label"] = None
    frame.loc[10:19, "lon"] = np.nan
    frame.to_parquet(tmp_path / "s.parquet")
    return ScoreTable(str(tmp_path / "s.parquet"), prior, ScoreOptions())


def fitted_on(table, prior, **settings):
    return fit_on(table, prior, report=lambda problems: list(problems), **settings)


def test_calibration_is_that_of_the_rows_with_label_and_place(table, prior):
    fitted = fitted_on(table, prior)
    scores = prior.class_scores(PLACES[20:])
    expected = fit_calibration(IMAGE[20:].log(), scores, LABELS[20:])
    assert vars(fitted.fusion) == pytest.approx(vars(expected), rel=1e-4)
    assert fitted.rows == COUNT - 20


def test_guarded_fusion_is_kept_with_its_places(table, prior, tmp_path):
    fitted = fitted_on(table, prior, support=SUPPORT)
    scores = prior.class_scores(PLACES[20:])
    expected = fit_guarded_fusion(
        IMAGE[20:].log(), scores, LABELS[20:], PLACES[20:], Support(SUPPORT)
    )
    again = FittedFusion.load(fitted.save(tmp_path / "made" / "fusion.json"))
    assert isinstance(again.fusion, GuardedFusion)
    assert again.fusion.to_dict() == fitted.fusion.to_dict()
    assert vars(again.fusion.fusion) == pytest.approx(vars(expected.fusion), rel=1e-4)
    assert vars(again.fusion.evidence) == pytest.approx(vars(expected.evidence), rel=1e-3)
    np.testing.assert_allclose(again.support, SUPPORT, atol=1e-6)
    again.check(prior, tmp_path)
    done = predict(table, prior, tmp_path / "p.csv", fusion=again.fusion)
    assert done.rows == COUNT
    found = pd.read_csv(tmp_path / "p.csv")
    fused = geocsp.fuse(IMAGE, prior, PLACES, expected)
    assert list(found["class_1"][20:]) == [CLASSES[n] for n in fused.argmax(1)[20:]]


def test_of_too_many_rows_some_are_drawn_by_the_seed(table, prior, monkeypatch):
    monkeypatch.setattr(fitting, "_CELLS", 30 * 3)
    first, again, other = (fitted_on(table, prior, seed=seed) for seed in (0, 0, 1))
    assert first.rows == 30
    assert first.fusion == again.fusion != other.fusion


def test_without_labels_there_is_nothing_to_fit(prior, tmp_path):
    frame = pd.DataFrame(IMAGE.numpy(), columns=CLASSES).assign(lon=1.0, lat=2.0)
    frame.to_parquet(tmp_path / "s.parquet")
    with pytest.raises(DataError, match="no row has a label and a place"):
        fitted_on(ScoreTable(str(tmp_path / "s.parquet"), prior, ScoreOptions()), prior)


def test_another_prior_and_damaged_files_are_refused(table, prior, tmp_path):
    path = fitted_on(table, prior).save(tmp_path / "fusion.json")
    torch.manual_seed(1)
    other = GeoPrior(geocsp.create("location", "wrap", dim=8), CLASSES)
    with pytest.raises(DataError, match="fitted with another location prior"):
        FittedFusion.load(path).check(other, path)
    with pytest.raises(DataError, match="does not exist"):
        FittedFusion.load(tmp_path / "none.json")
    values = json.loads(path.read_text())
    for damaged in ("{", "[]", json.dumps(values | {"fusion": {"power": 1}}), "{}"):
        path.write_text(damaged)
        with pytest.raises(DataError, match="no fusion that was fitted here"):
            FittedFusion.load(path)
