import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console
from small_evaluations import (
    FEATURES,
    PAPER,
    SHOTS,
    Given,
    ToySource,
    in_this_process,
    small_rows,
    small_settings,
)

from geocsp.data.table import Categories
from geocsp.errors import DataError
from geocsp.evaluate import Measure, Regime, Results, Shot, run
from geocsp.evaluate.benchmark import Benchmark
from geocsp.evaluate.classification import METRICS, classification_metrics
from geocsp.evaluate.rows import Row
from geocsp.evaluate.units import Unit
from geocsp.presets import PRESETS

NAMES = ("image", "knn", "csp-mc-bld", "best")
SOURCE = ToySource(points=300, tasks=("land",))
ONE = (Shot(per_class=3),)
FOLDERS = ("answers", "places.npz", "priors", "subsets")


def quiet():
    return Console(quiet=True)


def evaluated(folder, names=NAMES, source=SOURCE, rows=None, **changes):
    how = {key: changes.pop(key) for key in ("workers", "replace") if key in changes}
    rows = small_rows(*names) if rows is None else rows
    settings = small_settings(names, **changes)
    return run.evaluate(source, rows, settings, folder, console=quiet(), **how)


@pytest.fixture(scope="module", autouse=True)
def _here():
    """Work in this process; worker processes have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "worker_pool", in_this_process)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "runs" / "one"
    return evaluated(folder, transductive=True)


TIMES = ("seconds", "pretrain_seconds")


def but_times(results):
    """All that a run folder says, but for how long things took."""
    facts = {key: value for key, value in results.facts.items() if key != "times"}
    facts["table"] = [
        {key: value for key, value in cell.items() if key not in TIMES} for cell in facts["table"]
    ]
    runs = [replace(run, seconds=0, pretrain_seconds=0) for run in results.runs]
    return json.loads(json.dumps([facts, [vars(run) for run in runs]]))


def arrays(folder):
    """All arrays of a run folder by file and name."""
    found = {}
    for path in sorted(folder.rglob("*.npz")):
        if "work" not in path.relative_to(folder).parts:
            with np.load(path) as stored:
                for name in stored.files:
                    found[str(path.relative_to(folder)), name] = stored[name]
    for path in sorted((folder / "priors").rglob("*.safetensors")):
        found[str(path.relative_to(folder)), ""] = np.frombuffer(path.read_bytes(), np.uint8)
    return found


def same_files(one, other):
    first, second = arrays(one), arrays(other)
    assert first.keys() == second.keys()
    for key, array in first.items():
        np.testing.assert_array_equal(array, second[key], err_msg=str(key))


def test_there_is_a_run_of_everything(whole):
    keys = [(r.task, r.shot, r.row, r.regime, r.fold, r.seed) for r in whole.runs]
    regimes = {
        "image": (Regime.NONE,),
        "knn": (Regime.NONE,),
        "csp-mc-bld": (Regime.INDUCTIVE, Regime.TRANSDUCTIVE),
        "best": (Regime.INDUCTIVE, Regime.TRANSDUCTIVE),
    }
    expected = {
        (task, shot.label, row, regime, fold, 0)
        for task in ("land",)
        for shot in SHOTS
        for row, kinds in regimes.items()
        for regime in kinds
        for fold in ("1", "2")
    }
    assert len(keys) == len(expected)
    assert set(keys) == expected
    for found in whole.runs:
        measures = (Measure.IMAGE,) if found.row == "image" else tuple(Measure)
        assert found.measures == measures


def test_results_are_read_as_they_were_returned(whole):
    again = Results.read(whole.folder)
    assert json.loads(json.dumps(whole.facts)) == again.facts
    assert again.runs == whole.runs


def test_what_is_said_of_data_and_settings(whole):
    facts, benchmark = whole.facts, SOURCE.load()
    data = facts["data"]
    assert (data["name"], data["fingerprint"]) == ("toy", benchmark.fingerprint)
    assert (data["points"], data["features"], data["unplaced"]) == (300, FEATURES, 12)
    assert data["tasks"] == {"land": ["bog", "dune", "fell"]}
    known = int((benchmark.tasks["land"].codes >= 0).sum())
    assert data["labelled"] == {"land": known}
    assert data["shots"] == ["3 per class", "20 %"]
    assert data["folds"] == ["1", "2"]
    fold = benchmark.folds["2"]
    assert data["splits"]["2"] == {
        "train": len(fold.train),
        "validation": len(fold.validation),
        "test": len(fold.test),
        "dropped": 0,
    }
    assert facts["settings"]["shots"][0] == {"ratio": None, "per_class": 3}
    assert (facts["seed"], facts["baseline"]) == (0, "sup-grid")
    assert facts["rows"]["best"]["preset"]["linear"]["self_training"] is not None
    assert [row["label"] for row in facts["rows"].values()] == [r.label for r in small_rows(*NAMES)]
    assert {"geocsp", "geocsp_sources", "python", "torch"} <= set(facts["versions"])
    assert facts["times"]["total"] > 0


def test_the_table_is_that_of_the_answers(whole):
    """From the files, for every row, shot, regime and measure."""
    for cell in whole.facts["table"]:
        key = (cell["task"], cell["shot"], cell["row"], cell["regime"])
        runs = [r for r in whole.runs if (r.task, r.shot, r.row, r.regime) == key]
        assert len(runs) == 2
        for measure in runs[0].measures:
            found = [classification_metrics(whole.answers(r, measure)) for r in runs]
            for metric in METRICS:
                mean = (found[0][metric] + found[1][metric]) / 2
                assert cell[measure][metric]["mean"] == pytest.approx(mean)


def test_test_rows_blocks_and_regions_fit_the_benchmark(whole):
    benchmark = SOURCE.load()
    np.testing.assert_array_equal(whole.lonlat, benchmark.lonlat)
    for found in whole.runs:
        fold, labels = benchmark.folds[found.fold], benchmark.tasks[found.task]
        rows = whole.test_rows(found)
        assert np.array_equal(rows, fold.labelled(fold.test, labels))
        said = whole.answers(found, Measure.IMAGE)
        assert np.array_equal(said.labels, labels.codes[rows])
        assert np.array_equal(
            whole.subset(found),
            benchmark.subset(found.task, found.fold, dict(shots())[found.shot], found.seed),
        )
    unplaced = ~benchmark.placed
    blocks = whole.block[unplaced]
    assert len(np.unique(blocks)) == 12
    assert not np.isin(blocks, whole.block[~unplaced]).any()
    assert (whole.region[unplaced] == -1).all()
    names = [whole.facts["data"]["regions"][region] for region in whole.region[~unplaced]]
    codes, expected = benchmark.cells(30.0)
    assert names == [expected[code] for code in codes[~unplaced]]


def shots():
    return [(shot.label, shot) for shot in SHOTS]


def test_the_folder_holds_what_its_docs_say(whole):
    names = {path.name for path in whole.folder.iterdir()}
    assert names == {".lock", "plan.json", "results.json", "work", *FOLDERS}
    assert not list(whole.folder.rglob("*.tmp"))
    assert len(list((whole.folder / "work" / "towers").iterdir())) == 2 * 2 + 2


def files(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "results.json", "plan.json", "places.npz")
    }


def test_a_run_that_has_ended_computes_tables_alone(whole, monkeypatch):
    before = files(whole.folder)
    again = evaluated(whole.folder, transductive=True)
    assert files(whole.folder) == before
    assert but_times(again) == but_times(whole)
    assert again.runs == whole.runs


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return evaluated(tmp_path_factory.mktemp("small"), names=("sup-grid", "best"), shots=ONE)


@pytest.mark.parametrize(
    "gone",
    [
        ("work/records/best-inductive-1-0.json", "results.json"),
        ("work/records/*", "answers/*", "results.json", "priors/*/*"),
        ("work/towers/*/seconds.json", "work/towers/*/config.json", "work/records/best*"),
        ("work/heads/*-1-0-*", "subsets/*-2-0*", "work/records/*", "places.npz"),
        ("work/*/*", "work/*/*/*", "answers/*", "subsets/*", "priors/*/*"),
    ],
)
def test_a_run_that_was_interrupted_ends_with_the_same_numbers(small, tmp_path, gone):
    """Whatever was left: heads and subsets, then towers, then answers, then records."""
    folder = shutil.copytree(small.folder, tmp_path / "run")
    for pattern in gone:
        found = [path for path in folder.glob(pattern) if path.is_file()]
        assert found or pattern == "work/*/*/*"
        for path in found:
            path.unlink()
    left = files(folder)
    again = evaluated(folder, names=("sup-grid", "best"), shots=ONE)
    assert but_times(again) == but_times(small)
    same_files(folder, small.folder)
    after = files(folder)
    for path in left:
        if path.parent.name in ("heads", "records"):
            assert after[path] == left[path]


def test_rows_do_not_depend_on_the_others(whole, tmp_path):
    alone = evaluated(tmp_path, names=("best",), shots=ONE)
    for found in alone.runs:
        other = next(
            r
            for r in whole.runs
            if replace(r, seconds=0, pretrain_seconds=0)
            == replace(found, seconds=0, pretrain_seconds=0)
        )
        for measure in found.measures:
            one, two = alone.answers(found, measure), whole.answers(other, measure)
            assert np.array_equal(one.truth, two.truth)


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({"seeds": 2}, "settings"),
        ({"seed": 1}, "settings and seed"),
        ({"names": ("knn",)}, "settings and rows"),
        ({"source": replace(SOURCE, points=301)}, "source and data"),
        ({"shots": (Shot(per_class=1),)}, "settings and data"),
        ({"baseline": "knn"}, "settings and baseline"),
    ],
)
def test_another_evaluation_in_the_folder_is_refused(whole, changes, other):
    before = files(whole.folder)
    with pytest.raises(DataError, match=rf"with other {other}; choose another folder or delete"):
        evaluated(whole.folder, **{"transductive": True} | changes)
    assert files(whole.folder) == before


def test_a_plan_that_cannot_be_read_is_refused(tmp_path):
    for content in ("{", "[]"):
        (tmp_path / "plan.json").write_text(content)
        with pytest.raises(DataError, match=r"choose another folder or delete this one"):
            evaluated(tmp_path, names=("image",))


def test_another_evaluation_is_replaced_if_asked_for(tmp_path):
    names = ("sup-grid",)
    evaluated(tmp_path, names=names, seed=5, shots=ONE)
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "kept").write_text("of the data, and of no plan")
    replaced = evaluated(tmp_path, names=("knn",), shots=ONE, replace=True)
    assert {run.row for run in replaced.runs} == {"knn"}
    assert {path.name for path in (tmp_path / "answers").iterdir()} == {
        f"land-knn-none-{fold}-0.npz" for fold in ("1", "2")
    }
    assert len(list((tmp_path / "subsets").iterdir())) == 2
    assert not (tmp_path / "priors").exists()
    assert (tmp_path / "features" / "kept").exists()


def test_results_of_a_replaced_evaluation_do_not_outlive_its_answers(tmp_path, monkeypatch):
    evaluated(tmp_path, names=("image",))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train_heads", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path, names=("knn",), replace=True)
    with pytest.raises(DataError, match="no finished evaluation"):
        Results.read(tmp_path)


def test_a_folder_that_another_run_works_in_is_refused(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(DataError, match="another run is working in"):
        evaluated(tmp_path, names=("image",))
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to"):
        evaluated(tmp_path / "file", names=("image",))


def test_rows_that_are_images_alone_need_no_place_and_no_baseline(tmp_path):
    found = evaluated(tmp_path, names=("image", "image-aligned"), baseline="nobody")
    assert {run.measures for run in found.runs} == {(Measure.IMAGE,)}
    assert found.facts["baseline"] == "nobody"
    assert all(run.parameters == 0 for run in found.runs)
    cells = [c for c in found.facts["comparisons"] if c["first"] == "image-aligned"]
    assert {(c["second"], c["measure"]) for c in cells} == {("image", "image")}
    assert not (tmp_path / "priors").exists()


def test_image_only_pre_training_is_a_row_where_there_are_views(tmp_path):
    source = replace(SOURCE, views=2)
    found = evaluated(tmp_path, names=("image", "simclr"), source=source)
    top1 = {
        (c["task"], c["shot"], c["row"]): c["image"]["top1"]["mean"] for c in found.facts["table"]
    }
    assert top1["land", "20 %", "simclr"] != top1["land", "20 %", "image"]


def test_the_same_labelled_rows_are_used_again(whole, tmp_path):
    found = evaluated(tmp_path, names=("image",), seed=0, subsets=whole.folder)
    for one in found.runs:
        assert np.array_equal(found.subset(one), whole.subset(one))
    with pytest.raises(DataError, match="missing or damaged"):
        evaluated(tmp_path / "other", names=("image",), seed=1, subsets=whole.folder)


def test_labels_are_spent_only_where_there_are_some(tmp_path):
    benchmark = SOURCE.load()
    fold = benchmark.folds["1"]

    def without(part):
        codes = benchmark.tasks["land"].codes.copy()
        codes[getattr(fold, part)] = -1
        return replace(benchmark, tasks={"land": Categories(codes, ("bog", "dune", "fell"))})

    for part in ("train", "validation", "test"):
        with pytest.raises(DataError, match=f"no {part} row of fold . has a label of land"):
            evaluated(tmp_path, names=("image",), source=Given(without(part)))


@pytest.mark.parametrize("part", ["train", "validation"])
def test_labels_without_any_place_are_refused(tmp_path, part):
    benchmark = SOURCE.load()
    lonlat = benchmark.lonlat.copy()
    lonlat[getattr(benchmark.folds["1"], part)] = np.nan
    with pytest.raises(
        DataError, match=f"no {part} row of fold . with a label of land has a place"
    ):
        evaluated(tmp_path, names=("image",), source=Given(replace(benchmark, lonlat=lonlat)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "at least one row"),
        ((*small_rows("knn"), *small_rows("knn")), "none twice, got knn, knn"),
        (small_rows("knn", "simclr"), "row simclr needs features of changed images.*leave it out"),
        ((Row("own", "own", PRESETS["sinr"]),), "row own: it pre-trains with labels"),
        ((Row("own", "own", replace(PAPER, per_class=3)),), "row own: it pre-trains with labels"),
    ],
)
def test_rows_that_cannot_be_trained_are_refused_before_any_work(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        evaluated(tmp_path, rows=rows)
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_progress_is_told(tmp_path, capsys):
    with (tmp_path / "told").open("w+") as file:
        console = Console(file=file, width=100)
        settings = small_settings(("image",))
        run.evaluate(SOURCE, small_rows("image"), settings, tmp_path / "run", console=console)
        file.seek(0)
        told = file.read()
    for stage in ("image heads", "pre-training", "rows", "tables and intervals"):
        assert stage in told
    assert capsys.readouterr().out == ""


def test_a_benchmark_is_what_the_source_makes():
    assert isinstance(SOURCE.load(), Benchmark)
    assert Unit("a", Regime.NONE, "1", 0).name == "a-none-1-0"
    assert Unit("a", Regime.TRANSDUCTIVE, "1", 0).pretraining.name == "a-transductive-all-0"


@pytest.mark.slow
def test_worker_processes_give_the_same_numbers(small, tmp_path, monkeypatch):
    monkeypatch.undo()
    bystander = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    bystander.start()
    try:
        from geocsp.evaluate import pool

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "worker_pool", pool.worker_pool)
            found = evaluated(tmp_path, names=("sup-grid", "best"), shots=ONE, workers=2)
        assert bystander.is_alive()  # only the run's own processes end with it
        assert multiprocessing.active_children() == [bystander]
    finally:
        bystander.terminate()
        bystander.join()
    assert but_times(found) == but_times(small)
    same_files(tmp_path, small.folder)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from small_evaluations import ToySource, small_rows, small_settings
from geocsp.evaluate import Shot
from geocsp.evaluate.run import evaluate

if __name__ == "__main__":
    names = ("sup-grid", "best")
    source = ToySource(points=300, tasks=("land",))
    settings = small_settings(names, shots=(Shot(per_class=3),))
    evaluate(source, small_rows(*names), settings, Path(sys.argv[2]), workers=1)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes under /proc")
def test_a_killed_run_goes_on_with_the_same_numbers(small, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parent), str(folder)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        end = time.monotonic() + 120
        while not list(folder.glob("work/records/*.json")) and time.monotonic() < end:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
        left = len(list(folder.glob("work/records/*.json")))
        assert 0 < left < 4
        assert not (folder / "results.json").exists()
        while living(process.pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not living(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    found = evaluated(folder, names=("sup-grid", "best"), shots=ONE)
    assert but_times(found) == but_times(small)
    same_files(folder, small.folder)


def living(group):
    """Processes of a process group, without those that have ended and wait to be reaped."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, number = stat.read_text().rpartition(")")[2].split()[:3]
            if int(number) == group and state != "Z":
                found.append(stat.parent.name)
    return found
