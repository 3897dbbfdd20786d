import csv
import json
import re

import pytest
import torch
from hostile import make_hostile_folder
from typer.testing import CliRunner

from geocsp.cli import app, main
from geocsp.images.features import open_features

RUNNER = CliRunner()


def listed(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def test_every_good_photo_of_a_hostile_folder_is_used_and_every_bad_one_listed(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    hostile = make_hostile_folder(photos, count=2000)
    run = RUNNER.invoke(app, ["features", str(photos), "-o", str(out), "--pixels", "32", "--json"])
    assert run.exit_code == 0, run.output
    facts = json.loads(run.stdout)
    made = open_features(out)
    used = {made.table.images.path(row) for row in range(len(made))}
    assert used == {str(photos / name) for name in hostile.good}
    assert bool(made.read().isfinite().all())
    bad = hostile.bad_at_reading | hostile.bad_at_decoding
    reasons = listed(out / "quarantine.csv")
    assert reasons.keys() == bad.keys()
    for name, reason in reasons.items():
        assert re.search(bad[name], reason), (name, reason)
    assert (facts["images"], facts["left_out"]) == (len(hostile.good), len(bad))
    assert facts["images_per_second"] > 0
    assert facts["wait_share"] >= 0


@pytest.fixture
def few(tmp_path):
    folder = tmp_path / "photos"
    make_hostile_folder(folder, count=120)
    return folder


def test_a_second_run_computes_nothing_and_tells_the_same(few, tmp_path):
    arguments = ["features", str(few), "-o", str(tmp_path / "out"), "--pixels", "32", "--json"]
    first, second = (json.loads(RUNNER.invoke(app, arguments).stdout) for _ in range(2))
    assert first.pop("images_per_second") > 0
    assert second.pop("images_per_second") == 0
    for facts in (first, second):
        facts.pop("wait_share")
    assert first == second


def test_bfloat16_is_stored_if_asked_for(few, tmp_path):
    for storage in ("float16", "bfloat16"):
        out = str(tmp_path / storage)
        arguments = ["features", str(few), "-o", out, "--pixels", "32", "--storage", storage]
        assert RUNNER.invoke(app, arguments).exit_code == 0
    half, brain = (open_features(tmp_path / name) for name in ("float16", "bfloat16"))
    assert (half.cache.storage, brain.cache.storage) == ("float16", "bfloat16")
    torch.testing.assert_close(half.read(), brain.read(), atol=0.02, rtol=0.02)


def test_the_reasons_are_counted_on_the_terminal(few, tmp_path):
    run = RUNNER.invoke(app, ["features", str(few), "-o", str(tmp_path / "out"), "--pixels", "32"])
    assert run.exit_code == 0
    assert "rows left out, see quarantine.csv:" in run.output
    assert "1280 features each" in run.output.replace(",", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["features", "nowhere"], "nowhere"),
        (["features", ".", "--encoder", "no-such"], "no-such"),
        (["features", ".", "--bands", "a,b"], "list of numbers"),
        (["features", ".", "--device", "abacus"], "abacus"),
        (["features", ".", "--storage", "float8"], "float8"),
    ],
)
def test_wrong_input_is_one_clear_line_and_exit_code_2(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["geocsp", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_strict_makes_left_out_rows_fatal_but_keeps_what_was_done(
    few, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    arguments = ["features", str(few), "-o", str(out), "--pixels", "32", "--strict"]
    monkeypatch.setattr("sys.argv", ["geocsp", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert re.search(
        r"geocsp: \d+ rows were left out; see .*quarantine.csv", capsys.readouterr().err
    )
    assert len(open_features(out)) > 0
