import json
import struct
import sys
import time

import pytest

from geocsp.errors import DataError, MissingExtraError
from geocsp.train.watchers import WandB
from geocsp.train.watching import StepReport

wandb = pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CACHE_DIR": str(tmp_path / "cache"),
        "WANDB_CONFIG_DIR": str(tmp_path / "config"),
        "WANDB_DATA_DIR": str(tmp_path / "data"),
    }.items():
        monkeypatch.setenv(name, value)


def run(folder, start, stop, **settings):
    watcher = WandB(folder, every=2, **settings)
    watcher.on_start(start, 12)
    for step in range(start + 1, stop + 1):
        parts = {"loss": 1 / step, "in_batch": 2.0}
        watcher.on_step(StepReport(step, 12, 0, parts, 1e-3, 0.5, 512.0, 0.25, 4096))
        if step % 4 == 0:
            watcher.on_epoch(step, step // 4 - 1, {"loss": 3.0, "validation.R@1": 0.25})
    watcher.on_finish()
    wait_until_written(folder)


def wait_until_written(folder):
    """W&B's own process writes on for a moment after the end."""
    for _ in range(200):
        logs = [list(records(path)) for path in folder.glob("wandb/offline-run-*/*.wandb")]
        if all(log and log[-1].HasField("exit") for log in logs):
            return
        time.sleep(0.05)
    raise AssertionError("W&B did not write its log")


def records(path):
    """Records of a log in LevelDB's format: blocks of 32 KiB, chunks of checksum, size, kind."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        if at + 7 + size > len(data):
            return
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def found(folder):
    """Id of every stretch of a run, and what it logged by step."""
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        history, name = {}, None
        for record in records(path):
            if record.HasField("run"):
                name = record.run.run_id
            if record.HasField("history"):
                items = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                own = {k: v for k, v in items.items() if not k.startswith("_")}
                history[record.history.step.num] = own
        yield name, history


def test_the_log_has_every_number_by_step(tmp_path):
    run(tmp_path / "run", 0, 5)
    ((_, history),) = found(tmp_path / "run")
    step = {
        "step/loss": 1 / 2,
        "step/in_batch": 2,
        "step/learning_rate": 1e-3,
        "step/gradient_norm": 0.5,
        "step/images_per_second": 512,
        "step/wait_share": 0.25,
        "step/peak_memory": 4096,
    }
    epoch = {"epoch/loss": 3, "validation/R@1": 0.25}
    assert history == {2: step, 4: step | {"step/loss": 1 / 4} | epoch}


def test_a_run_that_goes_on_is_one_run_and_another_is_another(tmp_path):
    run(tmp_path, 0, 5)
    ((first, _),) = found(tmp_path)
    run(tmp_path, 4, 6)
    assert {name for name, _ in found(tmp_path)} == {first}
    run(tmp_path, 0, 2)
    assert len({name for name, _ in found(tmp_path)}) == 2


def test_settings_are_those_of_the_run(tmp_path):
    run(tmp_path, 0, 2, project="birds", name="first", settings={"epochs": 3})
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    (shown,) = [record.run for record in records(path) if record.HasField("run")]
    assert (shown.project, shown.display_name) == ("birds", "first")
    assert {u.key: u.value_json for u in shown.config.update}["epochs"] == "3"


def test_a_start_that_fails_is_a_plain_error(tmp_path, monkeypatch):
    def fail(**settings):
        raise wandb.errors.CommError("no route to host")

    monkeypatch.setattr(wandb, "init", fail)
    with pytest.raises(DataError, match="W&B cannot start: no route to host; set WANDB_MODE="):
        WandB(tmp_path).on_start(0, 10)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'geocsp\[wandb\]'"):
        WandB(tmp_path)
    with pytest.raises(ValueError, match="not every 0"):
        WandB(tmp_path, every=0)
