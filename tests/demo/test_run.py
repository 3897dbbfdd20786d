"""The whole demo, small, undisturbed and disturbed."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock
from PIL import Image

from geocsp.config import write_config
from geocsp.demo.run import run_demo
from geocsp.demo.settings import DemoSettings
from geocsp.errors import DataError
from geocsp.evaluate import Shot

SETTINGS = DemoSettings(
    points=2000,
    pixels=32,
    test_folds=(1,),
    seeds=1,
    epochs=2,
    shots=(Shot(per_class=1), Shot(ratio=0.1)),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, features):
    folder = tmp_path_factory.mktemp("runs") / "a" / "run"
    run_demo(SETTINGS, folder, workers=2, cache=features)
    return folder


def results_of(folder):
    results = json.loads((folder / "results.json").read_text())
    assert results.pop("times")["seconds"]["total"] > 0
    return results


def files_in(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_results_hold_every_row_and_what_they_depend_on(undisturbed):
    results = results_of(undisturbed)
    rows = {(row["method"], row["regime"], row["shot"]) for row in results["table"]}
    pretrained = {"mse", "csp-nce", "csp-mc", "best", "image-aligned"}
    expected = {(name, "none") for name in ("image", "sup-wrap", "sup-grid")}
    expected |= {(name, r) for name in pretrained for r in ("inductive", "transductive")}
    assert rows == {(*row, shot) for row in expected for shot in ("1 per class", "10 %")}
    for record in results["records"]:
        for measure in ("image", "location", "product", "fused"):
            assert 0 <= record[measure] <= 1
    assert results["seed"] == 0
    assert results["data"]["points"] == 2000
    assert results["data"]["splits"]["1"]["dropped_train"] > 0
    assert len(results["data"]["fingerprint"]) == len(results["image"]["fingerprint"]) == 64
    assert {"geocsp", "torch", "python", "geocsp_sources"} <= set(results["versions"])


def test_pictures_open_and_the_report_needs_no_other_file(undisturbed):
    pictures = sorted(undisturbed.glob("*.png"))
    assert [path.stem for path in pictures] == [
        "classes-landcover",
        "embedding",
        "fixed-landcover",
        "label-efficiency-landcover",
    ]
    for path in pictures:
        with Image.open(path) as picture:
            assert min(picture.size) > 400
    page = (undisturbed / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "CSP-MC-BLD" in page
    assert "MCD12C1" in page


def test_nothing_half_written_is_left(undisturbed):
    assert not [path for path in files_in(undisturbed) if path.suffix == ".tmp"]


def test_the_same_seed_gives_the_same_results_with_any_number_of_workers(
    undisturbed, tmp_path, features
):
    run_demo(SETTINGS, tmp_path, workers=1, cache=features)
    assert results_of(tmp_path) == results_of(undisturbed)


def test_a_second_call_reuses_all_work(undisturbed, features):
    work = undisturbed / "work"
    before = {path: (work / path).stat().st_mtime_ns for path in files_in(work)}
    expected = results_of(undisturbed)
    again = run_demo(SETTINGS, undisturbed, workers=2, cache=features)
    assert {path: (work / path).stat().st_mtime_ns for path in files_in(work)} == before
    assert again["times"]["seconds"]["fine-tuning (summed over workers)"] == 0
    assert results_of(undisturbed) == expected


def test_two_runs_in_one_folder_are_refused(undisturbed, features):
    with FileLock(undisturbed / ".lock"), pytest.raises(DataError, match="another run is working"):
        run_demo(SETTINGS, undisturbed, cache=features)


def start(folder, features, tmp_path):
    config = tmp_path / "demo.yaml"
    config.write_text(write_config(SETTINGS))
    return subprocess.Popen(
        [sys.executable, "-m", "geocsp", "demo", "--config", config, "-o", folder],
        env=os.environ | {"GEOCSP_CACHE": str(features.parent / "command")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_work(process, folder, files):
    while len(list(folder.glob("work/*/*"))) < files:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


def group_is_gone(group):
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_killed_run_leaves_no_process_and_ends_the_same_when_run_again(
    undisturbed, features, tmp_path
):
    folder = tmp_path / "run"
    for files in (1, 6):  # during pre-training, then during fine-tuning
        process = start(folder, features, tmp_path)
        wait_for_work(process, folder, files)
        process.kill()
        process.communicate()
        assert group_is_gone(process.pid)
        assert not (folder / "results.json").exists()
    process = start(folder, features, tmp_path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert results_of(folder) == results_of(undisturbed)


def test_ctrl_c_is_one_line_and_exit_code_130(features, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, features, tmp_path)
    wait_for_work(process, folder, 1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == (
        "geocsp: interrupted; the same command goes on from here"
    )
    assert "Traceback" not in errors
    assert group_is_gone(process.pid)
