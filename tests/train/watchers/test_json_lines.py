import json
import math
import os
import subprocess
import sys

import pytest

from geocsp.train.watchers import JsonLines
from geocsp.train.watching import StepReport

CHANGING = {"time", "images_per_second", "wait_share", "peak_memory"}


def report(step, loss=None):
    parts = {"loss": 1 / step if loss is None else loss, "in_batch": math.pi / step}
    return StepReport(step, 12, (step - 1) // 4, parts, 1e-3 / 3, 0.1 + 0.2, 512.5, 0.25, 4096)


def run(folder, start, stop, every=1):
    watcher = JsonLines(folder, every=every)
    watcher.on_start(start, 12)
    for step in range(start + 1, stop + 1):
        watcher.on_step(report(step))
        if step % 4 == 0:
            watcher.on_epoch(step, step // 4 - 1, {"loss": 1 / 3, "validation.R@1": 0.1 * step})
    return watcher


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def lasting(folder):
    return [{k: v for k, v in line.items() if k not in CHANGING} for line in lines(folder)]


def test_a_line_for_each_step_and_epoch_with_exact_numbers(tmp_path):
    run(tmp_path / "new" / "folder", 0, 4).on_finish()
    *_, step, epoch = lines(tmp_path / "new" / "folder")
    assert step.pop("time") <= epoch.pop("time")
    assert step == {
        "kind": "step",
        "step": 4,
        "epoch": 0,
        "loss": 1 / 4,
        "in_batch": math.pi / 4,
        "learning_rate": 1e-3 / 3,
        "gradient_norm": 0.1 + 0.2,
        "images_per_second": 512.5,
        "wait_share": 0.25,
        "peak_memory": 4096,
    }
    assert epoch == {
        "kind": "epoch",
        "step": 4,
        "epoch": 0,
        "loss": 1 / 3,
        "validation.R@1": 0.4,
    }


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path):
    watcher = run(tmp_path, 0, 3)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]
    watcher.on_finish()


@pytest.mark.parametrize("saved", [0, 1, 4, 6, 8])
def test_an_interrupted_run_ends_with_the_lines_of_an_undisturbed_one(tmp_path, saved):
    run(tmp_path / "undisturbed", 0, 12).on_finish()
    run(tmp_path / "interrupted", 0, 9)  # and then killed
    run(tmp_path / "interrupted", saved, 12).on_finish()
    assert lasting(tmp_path / "interrupted") == lasting(tmp_path / "undisturbed")
    assert not list((tmp_path / "interrupted").glob("*.tmp"))


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_half_a_line_at_the_end_is_dropped(tmp_path, cut):
    run(tmp_path, 0, 7).on_finish()
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    run(tmp_path, 6, 8).on_finish()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]


def test_what_is_no_line_of_ours_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\x00garbage\n{"epoch": 2}\n[1]\nnull\n{"step": "x"}\n')
    JsonLines(tmp_path).on_start(3, 10)
    assert path.read_bytes() == b'{"step": 1}\n'


def test_a_file_without_later_lines_is_not_written_again(tmp_path):
    run(tmp_path, 0, 4).on_finish()
    before = (tmp_path / "metrics.jsonl").stat()
    run(tmp_path, 4, 4).on_finish()
    after = (tmp_path / "metrics.jsonl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_each_so_many_th_step(tmp_path):
    run(tmp_path, 0, 9, every=3)
    run(tmp_path, 5, 12, every=3).on_finish()
    kinds = [(line["kind"], line["step"]) for line in lines(tmp_path)]
    steps = [("step", 3), ("epoch", 4), ("step", 6), ("epoch", 8), ("step", 9), ("step", 12)]
    assert kinds == [*steps, ("epoch", 12)]
    with pytest.raises(ValueError, match="not every 0"):
        JsonLines(tmp_path, every=0)


def test_what_is_not_finite_is_null(tmp_path):
    watcher = JsonLines(tmp_path)
    watcher.on_start(0, 12)
    watcher.on_step(report(1, math.nan))
    watcher.on_step(report(2, -math.inf))
    assert [line["loss"] for line in lines(tmp_path)] == [None, None]
    watcher.on_finish()


def test_a_killed_process_leaves_whole_lines(tmp_path):
    code = f"""
import os, signal
from geocsp.train.watchers import JsonLines
from geocsp.train.watching import StepReport
watcher = JsonLines({str(tmp_path)!r})
watcher.on_start(0, 100)
for step in range(1, 51):
    watcher.on_step(StepReport(step, 100, 0, {{"loss": 1 / step}}, 0.1, 1.0, 1.0, 0.0, 1))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 51))


def test_a_full_disk_is_an_error():
    watcher = JsonLines.__new__(JsonLines)
    watcher._file, watcher._every, watcher._path = os.open("/dev/full", os.O_WRONLY), 1, "a file"
    with pytest.raises(OSError, match="No space left"):
        watcher.on_step(report(1))
    watcher.on_finish()
