import json

import pytest
import typer
from synthetic_results import ROWS, SyntheticRow, write_results
from typer.testing import CliRunner

from geocsp.commands.compare import compare
from geocsp.errors import DataError


@pytest.fixture
def app():
    app = typer.Typer()
    app.command("compare")(compare)
    return app


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    rows = (*ROWS[:3], SyntheticRow("best", "best (ours)", place=2.6))
    write_results(root / "a", shots=("5 %",))
    write_results(root / "b", shots=("5 %",), rows=rows)
    return root / "a", root / "b"


def run(app, *arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "160"})


def test_the_terminal_shows_what_changed_and_how_sure_it_is(app, folders):
    shown = run(app, *folders, "--measure", "fused")
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["rows.best.place", "1.6", "2.6"] in lines
    assert ["landcover,", "5", "%,", "fused"] in lines
    best = next(line for line in lines if line[:1] == ["best"])
    before, after, difference = map(float, best[1:4])
    assert after - before == pytest.approx(difference, abs=0.11)
    assert best[-1] == "better"
    assert next(line for line in lines if "sup-grid" in line)[-2:] == ["the", "same"]
    assert "1 of 3 significantly better, 0 significantly worse, 2 without" in shown.output
    turned = run(app, *reversed(folders), "--measure", "fused")
    assert "0 of 3 significantly better, 1 significantly worse" in turned.output


def test_the_same_folder_twice(app, folders):
    shown = run(app, folders[0], folders[0])
    assert shown.exit_code == 0
    assert "Settings, versions, data and rows are the same." in shown.output
    assert "0 of 13 significantly better, 0 significantly worse, 13 without" in shown.output


def test_json_holds_the_measures_asked_for(app, folders):
    shown = run(app, *folders, "--measure", "fused", "--measure", "image", "--json")
    found = json.loads(shown.stdout)
    assert found["changes"] == [{"path": "rows.best.place", "before": 1.6, "after": 2.6}]
    assert {one["measure"] for one in found["differences"]} == {"fused", "image"}
    assert len(found["differences"]) == 3 + 4


def test_folders_with_nothing_in_common(app, folders, tmp_path):
    write_results(tmp_path / "c", shots=("9 %",), rows=(SyntheticRow("knn", "[red]knn"),))
    shown = run(app, folders[0], tmp_path / "c")
    assert shown.exit_code == 0
    assert "There is nothing that both hold to compare." in shown.output
    assert "Only in the first: row image; row sup-grid; row csp-mc-bld; row best" in shown.output
    assert "Only in the second: row knn" in shown.output
    assert '"[red]knn"' in shown.output


def test_a_folder_without_an_evaluation_is_one_clear_error(app, folders, tmp_path):
    shown = run(app, folders[0], tmp_path)
    assert isinstance(shown.exception, DataError)
    assert str(shown.exception) == (
        f"{tmp_path} holds no finished evaluation: there is no results.json"
    )
    (tmp_path / "results.json").write_text("{}")
    assert isinstance(run(app, tmp_path, folders[0]).exception, DataError)
    assert run(app, *folders, "--measure", "guess").exit_code == 2
