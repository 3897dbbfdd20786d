import csv
import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from small_examples import EXAMPLES, PRESET

import geocsp.train.tune
from geocsp.errors import DataError, MissingExtraError
from geocsp.presets import HoldOut, Range, changed, read_preset
from geocsp.process import Process
from geocsp.train.tune import Ending, tune
from geocsp.train.validation import Metric

optuna = pytest.importorskip("optuna")

SPACE = {
    "pretrain.learning_rate": Range(1e-4, 1e-1, log=True),
    "location.settings.dim": Range(8, 16),
    "pretrain.batch_size": Range(choices=(20, 40)),
}
SEARCHED = replace(
    changed(PRESET, {"pretrain.epochs": 2}), hold_out=HoldOut(0.2, blocks=30.0), tune=SPACE
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return folder, tune(SEARCHED, EXAMPLES, folder, 6)


def test_a_search_tries_the_preset_first_and_then_values_in_range(done):
    _, found = done
    assert [trial.number for trial in found.trials] == list(range(6))
    own = {
        "pretrain.learning_rate": 5e-3,
        "location.settings.dim": 16,
        "pretrain.batch_size": 40,
    }
    assert found.trials[0].values == own
    for trial in found.trials:
        for path, value in trial.values.items():
            assert SPACE[path].includes(value)
        assert isinstance(trial.values["location.settings.dim"], int)
    assert len({trial.values["pretrain.learning_rate"] for trial in found.trials}) == 6


def test_the_best_trial_has_the_best_score_and_makes_a_preset(done):
    folder, found = done
    scores = [trial.score for trial in found.trials if trial.ending is Ending.COMPLETE]
    assert found.metric is Metric.MEDIAN_KM
    assert found.winner.score == min(scores)
    best = read_preset(folder / "best.yaml")
    assert best == found.best == changed(SEARCHED, found.winner.values)
    facts = json.loads((folder / f"trials/{found.winner.number:04d}/run.json").read_text())
    assert facts["metrics"]["validation.median_km"] == found.winner.score


def test_the_table_has_all_trials(done):
    folder, found = done
    with (folder / "tune.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ending"] for row in rows] == [trial.ending.value for trial in found.trials]
    for row, trial in zip(rows, found.trials, strict=True):
        assert row["median_km"] == ("" if trial.score is None else str(trial.score))
        assert int(row["location.settings.dim"]) == trial.values["location.settings.dim"]


def test_ended_trials_leave_no_checkpoints(done):
    folder, _ = done
    assert len(list((folder / "trials").iterdir())) == 6
    assert not list((folder / "trials").glob("*/checkpoints"))


def test_a_search_that_is_done_is_not_done_again(done, monkeypatch):
    folder, found = done
    monkeypatch.setattr(geocsp.train.tune, "run_pretraining", lambda *_, **__: pytest.fail("ran"))
    assert tune(SEARCHED, EXAMPLES, folder, 6) == found
    assert tune(SEARCHED, EXAMPLES, folder, 4) == found


def test_the_same_seed_suggests_the_same_and_another_something_else(done, tmp_path):
    _, found = done
    again = tune(SEARCHED, EXAMPLES, tmp_path / "again", 6)
    assert again == found
    told = []
    seed = replace(SEARCHED, seed=1)
    other = tune(seed, EXAMPLES, tmp_path / "other", 2, on_trial=told.append)
    assert tuple(told) == other.trials
    assert other.trials[0].values == found.trials[0].values
    assert other.trials[1].values != found.trials[1].values


