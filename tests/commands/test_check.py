import csv
import json
import re

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from geocsp.commands import check as module
from geocsp.commands.check import check
from geocsp.commands.shown import plain
from geocsp.errors import DataError, MissingExtraError

FILES = ["check.json", "coverage.png", "duplicates.csv", "quarantine.csv"]


@pytest.fixture
def app():
    app = typer.Typer()
    app.command("check")(check)
    return app


@pytest.fixture
def source(tmp_path):
    """A table of thirty pictures, all good."""
    return write_source(tmp_path / "photos", range(30))


def write_source(folder, numbers, **changes):
    folder.mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for number in numbers:
        coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((90, 70)).save(folder / f"{number}.png")
        rows.append(
            {
                "image": f"{number}.png",
                "lon": generator.uniform(-170, 170),
                "lat": generator.uniform(-80, 80),
                "label": "owl" if number % 2 else "hawk",
                "split": "test" if number % 5 == 0 else "train",
            }
            | changes.get(f"row{number}", {})
        )
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def run(app, *arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_good_data_passes_strictly(app, source, tmp_path):
    output = tmp_path / "runs" / "out"
    shown = run(app, source, "-o", output, "--strict")
    assert shown.exit_code == 0, shown.output
    assert sorted(path.name for path in output.iterdir()) == FILES
    assert "30 that can be used, 0 quarantined" in shown.output
    assert "test / train" in shown.output
    assert "error" not in shown.output
    assert (output / "quarantine.csv").read_text().splitlines() == ["file,row,reason"]
    facts = json.loads((output / "check.json").read_text())
    assert facts["settings"]["source"] == str(source)
    assert facts["settings"]["options"]["columns"]["lon"] is None
    assert facts["counts"]["splits"] == {"test": 6, "train": 24}


def test_json_is_what_the_file_has(app, source, tmp_path):
    shown = run(app, source, "-o", tmp_path / "out", "--json")
    assert json.loads(shown.stdout) == json.loads((tmp_path / "out" / "check.json").read_text())


def test_bad_rows_are_quarantined_and_the_rest_goes_on(app, tmp_path):
    source = write_source(
        tmp_path / "photos", range(20), row3={"lat": "99"}, row4={"lon": "0", "lat": "0"}
    )
    (source.parent / "7.png").write_bytes(b"")
    (source.parent / "8.png").unlink()
    shown = run(app, source, "-o", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    assert "16 that can be used, 4 quarantined" in shown.output
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["3", "4", "", ""]
    assert [row["file"].endswith(("table.csv", "7.png", "8.png")) for row in rows] == [True] * 4
    strictly = run(app, source, "-o", tmp_path / "out", "--strict")
    assert isinstance(strictly.exception, DataError)
    assert str(strictly.exception) == f"4 rows quarantined; see {tmp_path / 'out'}"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_a_serious_finding_fails_strictly(app, source, tmp_path):
    (source.parent / "5.png").write_bytes((source.parent / "6.png").read_bytes())
    assert run(app, source, "-o", tmp_path / "out").exit_code == 0
    strictly = run(app, source, "-o", tmp_path / "out", "--strict")
    assert str(strictly.exception) == f"1 serious finding; see {tmp_path / 'out'}"
    assert "copies (the same file) in more than one" in strictly.output


def test_without_images_none_is_opened(app, source, tmp_path):
    for path in source.parent.glob("*.png"):
        path.write_bytes(b"")
    shown = run(app, source, "-o", tmp_path / "out", "--no-images", "--strict")
    assert shown.exit_code == 0, shown.output
    assert "30 that can be used" in shown.output


def test_columns_are_named(app, tmp_path):
    source = write_source(tmp_path / "photos", range(12))
    text = source.read_text().replace("image,lon,lat", "what,east,north")
    source.write_text(text)
    named = ["--image-column", "what", "--lon-column", "east", "--lat-column", "north"]
    shown = run(app, source, "-o", tmp_path / "out", *named)
    assert shown.exit_code == 0, shown.output
    wrong = run(app, source, "-o", tmp_path / "out", *named[:-1], "nord")
    assert isinstance(wrong.exception, DataError)
    assert "no column 'nord'" in str(wrong.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bands", "red"], "no list of numbers"),
        (["--range", "1"], "give two numbers"),
        (["--workers", "0"], "--workers"),
        (["--fast"], "No such option"),
        ([], ""),
    ],
)
def test_wrong_usage_is_exit_code_2(app, tmp_path, arguments, message):
    shown = run(app, *([tmp_path / "x.csv", *arguments] if arguments else []))
    assert shown.exit_code == 2
    assert message in re.sub(r"\x1b\[[\d;]*m", "", shown.output)


def test_a_source_that_is_not_there_is_one_line(app, tmp_path):
    shown = run(app, tmp_path / "nothing", "-o", tmp_path / "out")
    assert isinstance(shown.exception, DataError)
    assert str(shown.exception) == f"{tmp_path / 'nothing'} does not exist"


def test_an_output_that_is_a_file_is_told_before_the_work(app, source, tmp_path):
    (tmp_path / "file").write_text("")
    shown = run(app, source, "-o", tmp_path / "file")
    assert isinstance(shown.exception, DataError)
    assert str(shown.exception) == f"cannot write {tmp_path / 'file'}: File exists"


def test_without_matplotlib_the_map_of_another_run_goes_and_a_note_says_so(
    app, source, tmp_path, monkeypatch
):
    run(app, source, "-o", tmp_path / "out")

    def missing(*_):
        raise MissingExtraError("matplotlib", "demo")

    monkeypatch.setattr(module, "write_coverage", missing)
    shown = run(app, source, "-o", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    text = " ".join(shown.output.split())
    assert "no coverage.png: matplotlib is not installed; pip install 'geocsp[demo]'" in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        name for name in FILES if name != "coverage.png"
    ]


def test_without_places_there_is_no_map(app, tmp_path):
    nowhere = {f"row{number}": {"lon": "", "lat": ""} for number in range(4)}
    source = write_source(tmp_path / "photos", range(4), **nowhere)
    shown = run(app, source, "-o", tmp_path / "out", "--keep-unplaced")
    assert shown.exit_code == 0, shown.output
    assert "no coverage.png: no image has a place" in shown.output


def test_an_interrupted_check_writes_nothing(app, source, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "audit", interrupted)
    shown = run(app, source, "-o", tmp_path / "out")
    assert shown.exit_code == 130
    assert "interrupted; nothing was written" in shown.output
    assert list((tmp_path / "out").iterdir()) == []


def test_names_cannot_command_the_terminal(app, tmp_path):
    source = write_source(
        tmp_path / "photos", range(12), row1={"label": "\x1b[31m[bold]x[/]"}, row2={"lat": "1e9"}
    )
    (source.parent / "3.png").rename(source.parent / "[red]3\x1b]0;a.png")
    source.write_text(source.read_text().replace("3.png", "[red]3\x1b]0;a.png"))
    (source.parent / "[red]3\x1b]0;a.png").write_bytes(b"")
    shown = run(app, source, "-o", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    assert "\x1b" not in shown.output
    assert r"[red]3\x1b]0;a.png" in "".join(shown.output.split())


def test_text_is_made_plain():
    assert plain("a\x1b[b\nc\udce9 ü 写 '\"\\") == "a\\x1b[b\\nc\\udce9 ü 写 '\"\\"
