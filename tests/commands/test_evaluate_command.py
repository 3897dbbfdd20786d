import json
import sys

import numpy as np
import published_miniature
import pytest
from small_evaluations import OURS, PAPER, in_this_process
from tiny_photos import photos
from typer.testing import CliRunner

from geocsp.cli import app, main
from geocsp.commands import evaluate_work
from geocsp.config import parse_config, write_config
from geocsp.data.read import read
from geocsp.evaluate import Results, Shot, report, run
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.sources import BlueMarbleSource
from geocsp.images import EfficientNetLite0
from geocsp.images.features import compute_features

RUNNER = CliRunner()
FEW = ("--shots", "2", "--seeds", "1", "--row", "image", "--row", "knn")


def evaluate(*arguments):
    return RUNNER.invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "160"})


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    """No worker processes, and a page only where it is looked at."""
    monkeypatch.setattr(run, "worker_pool", in_this_process)
    monkeypatch.setattr(report, "write_report", lambda *_: None)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos") / "pictures", count=60)


@pytest.fixture(scope="module")
def features(pictures):
    folder = pictures.parent.parent / "features"
    compute_features(EfficientNetLite0(pixels=32), read(str(pictures)), folder)
    return folder


@pytest.fixture(scope="module")
def evaluated(features, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "features"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "worker_pool", in_this_process)
        shown = evaluate(features, "-o", out, *FEW, "--json")
    assert shown.exit_code == 0, shown.output
    return out, shown


