import base64
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from rich.console import Console

from geocsp.config import write_config
from geocsp.demo.run import run_demo
from geocsp.demo.settings import DemoSettings
from geocsp.errors import DataError
from geocsp.evaluate import Shot

pytestmark = pytest.mark.slow

SETTINGS = DemoSettings(
    points=2000,
    pixels=32,
    test_folds=(1,),
    seeds=1,
    epochs=2,
    shots=(Shot(per_class=1), Shot(ratio=0.1)),
    transductive=True,
)
PICTURES = {"label-efficiency-landcover", "embedding", "classes-landcover", "fixed-landcover"}
UNITS = 2 + 4 * 2  # two rows without pre-training, four with it, inductive and transductive


def quiet():
    return Console(file=open(os.devnull, "w"))  # noqa: PTH123


def but_times(results):
    return {key: value for key, value in results.items() if key != "times"}


def stored(folder):
    return json.loads((folder / "results.json").read_text())


def work_files(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in (folder / "work").rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("undisturbed") / "runs" / "demo"
    returned = run_demo(SETTINGS, folder, workers=2, cache=cache / "features", console=quiet())
    return folder, returned


def test_the_results_are_what_the_run_returned(undisturbed):
    folder, returned = undisturbed
    assert stored(folder) == json.loads(json.dumps(returned))


def test_the_results_hold_every_run_of_every_row(undisturbed):
    results = stored(undisturbed[0])
    records = results["records"]
    assert len(records) == UNITS * len(SETTINGS.shots)
    keys = {(r["method"], r["regime"], r["fold"], r["seed"], r["shot"]) for r in records}
    assert len(keys) == len(records)
    assert {record["method"] for record in records} == set(results["methods"])
    for measure in ("image", "location", "product", "fused"):
        values = np.array([record[measure] for record in records])
        assert ((values > 0) & (values < 1)).all()
        assert len(np.unique(values)) > 1


def test_rows_on_raw_image_features_share_one_image_head(undisturbed):
    records = stored(undisturbed[0])["records"]
    for shot in ("1 per class", "10 %"):
        raw = {r["image"] for r in records if r["shot"] == shot and r["method"] != "best"}
        assert len(raw) == 1


def test_the_results_state_the_data_and_its_split(undisturbed, data):
    facts = stored(undisturbed[0])["data"]
    split = data.split(1)
    assert facts["fingerprint"] == data.fingerprint
    assert facts["splits"]["1"]["train"] == len(split.train)
    assert facts["splits"]["1"]["test"] == len(split.test)
    assert facts["labelled"] == {"landcover": int((data.tasks["landcover"].labels >= 0).sum())}


def test_the_run_folder_has_the_results_the_report_and_pictures_alone(undisturbed):
    folder = undisturbed[0]
    shown = {path.name for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
    assert shown == {"results.json", "report.html"} | {f"{name}.png" for name in PICTURES}
    assert [path for path in folder.rglob("*") if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_pictures_open_and_show_something(undisturbed, name):
    with Image.open(undisturbed[0] / f"{name}.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 400
    assert len(np.unique(pixels[::4, ::4].reshape(-1, 3), axis=0)) > 50


class Links(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.targets, self.alternatives = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.targets += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "img":
            self.alternatives.append(dict(attrs).get("alt"))


def test_the_report_needs_no_other_file_and_no_network(undisturbed):
    folder = undisturbed[0]
    page = (folder / "report.html").read_text(encoding="utf-8")
    links = Links(page)
    prefix = "data:image/png;base64,"
    assert [target for target in links.targets if not target.startswith(prefix)] == []
    embedded = [base64.b64decode(target.removeprefix(prefix)) for target in links.targets]
    pictures = [(folder / f"{name}.png").read_bytes() for name in PICTURES]
    assert sorted(embedded) == sorted(pictures)
    for content in embedded:
        Image.open(BytesIO(content)).verify()
    assert all(links.alternatives)
    assert not {"script", "link", "iframe", "object", "embed"} & set(links.tags)
    assert "@import" not in page
    assert "url(" not in page


def test_the_report_shows_the_numbers_of_the_results(undisturbed):
    folder, results = undisturbed
    page = (folder / "report.html").read_text(encoding="utf-8")
    for method in results["methods"].values():
        assert f"<td>{method['label']}</td>" in page
    for row in results["table"]:
        cell = row.get("fused", row.get("image"))
        assert f"<td>{100 * cell['mean']:.1f}" in page
    for credit in ("NASA", "MCD12C1", "Rubel"):
        assert credit in page


def test_a_run_in_the_same_folder_does_nothing_twice(undisturbed, cache):
    folder, first = undisturbed
    before, features = work_files(folder), work_files_of_cache(cache)
    assert len(before) > UNITS
    again = run_demo(SETTINGS, folder, workers=1, cache=cache / "features", console=quiet())
    assert work_files(folder) == before
    assert work_files_of_cache(cache) == features
    assert but_times(again) == but_times(first)
    assert again["times"]["workers"] == 1


def work_files_of_cache(cache):
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}


def test_a_folder_that_another_run_works_in_is_refused(tmp_path, cache):
    with FileLock(tmp_path / ".lock"), pytest.raises(DataError, match="another run is working in"):
        run_demo(SETTINGS, tmp_path, cache=cache / "features", console=quiet())
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def living(group):
    """Processes of a process group, without those that have ended and wait to be reaped."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, number = stat.read_text().rpartition(")")[2].split()[:3]
            if int(number) == group and state != "Z":
                found.append(stat.parent.name)
    return found


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Command:
    """The command ``geocsp demo`` as a shell would start it, in a process group of its own."""

    def __init__(self, folder, cache, workers):
        config = folder.parent / "demo.yaml"
        config.write_text(write_config(SETTINGS))
        command = [str(Path(sys.executable).parent / "geocsp"), "demo", "--config", str(config)]
        self.folder = folder
        self.process = subprocess.Popen(
            [*command, "--output", str(folder), "--workers", str(workers), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"GEOCSP_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self.group = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        self.process.wait()

    def has_left(self, pattern):
        """Wait for a finished file in the work folder; False if the command ends before."""
        found = wait_until(
            lambda: any((self.folder / "work").glob(f"*/{pattern}")) or self.process.poll(), 120
        )
        return found and self.process.poll() is None


@dataclass
class Stopped:
    running: bool
    processes: int
    exit_code: int
    stderr: str
    all_ended: bool
    left: dict[Path, int]


def stop(command, number, *, whole_group):
    """Send a signal and see what becomes of the command and its worker processes."""
    processes = len(living(command.group))
    (os.killpg if whole_group else os.kill)(command.group, number)
    _, stderr = command.process.communicate(timeout=60)
    ended = wait_until(lambda: not living(command.group), 10)
    return processes, command.process.returncode, stderr, ended


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, cache, undisturbed):
    """Ctrl-C early on, the same again, SIGKILL later on, and the same again to the end."""
    if sys.platform != "linux":
        pytest.skip("looks at processes under /proc")
    folder = tmp_path_factory.mktemp("stopped") / "demo"
    found = []
    for pattern, number in (("image-*.npz", signal.SIGINT), ("records-*.json", signal.SIGKILL)):
        with Command(folder, cache, workers=2) as command:
            running = command.has_left(pattern)
            whole_group = number == signal.SIGINT  # a terminal sends Ctrl-C to all of them
            facts = stop(command, number, whole_group=whole_group)
            found.append(Stopped(running, *facts, work_files(folder)))
    with Command(folder, cache, workers=1) as command:
        stdout, stderr = command.process.communicate(timeout=300)
        assert command.process.returncode == 0, stderr
    return folder, *found, stdout


def test_ctrl_c_is_answered_with_one_line_and_exit_code_130(stopped):
    _, interrupted, _, _ = stopped
    assert interrupted.running
    assert interrupted.exit_code == 130
    said = [line for line in interrupted.stderr.splitlines() if line.startswith("geocsp:")]
    assert said == ["geocsp: interrupted; the same command goes on from here"]
    assert "Traceback" not in interrupted.stderr
    assert "Error" not in interrupted.stderr


def test_workers_end_with_a_command_that_is_interrupted_or_killed(stopped):
    _, interrupted, killed, _ = stopped
    assert killed.running
    assert killed.exit_code == -signal.SIGKILL
    for state in (interrupted, killed):
        assert state.processes >= 3
        assert state.all_ended


def test_a_stopped_run_goes_on_without_redoing_finished_work(stopped):
    folder, interrupted, killed, _ = stopped
    assert 0 < len(interrupted.left) < len(killed.left)
    finished = work_files(folder)
    finished_units = {
        path: written
        for path, written in (interrupted.left | killed.left).items()
        if path.suffix == ".npz" or path.name.startswith("records-")
    }
    assert finished_units
    assert {path: finished[path] for path in finished_units} == finished_units


def test_a_stopped_run_ends_with_the_results_of_an_undisturbed_one(stopped, undisturbed):
    folder, _, _, stdout = stopped
    assert but_times(stored(folder)) == but_times(stored(undisturbed[0]))
    assert json.loads(stdout) == stored(folder)
    assert [path for path in folder.rglob("*") if path.name.endswith(".tmp")] == []
