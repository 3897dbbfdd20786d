import json
import re

import hostile
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from geocsp.cli import app, main
from geocsp.linear_prior import LinearPrior
from geocsp.models import load, load_with_images

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Red photos of the south and blue ones of the north, in folders named by class."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for row in range(60):
        name = ("fox", "owl")[row % 2]
        lat = draw.uniform(5, 60) * (1 if row % 2 else -1)
        pixels = draw.integers(0, 90, (40, 40, 3), dtype=np.uint8)
        pixels[..., 2 * (row % 2)] += 60
        (folder / name).mkdir(exist_ok=True)
        tags = hostile.exif(hostile.gps(draw.uniform(-180, 180), lat))
        Image.fromarray(pixels).save(folder / name / f"{row}.png", exif=tags)
    (folder / "owl" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    short = ["--epochs", "1", "--pixels", "64", "--accelerator", "cpu"]
    done = RUNNER.invoke(app, ["pretrain", str(photos), "-o", str(folder), *short])
    assert done.exit_code == 0, done.output
    return folder


def finetune(*arguments):
    return RUNNER.invoke(app, ["finetune", *map(str, arguments)])


def fails(arguments, monkeypatch, capsys, code=2):
    monkeypatch.setattr("sys.argv", ["geocsp", "finetune", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code == code, told
    assert "Traceback" not in told
    return told


def test_photos_in_folders_become_a_classifier_that_takes_photos(photos, run, tmp_path):
    done = finetune(photos, "-m", run, "-o", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["labelled"], facts["held_out"], facts["folds"]) == (60, 60, 5)
    assert facts == json.loads((tmp_path / "finetune.json").read_text())
    assert facts["versions"].keys() >= {"geocsp", "torch"}
    assert "broken.png" in (tmp_path / "quarantine.csv").read_text()
    model = load_with_images(tmp_path)
    assert model.class_names == ("fox", "owl")
    images = torch.zeros(1, 3, 64, 64)
    answers = model.probabilities(images, torch.tensor([[0.0, 50.0]]))
    assert answers.shape == (1, 2)
    again = finetune(photos, "-m", run, "-o", tmp_path, "--json")
    assert json.loads(again.stdout) == facts


def test_the_features_of_the_run_serve_as_source(run, tmp_path):
    done = finetune(run / "features", "-m", run, "-o", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert re.search(r"held out: image \d+\.\d%, location", done.output)
    with_other = finetune(
        run / "features", "-m", run / "model", "-o", tmp_path / "b", "--seed", "1"
    )
    assert with_other.exit_code == 0, with_other.output


def test_a_split_says_what_is_held_out_and_what_is_not_seen(photos, run, tmp_path):
    rows = ["image,lon,lat,label,split"]
    for at, path in enumerate(sorted(photos.glob("*/[0-9]*.png"))):
        split = ("train", "train", "validation", "test")[at % 4]
        label = "secret" if split == "test" else path.parent.name
        rows.append(f"{path},{at + 1},{at},{label},{split}")
    table = tmp_path / "photos.csv"
    table.write_text("\n".join(rows))
    done = finetune(table, "-m", run, "-o", tmp_path / "out", "--json", "--license", "cc0-1.0")
    assert done.exit_code == 0, done.output
    assert "cc0-1.0" in (tmp_path / "out" / "README.md").read_text()
    facts = json.loads(done.stdout)
    assert (facts["labelled"], facts["held_out"], facts["folds"]) == (30, 15, 1)


def test_images_that_are_all_for_tests_are_told(photos, run, tmp_path, monkeypatch, capsys):
    rows = [f"{path},1,1,a,test" for path in sorted(photos.glob("fox/[0-9]*.png"))]
    table = tmp_path / "photos.csv"
    table.write_text("\n".join(["image,lon,lat,label,split", *rows]))
    told = fails([table, "-m", run, "-o", tmp_path / "out"], monkeypatch, capsys)
    assert "none are left to train on" in told
    assert told.count("\n") == 1


def test_places_without_images_make_a_location_prior(run, tmp_path):
    rows = [f"{lat},{lon},{1 + (lat > 0)}" for lon in (1, 50) for lat in range(-8, 9)]
    table = tmp_path / "geo_prior_train.csv"
    table.write_text("\n".join(["latitude,longitude,taxon_id", *rows]))
    done = finetune(f"sinr:{tmp_path}", "-m", run, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output + str(done.exception)
    assert "34 labelled places" in done.output
    prior = load(tmp_path / "out")
    assert isinstance(prior, LinearPrior)
    answers = prior.class_probabilities(torch.tensor([[20.0, 8.0], [20.0, -8.0]])).argmax(1)
    assert [prior.class_names[row] for row in answers] == ["2", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photos}", "-m", "{tmp}/absent"], "does not exist"),
        (["{photos}", "-m", "{run}", "--preset", "{tmp}/absent.yaml"], "absent.yaml"),
        (["{tmp}/absent", "-m", "{run}"], "does not exist"),
        (["{photos}", "-m", "{run}", "--preset", "satclip"], "leave out --preset, or take best"),
    ],
)
def test_wrong_input_is_one_line(arguments, message, photos, run, tmp_path, monkeypatch, capsys):
    named = {"photos": photos, "run": run, "tmp": tmp_path}
    told = fails(
        [*(a.format(**named) for a in arguments), "-o", tmp_path / "out"], monkeypatch, capsys
    )
    assert message in told
    assert told.count("\n") == 1


def test_photos_without_classes_are_told_what_is_missing(
    photos, run, tmp_path, monkeypatch, capsys
):
    told = fails([photos / "fox", "-m", run, "-o", tmp_path], monkeypatch, capsys)
    assert "has no labels; name their column" in told


def test_features_of_another_encoder_are_refused(photos, run, tmp_path, monkeypatch, capsys):
    done = RUNNER.invoke(
        app, ["features", str(photos), "-o", str(tmp_path / "f"), "--pixels", "32"]
    )
    assert done.exit_code == 0
    told = fails([tmp_path / "f", "-m", run, "-o", tmp_path / "out"], monkeypatch, capsys)
    assert "another image encoder" in told


def test_strict_makes_rows_left_out_an_error(photos, run, tmp_path, monkeypatch, capsys):
    told = fails([photos, "-m", run, "-o", tmp_path, "--strict"], monkeypatch, capsys)
    assert "images and rows left out: 1" in told
