import json

import numpy as np
import pytest
from synthetic_results import CLASSES, write_results

from geocsp.errors import DataError
from geocsp.evaluate import Measure, Regime, Results
from geocsp.evaluate.results import read_arrays, run_of


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results") / "run")


def test_what_is_written_is_read_again(results, tmp_path):
    again = Results.read(results.folder)
    assert again.facts == results.facts
    assert again.runs == results.runs
    copy = Results(tmp_path, again.facts, again.runs)
    assert copy.write() == tmp_path / "results.json"
    assert (tmp_path / "results.json").read_bytes() == (
        results.folder / "results.json"
    ).read_bytes()
    assert "runs" not in copy.facts


def test_runs_have_their_types_again(results):
    run = results.runs[0]
    assert isinstance(run.regime, Regime)
    assert all(isinstance(measure, Measure) for measure in run.measures)
    assert isinstance(run.measures, tuple)


def test_numbers_that_are_not_finite_are_not_written(results, tmp_path):
    for wrong in (float("nan"), float("inf")):
        broken = Results(tmp_path, {"table": [wrong]}, results.runs)
        with pytest.raises(ValueError, match="JSON"):
            broken.write()
    assert list(tmp_path.iterdir()) == []


def test_places_blocks_and_regions_are_those_of_all_images(results):
    with np.load(results.folder / "places.npz") as stored:
        np.testing.assert_array_equal(results.lonlat, stored["lonlat"])
        assert np.array_equal(results.block, stored["block"])
        assert np.array_equal(results.region, stored["region"])


def test_answers_rows_and_kilometres_of_every_run(results):
    for run in results.runs:
        with np.load(results.folder / "answers" / run.file) as stored:
            assert np.array_equal(results.test_rows(run), stored["rows"])
            assert np.array_equal(results.km(run), stored[f"{run.shot}/km"])
            for measure in run.measures:
                said = results.answers(run, measure)
                assert said.classes == len(CLASSES)
                for name, array in said.arrays().items():
                    assert np.array_equal(array, stored[f"{run.shot}/{measure}/{name}"])


def test_a_measure_that_a_run_has_not_is_refused(results):
    run = next(run for run in results.runs if run.row == "image")
    with pytest.raises(DataError, match="row image has no location; it has image"):
        results.answers(run, Measure.LOCATION)


def test_subsets_and_priors_lie_where_a_run_says(results):
    run = results.runs[0]
    path = results.folder / "subsets" / f"{run.task}-{run.fold}-{run.seed}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{run.shot: np.array([4, 9]), "other": np.array([1])})
    assert results.subset(run).tolist() == [4, 9]
    assert results.prior_folder(run).name + ".npz" == run.file
    assert results.prior_folder(run).parent.name == "priors"


def test_a_name_with_dots_keeps_them():
    values = {
        "task": "t",
        "shot": "5 %",
        "row": "own.v2",
        "regime": "none",
        "fold": "a.b",
        "seed": 0,
        "labels": 3,
        "measures": ["image"],
        "parameters": 0,
        "pretrain_seconds": 0.0,
        "seconds": 1.0,
        "fusion": {},
    }
    run = run_of(values)
    assert run.file == "t-own.v2-none-a.b-0.npz"


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no finished evaluation: there is no results\.json"):
        Results.read(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"runs": 3}', '{"runs": [{}]}', '{"runs": [{"regime": "x"}]}']
)
def test_results_that_are_damaged_or_of_something_else_are_refused(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match="damaged or of no evaluation"):
        Results.read(tmp_path)


def test_a_run_with_an_unknown_value_is_refused(results, tmp_path):
    facts = json.loads((results.folder / "results.json").read_text())
    facts["runs"][0]["colour"] = "red"
    (tmp_path / "results.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match="damaged or of no evaluation"):
        Results.read(tmp_path)


def test_arrays_are_read_by_how_their_names_start(tmp_path):
    path = tmp_path / "some.npz"
    np.savez(path, **{"5 %/a": np.arange(2), "5 %/b": np.arange(3), "15 %/a": np.arange(4)})
    assert sorted(read_arrays(path)) == ["15 %/a", "5 %/a", "5 %/b"]
    assert sorted(read_arrays(path, "5 %/")) == ["5 %/a", "5 %/b"]
    assert read_arrays(path, "none") == {}


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "cut", "pickle", "flipped"])
def test_files_of_arrays_that_cannot_be_read_are_named(tmp_path, kind):
    path = tmp_path / "some.npz"
    np.savez_compressed(path, a=np.arange(5000))
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pickle":
        np.savez(path, a=np.array([{}]), allow_pickle=True)
    elif kind != "missing":
        middle = len(content) // 2
        flipped = content[:middle] + bytes(64) + content[middle + 64 :]
        wrong = {"empty": b"", "text": b"text", "cut": content[:300], "flipped": flipped}
        path.write_bytes(wrong[kind])
    with pytest.raises(DataError, match=r"some\.npz is missing or damaged"):
        read_arrays(path)