def refused(capsys, monkeypatch, *arguments):
    """What the command says of bad input: one line, exit code 2."""
    monkeypatch.setattr(sys, "argv", ["geocsp", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    assert "Traceback" not in told.err
    lines = [line for line in told.err.splitlines() if line.startswith("geocsp: ")]
    assert len(lines) == 1
    return lines[0]


def test_help_says_what_there_is():
    shown = evaluate("--help")
    assert shown.exit_code == 0
    for option in ("--row", "--shots", "--seeds", "--subsets", "--folds", "--buffer", "--config"):
        assert option in shown.output
    for example in ("evaluate runs/features", "evaluate inat2018:", "--print-config"):
        assert example in shown.output


def test_encoders_named_in_the_help_are_there():
    from geocsp.evaluate.rows import rows_named

    words = (evaluate("--help").output or "").split()
    named = {word for word in words if word.startswith("sup-") and "ENCODER" not in word}
    assert named
    assert [row.name for row in rows_named(sorted(named), PAPER, 8)] == sorted(named)


def test_printed_settings_are_read_back(tmp_path):
    shown = evaluate("--print-config")
    assert shown.exit_code == 0
    assert parse_config(shown.stdout, EvaluateSettings, "text") == EvaluateSettings()
    changed = evaluate(
        *("--row", "knn", "--row", "best", "--shots", "3,5%", "--seeds", "2", "--seed", "4"),
        *("--transductive", "--baseline", "knn", "--subsets", "runs/other", "--print-config"),
    )
    path = tmp_path / "own.yaml"
    path.write_text(changed.stdout)
    settings = parse_config(changed.stdout, EvaluateSettings, "text")
    assert settings.rows == ("knn", "best")
    assert settings.shots == (Shot(per_class=3), Shot(ratio=0.05))
    assert list(settings.every_seed) == [4, 5]
    assert settings.transductive
    assert (settings.baseline, str(settings.subsets)) == ("knn", "runs/other")
    assert evaluate("--config", path, "--print-config").stdout == changed.stdout
    further = evaluate("--config", path, "--seeds", "3", "--print-config").stdout
    assert further == changed.stdout.replace("seeds: 2", "seeds: 3")


def test_json_is_the_file_and_nothing_else(evaluated):
    out, shown = evaluated
    assert shown.stdout == (out / "results.json").read_text() + "\n"
    facts = json.loads(shown.stdout)
    assert len(facts["runs"]) == 2
    assert facts["data"]["folds"] == ["published"]


def test_a_folder_of_features_is_evaluated_by_its_split_column(evaluated, features):
    out, _ = evaluated
    results = Results.read(out)
    assert {path.name for path in out.iterdir()} >= {
        "report.html",
        "table.md",
        "table.tex",
        "results.json",
        "answers",
        "subsets",
    }
    parts = [("train", "train", "val", "test")[n // 3 % 4] for n in range(60)]
    for found in results.runs:
        assert [parts[row] for row in results.test_rows(found)] == ["test"] * 15
        assert [parts[row] for row in results.subset(found)] == ["train"] * 6
        assert found.labels == 6
    assert not (out / "features").exists()


def test_the_terminal_shows_a_table_and_where_the_report_is(evaluated, features):
    out, _ = evaluated
    shown = evaluate(features, "-o", out, *FEW)
    assert shown.exit_code == 0, shown.output
    assert "label: Top-1 in %" in shown.output
    lines = [line.split() for line in shown.output.splitlines()]
    table = {c["row"]: c for c in Results.read(out).facts["table"]}
    image = next(line for line in lines if line[:1] == ["Img.Only"])
    assert image[1] == f"{100 * table['image']['image']['top1']['mean']:.1f}"
    assert image[2:] == ["-"] * 4
    knn = next(line for line in lines if line[:2] == ["Prior", "(knn)"])
    for said, measure in zip(
        knn[2:], ("image", "location", "product", "fused", "guarded"), strict=True
    ):
        assert said == f"{100 * table['knn'][measure]['top1']['mean']:.1f}"
    assert "report.html" in shown.output


def test_folds_of_blocks_replace_the_split(features, tmp_path):
    shown = evaluate(features, "-o", tmp_path, *FEW, "--folds", "3", "--blocks", "20", "--json")
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert facts["data"]["folds"] == ["0", "1", "2"]
    tested = sum(fold["test"] for fold in facts["data"]["splits"].values())
    assert tested == 60


def test_pictures_go_through_an_encoder_into_the_run_folder(pictures, tmp_path):
    (pictures.parent / "7.png").rename(pictures.parent / "7.kept")
    try:
        (pictures.parent / "7.png").write_bytes(b"no picture")
        arguments = (pictures, "-o", tmp_path / "run", *FEW, "--json")
        shown = evaluate(*arguments)
        assert shown.exit_code == 0, shown.output
        facts = json.loads(shown.stdout)
        assert (facts["data"]["points"], facts["data"]["features"]) == (59, 1280)
        assert "7.png" in (tmp_path / "run" / "quarantine.csv").read_text()
        assert "left out" in shown.stderr
        before = (tmp_path / "run" / "features" / "table.parquet").stat().st_mtime_ns
        again = json.loads(evaluate(*arguments).stdout)
        assert again["table"] == facts["table"]
        assert before > 0
    finally:
        (pictures.parent / "7.kept").replace(pictures.parent / "7.png")


def test_published_files_are_used(tmp_path):
    root = published_miniature.make(tmp_path / "data")
    out = tmp_path / "run"
    shown = evaluate(f"inat2018:{root}", "-o", out, *FEW, "--shots", "20%,100%", "--json")
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert facts["data"]["name"] == "inat2018"
    assert facts["data"]["unplaced"] == 6
    results = Results.read(out)
    few = [found for found in results.runs if found.shot == "20 %"]
    assert {found.labels for found in few} == {len(published_miniature.SAMPLE)}


def test_rows_of_ones_own_and_another_paper(features, tmp_path):
    (tmp_path / "paper.yaml").write_text(write_config(PAPER))
    (tmp_path / "mine.yaml").write_text(write_config(OURS))
    rows = ("--row", "csp-mc-b", "--row", tmp_path / "mine.yaml", "--baseline", "mine")
    arguments = ("--shots", "2", "--seeds", "1", "--preset", tmp_path / "paper.yaml", *rows)
    shown = evaluate(features, "-o", tmp_path / "run", *arguments, "--json")
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert list(facts["rows"]) == ["csp-mc-b", "mine"]
    assert facts["rows"]["csp-mc-b"]["preset"]["location"]["settings"]["dim"] == 16
    assert facts["rows"]["csp-mc-b"]["preset"]["objective"]["settings"]["dropout"] == 0.0
    assert facts["rows"]["mine"]["preset"]["linear"] is not None


def test_the_labelled_rows_of_another_run_are_used_again(evaluated, features, tmp_path):
    before, _ = evaluated
    options = ("--subsets", before, "--row", "image", "--shots", "2", "--seeds", "1")
    shown = evaluate(features, "-o", tmp_path, *options)
    assert shown.exit_code == 0, shown.output
    one, two = Results.read(before), Results.read(tmp_path)
    assert np.array_equal(one.subset(one.runs[0]), two.subset(two.runs[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--row", "nothing"], "no row 'nothing'; rows are image"),
        (["--row", "knn", "--row", "knn"], "none twice"),
        (["--shots", "few"], "'few' is no amount of labels"),
        (["--shots", "3,,5%"], "'' is no amount of labels"),
        (["--shots", "0"], "at least 1 label"),
        (["--shots", "3,3"], "none twice"),
        (["--preset", "nowhere.yaml"], "nowhere.yaml"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--baseline", "mse", "--row", "knn"], "the baseline mse is no row of the table"),
        (["PHOTOS", "--row", "nothing"], "no row 'nothing'; rows are image"),
        (["PHOTOS", "--preset", "nothing"], "nothing"),
        (["--folds", "4"], "bluemarble comes with folds of its own"),
        (["--buffer", "10"], "bluemarble comes with folds of its own"),
        (["--blocks", "2"], "bluemarble comes with folds of its own"),
        (["--points", "10"], "at least 2000 points"),
        (["nowhere"], "nowhere"),
        (["nowhere:data"], "nowhere"),
        (["inat2018:nowhere"], "nowhere"),
        (["nowhere/table.csv", "--buffer", "-1"], "buffer"),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    capsys, monkeypatch, tmp_path, pictures, arguments, message
):
    def long(*_):
        raise AssertionError("long work")

    monkeypatch.setattr(BlueMarbleSource, "load", long)
    monkeypatch.setattr(evaluate_work, "compute_features", long)
    monkeypatch.chdir(tmp_path)
    given = [str(pictures) if argument == "PHOTOS" else argument for argument in arguments]
    assert message in refused(capsys, monkeypatch, *given, "-o", tmp_path / "run")


def test_wrong_settings_in_a_file_are_named(capsys, monkeypatch, tmp_path):
    (tmp_path / "own.yaml").write_text("seeds: 0")
    line = refused(capsys, monkeypatch, "--config", tmp_path / "own.yaml")
    assert "own.yaml: seeds" in line or "need seeds >= 1" in line


def test_a_source_without_labels_is_refused_before_features_are_made(capsys, monkeypatch, tmp_path):
    table = photos(tmp_path / "pictures", count=9, split=False, label=False)
    line = refused(capsys, monkeypatch, table, "-o", tmp_path / "run", *FEW)
    assert "has no labels; name their column with --label-column" in line
    assert not (tmp_path / "run" / "features").exists()


def test_labels_of_one_class_are_refused(capsys, monkeypatch, tmp_path):
    table = photos(tmp_path / "pictures", count=12)
    text = table.read_text()
    table.write_text(text.replace(",c1,", ",c0,").replace(",c2,", ",c0,"))
    line = refused(capsys, monkeypatch, table, "-o", tmp_path / "run", *FEW)
    assert "labels of at least two classes" in line


def test_pre_training_on_images_alone_is_refused_where_it_cannot_be(
    capsys, monkeypatch, features, tmp_path
):
    line = refused(capsys, monkeypatch, features, "-o", tmp_path, *FEW, "--row", "simclr")
    assert "row simclr needs features of changed images" in line
    assert "leave it out" in line


def test_a_division_of_published_files_is_refused(capsys, monkeypatch, tmp_path):
    root = published_miniature.make(tmp_path / "data")
    where = ("-o", tmp_path / "run")
    line = refused(capsys, monkeypatch, f"inat2018:{root}", *where, *FEW, "--folds", "3")
    assert "comes with features and splits of its own" in line


def test_another_evaluation_in_the_folder_is_refused(capsys, monkeypatch, evaluated, features):
    out, _ = evaluated
    line = refused(capsys, monkeypatch, features, "-o", out, *FEW, "--seed", "3")
    assert "holds an evaluation with other settings and seed" in line


def test_subsets_of_another_run_that_are_not_there_are_refused(
    capsys, monkeypatch, features, tmp_path
):
    where = ("-o", tmp_path / "run", "--subsets", tmp_path / "nowhere")
    line = refused(capsys, monkeypatch, features, *where, *FEW)
    assert "nowhere" in line
    assert "missing or damaged" in line


def test_an_interruption_is_one_line(features, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "train_heads", interrupted)
        shown = evaluate(features, "-o", tmp_path, *FEW)
    assert shown.exit_code == 130
    assert "geocsp: interrupted; the same command goes on from here" in shown.stderr
    assert evaluate(features, "-o", tmp_path, *FEW).exit_code == 0


@pytest.mark.slow
def test_blue_marble_needs_no_data(tmp_path):
    rows = ("--row", "image", "--row", "frequency")
    options = ("--points", "2000", "--shots", "2", "--seeds", "1", "--workers", "1", "--json")
    shown = evaluate("bluemarble", "-o", tmp_path / "run", *rows, *options)
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert facts["data"]["name"] == "bluemarble"
    assert list(facts["data"]["tasks"]) == ["landcover", "climate"]
    assert facts["data"]["folds"] == ["1", "2", "3", "4"]
    assert len(facts["runs"]) == 2 * 4 * 2
    for cell in facts["table"]:
        assert cell["image"]["top1"]["mean"] > 1.5 / len(facts["data"]["tasks"][cell["task"]])
    assert len(facts["data"]["regions"]) > 10
