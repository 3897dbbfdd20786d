import math
import subprocess
import sys

import pytest

from geocsp.errors import MissingExtraError
from geocsp.train.watchers import TensorBoard
from geocsp.train.watching import StepReport

pytest.importorskip("tensorboard")


def run(folder, start, stop, every=1, finish=True):
    watcher = TensorBoard(folder, every=every)
    watcher.on_start(start, 12)
    for step in range(start + 1, stop + 1):
        parts = {"loss": 1 / step, "in_batch": 2.0}
        watcher.on_step(StepReport(step, 12, 0, parts, 1e-3, 0.5, 512.0, 0.25, 4096))
        if step % 4 == 0:
            watcher.on_epoch(step, step // 4 - 1, {"loss": 3.0, "validation.R@1": 0.25})
    if finish:
        watcher.on_finish()
    return watcher


def curves(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_the_event_file_has_every_number(tmp_path):
    run(tmp_path, 0, 4)
    found = curves(tmp_path)
    assert found.pop("step/loss") == [(s, pytest.approx(1 / s)) for s in (1, 2, 3, 4)]
    constant = {
        "step/in_batch": 2.0,
        "step/learning_rate": pytest.approx(1e-3),
        "step/gradient_norm": 0.5,
        "step/images_per_second": 512.0,
        "step/wait_share": 0.25,
        "step/peak_memory": 4096.0,
    }
    for name, value in constant.items():
        assert found.pop(name) == [(s, value) for s in (1, 2, 3, 4)]
    assert found == {"epoch/loss": [(4, 3.0)], "validation/R@1": [(4, 0.25)]}


def test_an_interrupted_run_has_each_step_once(tmp_path):
    run(tmp_path, 0, 9)
    run(tmp_path, 6, 12)
    found = curves(tmp_path)
    assert found["step/loss"] == [(s, pytest.approx(1 / s)) for s in range(1, 13)]
    assert [step for step, _ in found["validation/R@1"]] == [4, 8, 12]


def test_what_is_saved_outlives_a_kill(tmp_path):
    code = f"""
import os, signal
from geocsp.train.watchers import TensorBoard
from geocsp.train.watching import StepReport
watcher = TensorBoard({str(tmp_path)!r}, every=1)
watcher.on_start(0, 100)
for step in range(1, 6):
    watcher.on_step(StepReport(step, 100, 0, {{"loss": 1 / step}}, 0.1, 1.0, 1.0, 0.0, 1))
watcher.on_save(5)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [step for step, _ in curves(tmp_path)["step/loss"]] == [1, 2, 3, 4, 5]


def test_each_so_many_th_step(tmp_path):
    run(tmp_path, 0, 9, every=3)
    assert [step for step, _ in curves(tmp_path)["step/loss"]] == [3, 6, 9]
    with pytest.raises(ValueError, match="not every 0"):
        TensorBoard(tmp_path, every=0)


def test_what_is_not_finite_does_not_fail(tmp_path):
    watcher = run(tmp_path, 0, 0, finish=False)
    watcher.on_epoch(1, 0, {"loss": math.inf})
    watcher.on_finish()
    assert curves(tmp_path)["epoch/loss"] == [(1, math.inf)]


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'geocsp\[train\]'"):
        TensorBoard(tmp_path)
