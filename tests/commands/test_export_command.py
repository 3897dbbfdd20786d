import json
import subprocess
import sys

import pytest
import torch
import typer
from typer.testing import CliRunner

import geocsp
from geocsp import GeoPrior, hub
from geocsp.card import ModelCard
from geocsp.commands.export import export
from geocsp.errors import DataError
from geocsp.models import fingerprint_of
from geocsp.train.folder import RunReport

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
PLACES = geocsp.coords.sample_sphere(9, torch.Generator().manual_seed(0))


def run(*arguments):
    app = typer.Typer()
    app.command()(export)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    location = geocsp.create("location", "space2vec-grid", dim=6, frequencies=4, hidden=8)
    return GeoPrior(location, ["oak", "pine"]).eval().save_pretrained(tmp_path / "model")


def test_the_default_part_is_the_most_that_the_model_has(folder, tmp_path):
    path = tmp_path / "new" / "a.onnx"
    shown = run(folder, "-o", path, "--json")
    assert shown.exit_code == 0
    facts = json.loads(shown.output)
    model = GeoPrior.from_pretrained(folder)
    assert (facts["part"], facts["opset"], facts["inputs"]) == ("prior", 20, {"lonlat": [None, 2]})
    assert facts["fingerprint"] == fingerprint_of(model)
    assert facts["difference"]["largest"]["probabilities"] < 1e-5
    session = onnxruntime.InferenceSession(str(path))
    (found,) = session.run(["probabilities"], {"lonlat": PLACES.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), model.class_probabilities(PLACES))


def test_a_part_without_a_check_is_said_so(folder, tmp_path):
    path = tmp_path / "a.onnx"
    shown = run(folder, "-o", path, "--part", "location", "--opset", 18, "--no-check")
    assert shown.exit_code == 0
    assert "lonlat (N, 2)" in shown.output
    assert "not asked for" in shown.output
    assert path.is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give -o FILE"),
        (["-o", "a.onnx", "--to", "hf://me/x"], "give -o FILE"),
        (["-o", "a.onnx", "--public"], "go with --to"),
        (["-o", "a.onnx", "--license", "mit"], "go with --to"),
        (["--to", "hf://me/x", "--part", "prior"], "--part is for ONNX"),
        (["-o", "a.onnx", "--opset", "9"], "--opset"),
        (["-o", "a.onnx", "--part", "all"], "--part"),
    ],
)
def test_wrong_usage_is_exit_code_2(folder, arguments, message):
    shown = run(folder, *arguments)
    assert shown.exit_code == 2
    assert message in " ".join(shown.output.split())


def test_wrong_input_is_one_line(folder, tmp_path):
    for arguments, message in (
        ((tmp_path / "none", "-o", tmp_path / "a.onnx"), "does not exist"),
        ((folder, "-o", tmp_path), "is a folder"),
        ((folder, "-o", folder / "config.json" / "a.onnx"), "cannot write"),
        ((folder, "-o", tmp_path / "a.onnx", "--part", "image"), "has no part 'image'"),
        ((folder, "--to", "me/x"), "must be hf://owner/name"),
    ):
        error = run(*arguments).exception
        assert isinstance(error, DataError)
        assert message in str(error)
        assert "\n" not in str(error)
    assert not (tmp_path / "a.onnx").exists()


@pytest.fixture
def pushed(monkeypatch):
    """What would go to the hub."""
    calls = []

    def push(model, repo_id, *, private=True, revision=None, message=""):
        calls.append((model, repo_id, private, revision))
        return f"hf://{repo_id}@{'0' * 40}"

    monkeypatch.setattr(hub, "push", push)
    return calls


def test_the_hub_gets_the_model_with_its_card(folder, pushed):
    shown = run(folder, "--to", "hf://me/trees@trial", "--license", "cc0-1.0")
    assert shown.output == f"hf://me/trees@{'0' * 40}\n"
    ((model, repo_id, private, revision),) = pushed
    assert (repo_id, private, revision) == ("me/trees", True, "trial")
    assert model.card.license == "cc0-1.0"
    assert torch.equal(
        model.class_scores(PLACES), GeoPrior.from_pretrained(folder).class_scores(PLACES)
    )


def test_a_run_says_what_the_card_leaves_open(folder, pushed):
    RunReport(images=77, seed=5, data="abc").write(folder.parent)
    run(folder, "--to", "hf://me/trees", "--public", "--json")
    run(folder.parent, "--to", "hf://me/trees")
    for model, _, _, _ in pushed:
        assert (model.card.data.images, model.card.seed) == (77, 5)
    assert [private for _, _, private, _ in pushed] == [False, True]
    model = GeoPrior.from_pretrained(folder)
    model.save_pretrained(folder, ModelCard.of(model, seed=9))
    run(folder, "--to", "hf://me/trees")
    assert pushed[-1][0].card.seed == 9


def test_help_is_there_and_light():
    assert "Examples" in run("--help").output
    code = (
        "import sys, geocsp.commands.export\n"
        "sys.exit(any(name in sys.modules for name in ('onnx', 'onnxruntime', 'huggingface_hub')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
