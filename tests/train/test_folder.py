import json
from dataclasses import asdict, replace

import pytest
import yaml
from filelock import FileLock

from geocsp.config import write_config
from geocsp.errors import DataError
from geocsp.presets import BEST, changed
from geocsp.process import ALONE
from geocsp.train.folder import (
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    RUN_FILE,
    RunReport,
    alone,
    begin,
    different,
    in_first,
    is_finished,
)


def begun(folder, data="d"):
    """A run that has left a checkpoint."""
    report = begin(folder, BEST, data)
    (folder / CHECKPOINT_FOLDER).mkdir(exist_ok=True)
    (folder / CHECKPOINT_FOLDER / "step-00000001.safetensors").touch()
    return report


def test_a_new_run_is_described_before_it_starts(tmp_path):
    report = begin(tmp_path, BEST, "data 1")
    assert (report.starts, report.finished, report.data) == (1, False, "data 1")
    assert (tmp_path / CONFIG_FILE).read_text() == write_config(BEST)
    assert json.loads((tmp_path / RUN_FILE).read_text()) == asdict(report)
    assert not is_finished(tmp_path)


def test_a_run_that_goes_on_is_counted_and_keeps_its_time(tmp_path):
    replace(begun(tmp_path), seconds=12.5, device="cpu").write(tmp_path)
    again = begin(tmp_path, BEST, "d")
    assert (again.starts, again.seconds, again.device) == (2, 12.5, "cpu")


def test_a_run_that_stopped_before_its_first_checkpoint_may_be_started_anew(tmp_path):
    begin(tmp_path, BEST, "d")
    other = changed(BEST, {"seed": 1})
    assert begin(tmp_path, other, "e").starts == 1
    assert (tmp_path / CONFIG_FILE).read_text() == write_config(other)


def test_a_finished_run_is_left_as_it_is(tmp_path):
    done = replace(begin(tmp_path, BEST, "d"), finished=True, metrics={"loss": 0.25})
    done.write(tmp_path)
    assert begin(tmp_path, BEST, "d") == done
    assert is_finished(tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"location.settings.dropout": 0.1}, "location.settings.dropout"),
        ({"location.settings.skip": True}, "location.settings.skip"),
        ({"seed": 1, "pretrain.epochs": 9}, "pretrain.epochs, seed"),
        (
            {"seed": 1, "pretrain.epochs": 9, "temperature": 1, "hold_out.every": 2},
            "pretrain.epochs, temperature, hold_out.every, 1 more",
        ),
    ],
)
def test_other_settings_are_refused_by_name(changes, named, tmp_path):
    begun(tmp_path)
    with pytest.raises(DataError) as caught:
        begin(tmp_path, changed(BEST, changes), "d")
    expected = f"{tmp_path} holds a run with other settings ({named}); use another folder"
    assert str(caught.value) == expected


def test_other_data_are_refused(tmp_path):
    begun(tmp_path)
    with pytest.raises(DataError, match="holds a run on other data; use another folder"):
        begin(tmp_path, BEST, "e")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "run.json is damaged"), ('{"epochs": "x"}', "run.json: epochs: "), ("[]", "run.json: ")],
)
def test_a_damaged_report_is_named(content, message, tmp_path):
    begun(tmp_path)
    (tmp_path / RUN_FILE).write_text(content)
    with pytest.raises(DataError, match=message):
        begin(tmp_path, BEST, "d")
    assert not is_finished(tmp_path)


def test_settings_that_a_user_changed_by_hand_are_other_settings(tmp_path):
    begun(tmp_path)
    values = yaml.safe_load((tmp_path / CONFIG_FILE).read_text())
    values["pretrain"]["epochs"] = 7
    (tmp_path / CONFIG_FILE).write_text(yaml.safe_dump(values))
    with pytest.raises(DataError, match=r"other settings \(pretrain.epochs\)"):
        begin(tmp_path, BEST, "d")


def test_differences_are_found_on_both_sides():
    there = {"a": {"b": 1, "c": {}}, "d": [1]}
    assert different(there, there) == ""
    assert different(there, {"a": {"b": 2, "c": {"e": 1}}, "d": [1, 2]}) == "a.b, a.c, d, 1 more"


def test_one_run_at_a_time_works_in_a_folder(tmp_path):
    folder = tmp_path / "new" / "run"
    with alone(folder, ALONE), pytest.raises(DataError) as caught, alone(folder, ALONE):
        pass
    reason = f"another run is working in {folder}; wait for it, or use another folder"
    assert str(caught.value) == reason
    with alone(folder, ALONE):
        assert folder.is_dir()


def test_the_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="oops"), alone(tmp_path, ALONE):
        raise ValueError("oops")
    with FileLock(tmp_path / ".lock", timeout=0):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write to .*file"), alone(tmp_path / "file", ALONE):
        pass


class Recorder:
    """Two processes, one after the other: what the first shares, the second gets."""

    def __init__(self, rank, box):
        self.is_first, self.box = rank == 0, box

    def share(self, value):
        if self.is_first:
            self.box.append(value)
        return self.box[-1]


def test_what_the_first_process_does_the_others_get():
    box, done = [], []
    assert in_first(Recorder(0, box), lambda: done.append(1) or "result") == "result"
    assert in_first(Recorder(1, box), lambda: done.append(2)) == "result"
    assert done == [1]


def test_what_fails_in_the_first_process_fails_in_all():
    box = []

    def fail():
        raise DataError("no disk")

    for rank in (0, 1):
        with pytest.raises(DataError, match="no disk"):
            in_first(Recorder(rank, box), fail)


def test_a_report_knows_nothing_at_first():
    assert RunReport() == RunReport(finished=False, epochs=0, starts=0)
