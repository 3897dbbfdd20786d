import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import geocsp
from geocsp import GeoClassifier, GeoModel, GeoPrior, ImageHead, fuse
from geocsp.commands.predict import predict
from geocsp.errors import DataError

APP = typer.Typer()
APP.command()(predict)
RUNNER = CliRunner(env={"COLUMNS": "200"})
CLASSES = ["ant", "bee", "cow"]
COUNT = 60


@pytest.fixture(scope="module")
def classifier():
    """A classifier with random weights that takes photos."""
    torch.manual_seed(0)
    image = geocsp.create("image", "efficientnet-lite0", pixels=32)
    location = geocsp.create("location", "wrap", dim=8)
    model = GeoModel(location, image.dim, image=image)
    head = ImageHead(torch.zeros(image.dim), torch.ones(image.dim), nn.Linear(image.dim, 3))
    prior = GeoPrior(geocsp.create("location", "wrap", dim=8), CLASSES)
    return GeoClassifier(model, prior, head).eval()


@pytest.fixture(scope="module")
def model(classifier, tmp_path_factory):
    return str(classifier.save_pretrained(tmp_path_factory.mktemp("models") / "classifier"))


@pytest.fixture(scope="module")
def frame():
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.dirichlet([1, 1, 1], COUNT), columns=["cow", "ant", "bee"])
    table["lon"], table["lat"] = generator.uniform([-180, -90], [180, 90], (COUNT, 2)).T
    table["label"] = [CLASSES[n % 3] for n in range(COUNT)]
    table.loc[4, "lon"] = np.nan
    return table


def run(*arguments, code=0):
    done = RUNNER.invoke(APP, [str(argument) for argument in arguments])
    if isinstance(done.exception, DataError):
        return str(done.exception)
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.output


def test_scores_in_and_predictions_out(classifier, model, frame, tmp_path):
    frame.to_parquet(tmp_path / "scores.parquet")
    said = run("--scores", tmp_path / "scores.parquet", "-m", model, "-o", tmp_path / "p.csv")
    found = pd.read_csv(tmp_path / "p.csv")
    places = torch.from_numpy(frame[["lon", "lat"]].to_numpy())
    fused = fuse(frame[CLASSES].to_numpy(), classifier.prior, places)
    assert list(found["class_1"]) == [CLASSES[n] for n in fused.argmax(1)]
    np.testing.assert_allclose(found["probability_1"], fused.max(1), rtol=1e-4)
    assert list(found["image_class_1"]) == list(frame[CLASSES].idxmax(axis=1))
    assert f"{COUNT} predictions in {tmp_path / 'p.csv'}" in said
    assert "1 of them have no usable place" in said
    right = (found["class_1"] == frame["label"]).mean()
    alone = (found["image_class_1"] == frame["label"]).mean()
    assert re.search(rf"image alone +{100 * alone:.1f}% +100.0%", said)
    assert re.search(rf"image and place +{100 * right:.1f}% +100.0%", said)
    record = json.loads((tmp_path / "p.csv.json").read_text())
    assert record["metrics"]["fused"]["top1"] == pytest.approx(right)
    assert record["settings"]["scores"] == str(tmp_path / "scores.parquet")
    assert record["fusion"] == {"image_temperature": 1, "prior_temperature": 1, "prior_power": 1}


def test_logits_in_an_array_for_machines(model, frame, tmp_path):
    np.save(tmp_path / "s.npy", np.log(frame[CLASSES].to_numpy()))
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    frame[["lon", "lat", "label"]].to_csv(tmp_path / "places.csv", index=False)
    said = run(
        *("--scores", tmp_path / "s.npy", "--logits", "--classes", tmp_path / "names.txt"),
        *("--places", tmp_path / "places.csv", "-m", model, "-o", tmp_path / "p.parquet"),
        *("--all", "--top", 1, "--json"),
    )
    facts = json.loads(said)
    assert facts["rows"] == facts["labelled"] == COUNT
    found = pd.read_parquet(tmp_path / "p.parquet")
    assert list(found.columns[-3:]) == CLASSES
    np.testing.assert_allclose(found[CLASSES].sum(axis=1), 1, rtol=1e-5)
    assert "class_2" not in found.columns


@pytest.mark.parametrize("guarded", [False, True])
def test_a_fusion_is_fitted_kept_and_used(classifier, model, frame, tmp_path, guarded):
    frame.to_parquet(tmp_path / "s.parquet")
    frame[["lon", "lat"]].to_csv(tmp_path / "train.csv", index=False)
    scores, fusion = ("--scores", tmp_path / "s.parquet", "-m", model), tmp_path / "f" / "f.json"
    support = ("--support", tmp_path / "train.csv") if guarded else ()
    said = run(*scores, "--fit", fusion, *support)
    assert f"fitted on {frame['lon'].notna().sum()} labelled rows with a place" in said
    assert ("nats" if guarded else "prior power") in said
    facts = json.loads(run(*scores, "--fit", fusion, *support, "--json"))
    assert facts["support"] == (frame["lon"].notna().sum() if guarded else 0)
    run(*scores, "--fusion", fusion, "-o", tmp_path / "p.csv")
    kept = geocsp.scores.FittedFusion.load(fusion).fusion
    places = torch.from_numpy(frame[["lon", "lat"]].to_numpy())
    fused = fuse(frame[CLASSES].to_numpy(), classifier.prior, places, kept)
    found = pd.read_csv(tmp_path / "p.csv")
    np.testing.assert_allclose(found["probability_1"], fused.max(1), rtol=1e-4)


