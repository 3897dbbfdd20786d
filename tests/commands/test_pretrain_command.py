import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import miniatures
import pytest
import torch
import yaml
from filelock import FileLock
from typer.testing import CliRunner

import geocsp
import geocsp.train.run
from geocsp.cli import app, main
from geocsp.commands.pretrain_work import one_line
from geocsp.config import read_config
from geocsp.data.written import read_written
from geocsp.errors import DataError
from geocsp.images.features import open_features
from geocsp.images.resnet import RESNETS, ResNet
from geocsp.location import LocationEncoder
from geocsp.presets import PRESETS, Preset
from geocsp.train.checkpoint import Checkpoints
from geocsp.train.watchers import Console

RUNNER = CliRunner()
SHORT = ("--epochs", "2", "--batch-size", "16", "--accelerator", "cpu", "--json")


def pretrain(source, output, *options):
    return RUNNER.invoke(app, ["pretrain", str(source), "-o", str(output), *SHORT, *options])


def report_of(run):
    assert run.exit_code == 0, run.output + str(run.exception)
    return json.loads(run.stdout)


def fails(arguments, monkeypatch, capsys, code=2):
    monkeypatch.setattr("sys.argv", ["geocsp", "pretrain", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code == code, told
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize("dataset", ["inat2018", "fmow"])
@pytest.mark.parametrize("variant", ["paper", "release"])
def test_the_recipes_of_csp_run_on_its_feature_files(dataset, variant, tmp_path):
    root = getattr(miniatures, dataset)(tmp_path / "data")
    out, name = tmp_path / "out", f"{dataset}-{variant}"
    report = report_of(pretrain(f"{dataset}:{root}", out, "--preset", name))
    assert (report["images"], report["epochs"]) == (58, 2)
    assert report["metrics"].keys() == {"loss", "B", "L", "D"}
    model = geocsp.GeoModel.from_pretrained(out / "model")
    assert model.projection.in_features == 8
    assert model.location.dim == 256
    assert not (out / "prior").exists()
    assert not (out / "features").exists()
    settings = read_config(out / "config.yaml", Preset)
    assert settings.location == PRESETS[name].location
    assert settings.objective == PRESETS[name].objective
    assert settings.pretrain.learning_rate == PRESETS[name].pretrain.learning_rate


def test_the_recipe_of_satclip_runs_on_s2_100k(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    root, out = miniatures.s2_100k(tmp_path / "data", rasterio), tmp_path / "out"
    torch.manual_seed(0)
    network = ResNet(RESNETS["resnet18"]._replace(channels=13))
    torch.save(network.state_dict(), tmp_path / "rn18.pth")
    encoder = ("--encoder", "torchgeo:resnet18", "--weights", str(tmp_path / "rn18.pth"))
    bands = ("--bands", "1,2,3,4,5,6,7,8,9,10,10,11,12")  # as satclip.yaml says
    options = ("--preset", "satclip", *encoder, "--pixels", "32", *bands)
    report = report_of(pretrain(f"s2-100k:{root}", out, *options))
    assert report["images"] == 60
    assert open_features(out / "features").shape == (60, 512)
    assert report["metrics"].keys() == {"loss"}
    assert geocsp.GeoModel.from_pretrained(out / "model").location.degrees == 40


@pytest.fixture
def tiny_clip(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config=sizes | {"vocab_size": 20},
        vision_config=sizes | {"image_size": 32, "patch_size": 8, "projection_dim": 8},
        projection_dim=8,
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path / "clip")
    rules = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 32, "width": 32}}
    (tmp_path / "clip/preprocessor_config.json").write_text(json.dumps(rules | {"resample": 2}))
    return f"transformers:{tmp_path / 'clip'}"


def test_the_recipe_of_geoclip_runs_on_photos(tiny_clip, tmp_path):
    root, out = miniatures.yfcc(tmp_path / "data"), tmp_path / "out"
    options = ("--preset", "geoclip", "--encoder", tiny_clip)
    report = report_of(pretrain(f"yfcc100m-geo:{root}", out, *options))
    assert report["images"] == 53  # 54 of split train, one of them broken
    model = geocsp.GeoModel.from_pretrained(out / "model")
    assert (model.hidden.in_features, model.projection.in_features) == (8, 768)
    assert model.location.dim == 512
    assert "0.jpg" in (out / "quarantine.csv").read_text()
    assert len((out / "quarantine.csv").read_text().splitlines()) == 2


def test_the_recipe_of_sinr_runs_without_images(tmp_path):
    root, out = miniatures.sinr(tmp_path / "data"), tmp_path / "out"
    report = report_of(pretrain(f"sinr:{root}", out, "--preset", "sinr"))
    assert (report["images"], report["classes"]) == (60, 3)
    assert report["metrics"].keys() == {"loss", "seen", "random"}
    prior = geocsp.GeoPrior.from_pretrained(out / "prior")
    assert prior.class_names == ("Parus major", "101", "102")
    location = LocationEncoder.from_pretrained(out / "model")
    lonlat = torch.tensor([[2.0, 48.0], [151.0, -33.0]])
    assert torch.equal(location.embed(lonlat), prior.embed(lonlat))
    assert "no coordinates" in (out / "quarantine.csv").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    root = miniatures.yfcc(folder / "data")
    arguments = ["features", f"yfcc100m-geo:{root}", "-o", str(folder / "features")]
    assert RUNNER.invoke(app, [*arguments, "--pixels", "32"]).exit_code == 0
    return folder


@pytest.fixture
def features(made, tmp_path):
    """A folder of features of tiny photos."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "features"


def without_times(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    measured = ("time", "images_per_second", "wait_share", "peak_memory")
    return [{k: v for k, v in row.items() if k not in measured} for row in rows]


def test_ours_runs_on_a_folder_of_features_and_tells_what_it_did(features, tmp_path):
    out = tmp_path / "out"
    run = RUNNER.invoke(
        app,
        ["pretrain", str(features), "-o", str(out), "--epochs", "2", "--hold-out", "0.2"],
    )
    assert run.exit_code == 0, run.output
    told = run.stdout.splitlines()
    assert re.fullmatch(r"2 epochs of \d+ rows, \d+ held out, \d+ s", told[0])
    assert re.search(r"loss [\d.]+.*validation.median_km [\d.]+", told[1])
    assert told[2] == f"in {out}: model"
    assert "note: rows of other splits, which are not trained on: 6" in told
    assert "epoch 1: loss" in run.stderr
    names = {path.name for path in out.iterdir()}
    assert names >= {"config.yaml", "run.json", "metrics.jsonl", "checkpoints", "model"}
    facts = json.loads((out / "run.json").read_text())
    assert facts["finished"]
    assert facts["settings"]["hold_out"]["share"] == 0.2
    assert facts["versions"].keys() >= {"geocsp", "torch"}


def test_a_finished_run_does_nothing_when_it_is_asked_for_again(features, tmp_path):
    out = tmp_path / "out"
    first = report_of(pretrain(features, out))
    weights = (out / "model/model.safetensors").stat().st_mtime_ns
    assert report_of(pretrain(features, out)) == first
    assert (out / "model/model.safetensors").stat().st_mtime_ns == weights
    told = RUNNER.invoke(app, ["pretrain", str(features), "-o", str(out), *SHORT[:-1]])
    assert "is finished; there was nothing left to do" in told.stdout


def test_an_interrupted_run_goes_on_and_ends_with_the_same_weights(features, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    report_of(pretrain(features, whole, "--epochs", "3"))
    monkeypatch.setattr(geocsp.train.run, "Checkpoints", partial(Checkpoints, every=1))

    def interrupt(self, step, epoch, means):
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Console, "on_epoch", interrupt)
        stopped = pretrain(features, parts, "--epochs", "3")
    assert stopped.exit_code == 130
    assert "interrupted; the same command goes on from here" in stopped.stderr
    assert not json.loads((parts / "run.json").read_text())["finished"]
    report = report_of(pretrain(features, parts, "--epochs", "3"))
    assert (report["starts"], report["epochs"]) == (2, 3)
    for name in ("model/model.safetensors", "config.yaml"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    assert without_times(whole / "metrics.jsonl") == without_times(parts / "metrics.jsonl")


def test_images_are_trained_from_pixels_if_their_encoder_is_trained_along(tmp_path):
    root, out = miniatures.yfcc(tmp_path / "data"), tmp_path / "out"
    options = ("--pixels", "32", "--train-image", "head.*", "--augment", "--hold-out", "0.2")
    report = report_of(pretrain(f"yfcc100m-geo:{root}", out, *options))
    assert report["images"] + report["held_out"] <= 53
    assert "validation.median_km" in report["metrics"]
    assert not (out / "features").exists()
    model = geocsp.GeoModel.from_pretrained(out / "model")
    assert model.image is not None
    frozen = geocsp.create("image", "efficientnet-lite0", pixels=32).state_dict()
    moved = {n for n, w in model.image.state_dict().items() if not torch.equal(w, frozen[n])}
    assert moved
    assert all(".head." in f".{name}" for name in moved)


def test_printed_settings_are_settings(tmp_path):
    printed = RUNNER.invoke(app, ["pretrain", "--preset", "satclip", "--print-config"])
    assert printed.exit_code == 0
    assert yaml.safe_load(printed.stdout)["location"]["settings"]["degrees"] == 40
    own = tmp_path / "own.yaml"
    own.write_text(printed.stdout.replace("degrees: 40", "degrees: 10"))
    again = RUNNER.invoke(
        app, ["pretrain", "--config", str(own), "--print-config", "--seed", "5", "--patience", "3",
              "--hold-out", "0.1", "--precision", "bfloat16", "--micro-batch", "64"],
    )  # fmt: skip
    settings = yaml.safe_load(again.stdout)
    assert settings["location"]["settings"]["degrees"] == 10
    assert settings["seed"] == 5
    assert settings["hold_out"]["patience"] == 3
    assert settings["pretrain"]["precision"] == "bfloat16"
    assert settings["pretrain"]["micro_batch"] == 64


def test_a_search_leaves_settings_that_train(features, tmp_path):
    pytest.importorskip("optuna")
    own, out = tmp_path / "own.yaml", tmp_path / "out"
    own.write_text(
        "location: {name: wrap, settings: {dim: 16}}\n"
        "objective: {name: clip}\n"
        "hold_out: {share: 0.2, metric: R@10}\n"
        "tune:\n"
        "  pretrain.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "  location.settings.dropout: {choices: [0.0, 0.5]}\n"
    )
    found = report_of(pretrain(features, out, "--config", str(own), "--tune", "3"))
    assert found["metric"] == "R@10"
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2]
    assert report_of(pretrain(features, out, "--config", str(own), "--tune", "2")) == found
    arguments = [str(features), "-o", str(out), "--config", str(own), *SHORT[:-1], "--tune", "3"]
    table = RUNNER.invoke(app, ["pretrain", *arguments])
    assert "learning_rate" in table.stdout
    assert "trial" not in table.stderr  # all were there
    fourth = RUNNER.invoke(app, ["pretrain", *arguments[:-1], "4"])
    assert re.search(r"trial 3: .* with pretrain.learning_rate [\d.e-]+, loc", fourth.stderr)
    best = out / "best.yaml"
    trained = report_of(pretrain(features, tmp_path / "best", "--config", str(best)))
    winner = found["trials"][found["best"]]
    rate = trained["settings"]["pretrain"]["learning_rate"]
    assert rate == winner["values"]["pretrain.learning_rate"]


@pytest.mark.slow
def test_two_processes_train_together(features, tmp_path):
    pytest.importorskip("lightning_fabric")
    one, two = tmp_path / "one", tmp_path / "two"
    assert pretrain(features, one, "--preset", "best").exit_code == 0
    assert pretrain(features, two, "--preset", "best", "--devices", "2").exit_code == 0
    first, second = (json.loads((out / "run.json").read_text()) for out in (one, two))
    assert (first["processes"], second["processes"]) == (1, 2)
    assert second["epochs"] == 2
    assert first["images"] == second["images"]


WRONG = [
    (["nowhere"], "nowhere does not exist"),
    ([], "name a source of images"),
    (["{features}", "--preset", "paper"], "no preset 'paper'; there are best, inat2018-paper"),
    (["{features}", "--preset", "best", "--config", "a.yaml"], "choose one of"),
    (["{features}", "--config", "a.yaml"], "cannot read a.yaml"),
    (["{features}", "--preset", "sinr"], "per_class needs labels, but the source has none"),
    (["{features}", "--epochs", "many"], "Invalid value for '--epochs'"),
    (["{features}", "--patience", "3"], "hold_out: patience needs a share"),
    (["{features}", "--hold-out", "2"], "need a share held out in [0, 1)"),
    (["{features}", "--precision", "int8"], "int8"),
    (["{features}", "--train-image", "*"], "holds features; to train from pixels"),
    (["{features}", "--tune", "2"], "give a share to hold out"),
    (["{features}", "--tune", "2", "--tensorboard"], "--tune goes without --tensorboard"),
    (["{features}", "--accelerator", "cuda"], "finds no GPU here"),
    (["{data}/train_test_split.csv", "-e", "no-such"], "no image encoder 'no-such'"),
    (["{data}/class_names.csv"], "class_names.csv"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_input_is_one_clear_line_and_exit_code_2(
    arguments, message, features, tmp_path, monkeypatch, capsys
):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.chdir(tmp_path)
    places = {"features": features, "data": tmp_path / "data"}
    if "sinr" in arguments:
        table = features / "table.parquet"
        replace(read_written(table), label=None).write(table)
    arguments = [argument.format(**places) for argument in arguments]
    told = fails(arguments, monkeypatch, capsys)
    assert message in " ".join(re.sub("[│╭╮╰╯─]", " ", told).split()), told


def test_other_settings_or_data_in_the_same_folder_are_refused(
    features, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    report_of(pretrain(features, out))
    arguments = [features, "-o", out, *SHORT]
    told = fails([*arguments, "--learning-rate", "0.1"], monkeypatch, capsys)
    assert "holds a run with other settings (pretrain.learning_rate); use another folder" in told
    table = features / "table.parquet"
    made = read_written(table)
    replace(made, lonlat=made.lonlat / 2).write(table)
    assert "holds a run on other data; use another folder" in fails(arguments, monkeypatch, capsys)


def test_a_folder_that_another_run_works_in_is_refused(features, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"):
        told = fails([features, "-o", out, *SHORT], monkeypatch, capsys)
    assert "another run is working in" in told


def test_strict_makes_left_out_rows_fatal_but_keeps_the_model(tmp_path, monkeypatch, capsys):
    root, out = miniatures.sinr(tmp_path / "data"), tmp_path / "out"
    arguments = [f"sinr:{root}", "-o", out, *SHORT, "--preset", "sinr", "--strict"]
    told = fails(arguments, monkeypatch, capsys)
    assert "images and rows left out: 1; see" in told
    assert (out / "prior/config.json").exists()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("no\nway"), DataError, "no way"),
        (DataError("row 3"), DataError, "row 3"),
        (
            torch.OutOfMemoryError("CUDA"),
            RuntimeError,
            "the memory of the GPU is full; try --micro",
        ),
        (OSError(28, "No space left"), RuntimeError, "reading or writing failed: "),
    ],
)
def test_errors_become_one_line_that_says_what_to_do(error, kind, message):
    with pytest.raises(kind) as caught, one_line():
        raise error
    assert str(caught.value).startswith(message)


def test_curves_are_written_if_asked_for(features, tmp_path):
    pytest.importorskip("tensorboard")
    out = tmp_path / "out"
    report_of(pretrain(features, out, "--tensorboard"))
    assert list((out / "tensorboard").glob("events.*"))


DOCS = (Path(__file__).parents[2] / "docs/training.md").read_text()


def test_every_option_in_the_docs_exists():
    known = RUNNER.invoke(app, ["pretrain", "--help"], env={"COLUMNS": "200"}).output
    named = set(re.findall(r"`?geocsp pretrain[^\n]*", DOCS)) | set(re.findall(r"`--[^`]*`", DOCS))
    options = {option for text in named for option in re.findall(r"--[a-z][a-z-]*", text)}
    assert len(options) > 20
    assert [option for option in sorted(options) if option not in known] == []


def test_the_docs_name_all_presets_and_objectives():
    assert [name for name in PRESETS if f"`{name}`" not in DOCS] == []
    assert [name for name in geocsp.available("objective") if f"`{name}`" not in DOCS] == []


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL))
def test_the_settings_in_the_docs_are_settings(block, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(block if "location:" in block else f"location: {{name: wrap}}\n{block}")
    assert RUNNER.invoke(app, ["pretrain", "--config", str(own), "--print-config"]).exit_code == 0
