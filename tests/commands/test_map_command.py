import json

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import geocsp
from geocsp.commands.map import map_
from geocsp.errors import DataError

APP = typer.Typer()
APP.command()(map_)
RUNNER = CliRunner()
NAMES = ["red fox", "grey wolf", "a/b: c"]


SMALL = ["--bounds", "0,40,20,60", "--step", "2"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a prior that takes the date."""
    torch.manual_seed(0)
    encoder = geocsp.create("location", "space2vec-grid", dim=8, date_harmonics=1)
    prior = geocsp.GeoPrior(encoder, NAMES).eval()
    return str(prior.save_pretrained(tmp_path_factory.mktemp("models") / "prior"))


def run(*arguments):
    return RUNNER.invoke(APP, [str(argument) for argument in arguments])


def facts(*arguments):
    made = run(*arguments, "--json")
    assert made.exit_code == 0, made.output + str(made.exception)
    return json.loads(made.stdout)["maps"]


def test_a_picture_of_a_class(tmp_path, model):
    path = tmp_path / "new" / "fox.png"
    made = run(model, "--class", "red fox", "--step", 5, "-o", path)
    assert made.exit_code == 0
    assert made.stdout.startswith(f"{path}: P(red fox | place), 36 x 72 cells of 5°, 0.")
    with Image.open(path) as image:
        settings = json.loads(image.text["Description"])
    assert settings["class"] == "red fox"
    assert settings["model"] == model
    assert settings["fingerprint"] == geocsp.models.fingerprint_of(geocsp.load(model))


@pytest.mark.parametrize(
    ("options", "title"),
    [
        (["--best-class"], "Most likely class"),
        (["--uncertainty"], "Uncertainty of the class (normalised entropy)"),
        (["--embedding", "--seed", "3"], "Location embedding, principal components as RGB"),
        (["--like", "2.35,48.86"], "Likeness to lon 2.35, lat 48.86 (cosine of embeddings)"),
        (["--like", "-100,-40.5"], "Likeness to lon -100, lat -40.5 (cosine of embeddings)"),
    ],
)
def test_every_other_quantity_is_drawn(tmp_path, model, options, title):
    (fact,) = facts(model, *options, *SMALL, "-o", tmp_path / "map.png")
    assert fact["quantity"] == title
    assert fact["cells"] == 100
    assert (tmp_path / "map.png").stat().st_size > 10_000
    assert fact.get("seed") == (3 if "--seed" in options else None)


def test_distance_is_for_models_that_know_their_places(tmp_path, model):
    failed = run(model, "--distance", *SMALL, "-o", tmp_path / "map.png")
    assert "does not know where" in str(failed.exception)
    model = geocsp.GeoModel(geocsp.create("location", "space2vec-grid", dim=8), 4)
    head = geocsp.ImageHead(torch.zeros(4), torch.ones(4), torch.nn.Linear(4, 3))
    prior = geocsp.GeoPrior(geocsp.create("location", "space2vec-grid", dim=8), NAMES)
    support = torch.tensor([[0.0, 0.0]])
    classifier = geocsp.GeoClassifier(model, prior, head, support=support)
    classifier.save_pretrained(tmp_path / "classifier")
    (fact,) = facts(tmp_path / "classifier", "--distance", "--step", 10, "-o", tmp_path / "d.png")
    corner = torch.tensor([[175.0, 5.0]])  # the farthest centre of a cell
    farthest = geocsp.coords.great_circle_km(corner, support)
    assert fact["highest"] == pytest.approx(float(farthest), rel=1e-5)


def test_a_window_of_a_geotiff(tmp_path, model):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "map.tif"
    options = ["--land-only", "--bounds", "165,-48,-175,-33", "--step", "0.5", "-o", path]
    (fact,) = facts(model, "--class", "red fox", *options)
    assert (fact["rows"], fact["columns"]) == (30, 40)
    with rasterio.open(path) as file:
        values = file.read(1)
        assert np.isfinite(values).sum() == fact["cells"] < 300
        lon, lat = file.xy(*np.argwhere(np.isfinite(values))[5])
        found = float(next(file.sample([(lon, lat)]))[0])
    place = torch.tensor([[lon, lat]], dtype=torch.float64)
    assert found == pytest.approx(
        float(geocsp.load(model).class_probabilities(place)[0, 0]), abs=1e-6
    )


@pytest.mark.parametrize("ending", ["geojson", "gpkg"])
def test_polygons_at_levels(tmp_path, model, ending):
    geopandas = pytest.importorskip("geopandas")
    path = tmp_path / f"map.{ending}"
    options = ["--step", 5, "--levels", "0.3,0.5,0.99999", "-o", path]
    (fact,) = facts(model, "--class", "red fox", *options)
    frame = geopandas.read_file(path)
    assert fact["polygons"] == len(frame)
    assert set(frame["level"]) <= {0.3, 0.5}
    assert frame.geometry.is_valid.all()
    told = run(model, "--class", "red fox", "--step", 5, "--levels", "2", "-o", path)
    assert "no level is reached" in told.stdout


def test_several_classes_go_into_a_folder(tmp_path, model):
    folder = tmp_path / "maps"
    options = [*SMALL, "--format", "tif", "-o", folder]
    made = facts(model, "--class", "grey wolf", "--class", "a/b: c", *options)
    assert [fact["class"] for fact in made] == ["grey wolf", "a/b: c"]
    assert sorted(path.name for path in folder.iterdir()) == ["a-b-c.tif", "grey-wolf.tif"]
    everything = facts(model, "--all-classes", *SMALL, "-o", tmp_path / "all")
    assert len(everything) == 3
    names = ["a-b-c.png", "grey-wolf.png", "red-fox.png"]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == names


def test_time_is_for_models_that_know_it(tmp_path, model):
    options = ["--class", "red fox", *SMALL, "-o", tmp_path / "map.png"]
    (summer,) = facts(model, *options, "--time", "2026-06-21T12:00")
    (winter,) = facts(model, *options, "--time", "2026-12-21T12:00")
    assert summer["time"] == "2026-06-21T12:00:00"
    assert summer["highest"] != winter["highest"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to show by one of --class"),
        (["--embedding", "--best-class"], "not --best-class and --embedding"),
        (["--all-classes", "-o", "x.png"], "go into a folder, not into x.png"),
        (["--best-class", "--format", "png", "-o", "x.png"], "--format is for a folder"),
        (["--best-class", "--levels", "1", "-o", "x.png"], "levels are for"),
        (["--best-class", "--levels", "1", "-o", "x.gpkg"], "levels are for"),
        (["--uncertainty", "--levels", "a,b", "-o", "x.gpkg"], "is not numbers"),
        (["--uncertainty", "--levels", "nan", "-o", "x.gpkg"], "is not numbers"),
        (["--embedding", "-o", "x.geojson"], "no contours"),
        (["--like", "12"], "is no lon,lat"),
        (["--uncertainty", "--time", "noon"], "is no moment"),
    ],
)
def test_wrong_options_are_bad_usage(tmp_path, monkeypatch, model, arguments, message):
    monkeypatch.chdir(tmp_path)
    failed = run(model, *arguments)
    assert failed.exit_code == 2
    assert message in " ".join(failed.output.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--class", "red foks"], "did you mean 'red fox'"),
        (["--uncertainty", "-o", "x.jpg"], "names no map"),
        (["--uncertainty", "--bounds", "1,2,3"], "bounds must be"),
        (["--uncertainty", "--step", "0.001"], "too many for one map"),
        (["--uncertainty", "--step", "7"], "do not divide"),
        (["--like", "200,0"], "no place at"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path, monkeypatch, model, arguments, message):
    monkeypatch.chdir(tmp_path)
    failed = run(model, *arguments)
    assert isinstance(failed.exception, DataError)
    assert message in str(failed.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_classes_says_so(tmp_path):
    encoder = geocsp.create("location", "space2vec-grid", dim=8)
    folder = encoder.save_pretrained(tmp_path / "encoder")
    for option in (["--uncertainty"], ["--best-class"], ["--class", "x"], ["--all-classes"]):
        failed = run(folder, *option, "-o", tmp_path / "maps")
        assert "knows no classes" in str(failed.exception)
    assert not (tmp_path / "maps").exists()


def test_a_disk_that_fails_is_told(tmp_path, monkeypatch, model):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geocsp.maps.pictures.write_atomically", full)
    failed = run(model, "--uncertainty", *SMALL, "-o", tmp_path / "map.png")
    assert isinstance(failed.exception, RuntimeError)
    assert "No space left" in str(failed.exception)


def test_help_has_examples():
    shown = run("--help")
    assert shown.exit_code == 0
    assert "geocsp map" in shown.stdout
