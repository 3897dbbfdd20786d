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
from geocsp.demo.settings import ROWS, DemoSettings
from geocsp.errors import DataError
from geocsp.evaluate import Results, Shot
from geocsp.evaluate.rows import IMAGE_ALIGNED as ALIGNED

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
UNITS = 3 + 5 * 2  # three rows without pre-training, five with it, inductive and transductive
MEASURES = ("image", "location", "product", "fused", "guarded")


def quiet():
    return Console(file=open(os.devnull, "w"))  # noqa: PTH123


TIMES = {"times", "seconds", "pretrain_seconds"}


def but_times(results):
    """Results without how long anything took."""
    if isinstance(results, dict):
        return {key: but_times(value) for key, value in results.items() if key not in TIMES}
    return [but_times(value) for value in results] if isinstance(results, list) else results


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
    again = Results.read(folder)
    assert again.runs == returned.runs
    assert again.facts == json.loads(json.dumps(returned.facts))


def test_the_results_hold_every_run_of_every_row(undisturbed):
    results = stored(undisturbed[0])
    runs = results["runs"]
    assert len(runs) == UNITS * len(SETTINGS.shots)
    keys = {(r["row"], r["regime"], r["fold"], r["seed"], r["shot"]) for r in runs}
    assert len(keys) == len(runs)
    assert {run["row"] for run in runs} == set(results["rows"]) == set(ROWS)
    for measure in MEASURES:
        values = [cell[measure]["top1"]["mean"] for cell in results["table"] if measure in cell]
        assert all(0 < value < 1 for value in values)
        assert len(set(values)) > 1


def test_rows_on_raw_image_features_share_one_image_head(undisturbed):
    table = stored(undisturbed[0])["table"]
    for shot in ("1 per class", "10 %"):
        cells = [cell for cell in table if cell["shot"] == shot]
        raw = {c["image"]["nll"]["mean"] for c in cells if c["row"] not in ("best", ALIGNED)}
        assert len(raw) == 1
        shaped = {c["image"]["nll"]["mean"] for c in cells if c["row"] in ("best", ALIGNED)}
        assert len(shaped) == 2  # by inductive and by transductive pre-training
        assert not raw & shaped


def test_the_results_state_the_data_and_its_split(undisturbed, data):
    facts = stored(undisturbed[0])["data"]
    split = data.split(1)
    assert facts["fingerprint"].startswith(data.fingerprint)
    assert facts["splits"]["1"] == {
        "train": len(split.train),
        "validation": len(split.validation),
        "test": len(split.test),
        "dropped": split.dropped_train + split.dropped_validation,
    }
    assert facts["labelled"] == {"landcover": int((data.tasks["landcover"].labels >= 0).sum())}


def test_the_run_folder_has_the_results_the_reports_and_pictures_alone(undisturbed):
    folder = undisturbed[0]
    shown = {path.name for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
    facts = {"results.json", "places.npz", "plan.json", "table.md", "table.tex"}
    assert shown == facts | {"report.html"} | {f"{name}.png" for name in PICTURES}
    folders = {path.name for path in folder.iterdir() if path.is_dir()}
    assert folders == {"answers", "details", "priors", "subsets", "work"}
    assert (folder / "details" / "report.html").is_file()
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
    others = [target for target in links.targets if not target.startswith(prefix)]
    assert others == ["details/report.html"]  # for more; the page is whole without
    shown = [target for target in links.targets if target.startswith(prefix)]
    embedded = [base64.b64decode(target.removeprefix(prefix)) for target in shown]
    pictures = [(folder / f"{name}.png").read_bytes() for name in PICTURES]
    assert sorted(embedded) == sorted(pictures)
    for content in embedded:
        Image.open(BytesIO(content)).verify()
    assert all(links.alternatives)
    assert not {"script", "link", "iframe", "object", "embed"} & set(links.tags)
    assert "@import" not in page
    assert "url(" not in page


def test_the_report_shows_the_numbers_of_the_results(undisturbed):
    folder, _ = undisturbed
    results = stored(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    for row in results["rows"].values():
        assert f"<td>{row['label']}</td>" in page
    for cell in results["table"]:
        for measure in ("fused", "guarded") if "fused" in cell else ("image",):
            assert f"<td>{100 * cell[measure]['top1']['mean']:.1f}" in page
    dropped = results["data"]["splits"]["1"]["dropped"]
    assert f"(fold 1: {dropped} of 2,000 tiles)" in page
    for credit in ("NASA", "MCD12C1", "Rubel"):
        assert credit in page


def test_the_report_shows_every_paired_difference_of_ours(undisturbed):
    folder, _ = undisturbed
    page = (folder / "report.html").read_text(encoding="utf-8")
    shown = [
        cell
        for cell in stored(folder)["comparisons"]
        if (cell["first"], cell["second"]) == ("best", "sup-grid")
        and cell["regime"] == "inductive"
        and cell["measure"] != "image"
    ]
    assert len(shown) == 4 * len(SETTINGS.shots)
    for cell in shown:
        interval = f"{100 * cell['low']:+.1f} to {100 * cell['high']:+.1f}"
        assert f"<small>{interval}</small>" in page


def test_a_run_in_the_same_folder_does_nothing_twice(undisturbed, cache):
    folder, first = undisturbed
    before, features = work_files(folder), work_files_of_cache(cache)
    assert len(before) > UNITS
    again = run_demo(SETTINGS, folder, workers=1, cache=cache / "features", console=quiet())
    assert work_files(folder) == before
    assert work_files_of_cache(cache) == features
    assert again.runs == first.runs
    assert but_times(again.facts) == but_times(first.facts)


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
            lambda: any((self.folder / "work").glob(pattern)) or self.process.poll(), 120
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
    for pattern, number in (("heads/*.npz", signal.SIGINT), ("records/*.json", signal.SIGKILL)):
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
        if path.parent.name in ("heads", "records")
    }
    assert finished_units
    assert {path: finished[path] for path in finished_units} == finished_units


def test_a_stopped_run_ends_with_the_results_of_an_undisturbed_one(stopped, undisturbed):
    folder, _, _, stdout = stopped
    assert but_times(stored(folder)) == but_times(stored(undisturbed[0]))
    assert json.loads(stdout) == {k: v for k, v in stored(folder).items() if k != "runs"}
    assert [path for path in folder.rglob("*") if path.name.endswith(".tmp")] == []