def test_bad_rows_are_an_error_if_that_is_asked_for(model, frame, tmp_path):
    frame.assign(bee=[-1.0, *frame["bee"][1:]]).to_parquet(tmp_path / "s.parquet")
    given = ("--scores", tmp_path / "s.parquet", "-m", model, "-o", tmp_path / "p.csv")
    said = run(*given)
    assert f"1 rows left out, see {tmp_path / 'p.quarantine.csv'}" in said
    assert "1 rows were left out" in run(*given, "--strict")
    assert len(pd.read_csv(tmp_path / "p.csv")) == COUNT - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either images"),
        (("photos", "--scores", "s.csv"), "give either images"),
        (("photos", "--logits"), "--logits goes with --scores"),
        (("photos", "--fit", "f.json"), "--fit goes with --scores"),
        (("--scores", "s.csv", "--fit", "f", "--fusion", "f"), "give one of them"),
        (("--scores", "s.csv", "--support", "t.csv"), "--support goes with --fit"),
    ],
)
def test_options_that_do_not_go_together(arguments, message):
    assert message in run(*arguments, code=2)


def test_models_that_cannot_do_it(model, tmp_path):
    encoder = geocsp.create("location", "wrap", dim=8).save_pretrained(tmp_path / "encoder")
    assert "knows no classes" in run("--scores", "s.csv", "-m", encoder)
    assert "does not exist" in run("--scores", tmp_path / "s.csv", "-m", model)


def photos(folder, places):
    """Photos with the place in their EXIF; one cannot be opened."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, place in enumerate(places):
        picture = Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        exif = Image.Exif()
        if place is not None:
            lon, lat = place
            gps = exif.get_ifd(0x8825)
            gps |= {1: "N" if lat >= 0 else "S", 2: (abs(lat), 0.0, 0.0)}
            gps |= {3: "E" if lon >= 0 else "W", 4: (abs(lon), 0.0, 0.0)}
            exif._ifds[0x8825] = gps
        picture.save(folder / f"{number}.jpg", exif=exif)
    (folder / "broken.jpg").write_bytes(b"no photo")


def test_photos_with_and_without_a_place(classifier, model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    places = [(10.0, 50.0), None, (-60.0, -20.0)]
    photos(tmp_path / "photos", places)
    said = run(tmp_path / "photos", "-m", model, "-o", tmp_path / "p.parquet", "--all")
    found = pd.read_parquet(tmp_path / "p.parquet").sort_values("id")
    assert list(found["id"]) == ["0.jpg", "1.jpg", "2.jpg"]
    assert list(found["placed"]) == [True, False, True]
    assert "1 of them have no usable place" in said
    assert "1 rows left out" in said
    encoder = classifier.model.image
    table = geocsp.read(tmp_path / "photos", keep_unplaced=True)
    features = geocsp.compute_features(encoder, table, tmp_path / "features")
    order = np.argsort([str(name) for name in features.table.images.names.to_pylist()])
    lonlat = torch.from_numpy(features.table.lonlat)
    expected = classifier.probabilities(features.read(), lonlat)[order]
    np.testing.assert_allclose(found[CLASSES].to_numpy(), expected, rtol=1e-4, atol=1e-6)
    listed = pd.read_csv(tmp_path / "p.quarantine.csv")
    assert list(listed["file"]) == ["broken.jpg"]


def test_a_published_checkpoint_takes_numbered_classes(tmp_path):
    folder = Path(__file__).parents[3] / "shared" / "checkpoints" / "torchspatial"
    found = sorted(folder.glob("*yfcc*.pth.tar")) if folder.is_dir() else []
    if not found or not os.access(found[0], os.R_OK):
        pytest.skip("the published checkpoint is not here")
    prior = geocsp.import_checkpoint(found[0])
    classes = len(prior.class_names)
    generator = np.random.default_rng(0)
    image = generator.dirichlet(np.ones(classes), 40).astype(np.float32)
    places = generator.uniform([-180, -60], [180, 70], (40, 2))
    np.savez(tmp_path / "s.npz", scores=image, lonlat=places)
    run("--scores", tmp_path / "s.npz", "-m", found[0], "-o", tmp_path / "p.csv")
    fused = fuse(image, prior, places)
    written = pd.read_csv(tmp_path / "p.csv")
    assert list(written["class_1"]) == [int(prior.class_names[n]) for n in fused.argmax(1)]