def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(done, tmp_path, monkeypatch):
    _, found = done
    original, calls = geocsp.train.tune.run_pretraining, []

    def interrupted(preset, examples, folder, *, on_epoch, **options):
        calls.append(folder)

        def stop(epoch, means):
            on_epoch(epoch, means)
            if len(calls) == 3:
                raise KeyboardInterrupt

        return original(preset, examples, folder, on_epoch=stop, **options)

    with monkeypatch.context() as patch:
        patch.setattr(geocsp.train.tune, "run_pretraining", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune(SEARCHED, EXAMPLES, tmp_path, 6)
    assert len((tmp_path / "tune.csv").read_text().splitlines()) == 3
    assert tune(SEARCHED, EXAMPLES, tmp_path, 6) == found
    assert json.loads((tmp_path / "trials/0002/run.json").read_text())["starts"] == 2
    assert len(list((tmp_path / "trials").iterdir())) == 6


KILLED = """
import sys, time
sys.path[:0] = {path!r}
import torch
torch.set_num_threads(1)
from test_tune import EXAMPLES, SEARCHED, tune
from geocsp.train.watching import Watcher

class Slow(Watcher):
    def on_start(self, step, steps):
        print("start", flush=True)

    def on_step(self, report):
        time.sleep(0.05)

tune(SEARCHED, EXAMPLES, {folder!r}, 6, watchers=[Slow()])
"""


@pytest.mark.slow
def test_a_killed_search_goes_on_as_if_nothing_had_happened(done, tmp_path):
    _, found = done
    folder = str(tmp_path / "killed")
    code = KILLED.format(path=[p for p in sys.path if p], folder=folder)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        for started, _ in enumerate(run.stdout):
            if started == 2:
                break
        time.sleep(0.2)
        run.kill()
    assert tune(SEARCHED, EXAMPLES, folder, 6) == found


def test_hopeless_trials_are_given_up_before_their_end(tmp_path, monkeypatch):
    """Trials after the first five learn nothing, so all are worse than the median at once."""
    original, epochs = geocsp.train.tune.run_pretraining, []

    def run(preset, examples, folder, *, on_epoch, **options):
        number = int(folder.name)

        def told(epoch, means):
            epochs.append((number, epoch))
            on_epoch(epoch, means | {"validation.median_km": 100.0 * (1 + number // 5)})

        return original(preset, examples, folder, on_epoch=told, **options)

    monkeypatch.setattr(geocsp.train.tune, "run_pretraining", run)
    found = tune(SEARCHED, EXAMPLES, tmp_path, 6)
    assert [trial.ending for trial in found.trials] == [Ending.COMPLETE] * 5 + [Ending.PRUNED]
    assert found.trials[-1].score is None
    assert epochs[-2:] == [(4, 1), (5, 0)]


def test_a_trial_whose_loss_is_not_finite_is_given_up(tmp_path):
    preset = replace(
        SEARCHED,
        objective=replace(SEARCHED.objective, settings={"temperature": 0.1}),
        tune={"pretrain.learning_rate": Range(choices=(1e-3, 1e38))},
    )
    found = tune(preset, EXAMPLES, tmp_path, 4)
    endings = {t.values["pretrain.learning_rate"]: t.ending for t in found.trials}
    assert endings == {1e-3: Ending.COMPLETE, 1e38: Ending.PRUNED}
    assert found.winner.values == {"pretrain.learning_rate": 1e-3}


def test_recalls_are_to_rise(tmp_path):
    preset = replace(SEARCHED, hold_out=replace(SEARCHED.hold_out, metric=Metric.RECALL_AT_10))
    found = tune(preset, EXAMPLES, tmp_path, 3)
    assert found.winner.score == max(trial.score for trial in found.trials)


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        (replace(SEARCHED, tune={}), "the settings have no ranges under tune"),
        (replace(SEARCHED, hold_out=HoldOut()), "give a share to hold out"),
        (changed(SEARCHED, {"hold_out.every": 3}), "no epoch is validated"),
        (replace(SEARCHED, tune={"speed": Range(1, 2)}), "there is no setting 'speed'"),
    ],
)
def test_what_cannot_be_searched_is_refused(preset, message, tmp_path):
    with pytest.raises(DataError, match=message):
        tune(preset, EXAMPLES, tmp_path, 2)


def test_several_processes_cannot_search_together(tmp_path, monkeypatch):
    monkeypatch.setattr(Process, "current", classmethod(lambda cls: cls(0, 2)))
    with pytest.raises(DataError, match="a search runs in one process"):
        tune(SEARCHED, EXAMPLES, tmp_path, 2)


def test_another_search_in_the_folder_is_refused(done):
    folder, _ = done
    with pytest.raises(DataError, match=r"search from other settings \(pretrain.epochs\)"):
        tune(changed(SEARCHED, {"pretrain.epochs": 3}), EXAMPLES, folder, 6)
    with pytest.raises(DataError, match="holds a search on other data"):
        tune(SEARCHED, EXAMPLES.take(np.arange(150)), folder, 6)


def test_a_damaged_study_is_named(tmp_path):
    (tmp_path / "tune.db").write_bytes(b"no data base" * 100)
    with pytest.raises(DataError, match=r"tune.db is damaged \(") as caught:
        tune(SEARCHED, EXAMPLES, tmp_path, 2)
    assert "\n" not in str(caught.value)


def test_optuna_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'geocsp\[tune\]'"):
        tune(SEARCHED, EXAMPLES, tmp_path, 2)
