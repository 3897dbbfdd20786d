import math
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import killed_run
import numpy as np
import pytest
import torch
from small_runs import FEATURES, PLACES, SETTINGS, model, run, weights

from geocsp import Features, Precision
from geocsp.data.cache import FeatureCache
from geocsp.data.samplers import Balanced, Geographic, Uniform
from geocsp.errors import DataError, NotFiniteError
from geocsp.objectives import Clip, CspMc, MeanSquaredError, Objective
from geocsp.objectives.geoclip import GeoClip
from geocsp.objectives.weighted import WeightedSum
from geocsp.process import ALONE
from geocsp.train import checkpoint
from geocsp.train.checkpoint import Checkpoints
from geocsp.train.snapshot import Snapshot
from geocsp.train.state import TrainingState
from geocsp.train.validation import Metric, Validation
from geocsp.train.watching import Watcher

TIME = torch.rand(300, 2, generator=torch.Generator().manual_seed(2))


class StopError(Exception):
    pass


class InterruptedAfter(Checkpoints):
    """Saves after every second step, and is interrupted after some step before that is saved."""

    def __init__(self, folder, step):
        super().__init__(folder, every=2, every_seconds=None)
        self.step = step

    def due(self, step, *, last=False):
        if step == self.step:
            raise StopError
        return super().due(step, last=last)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def newest(folder):
    return Snapshot.read(folder / files(folder)[-1])


def assert_same_state(folder, other):
    ends, expected = newest(folder), newest(other)
    assert ends.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert torch.equal(ends.tensors[name], tensor), name
    assert ends.facts == expected.facts
    assert ends.identity == expected.identity


def weighted():
    members = [{"name": "csp-mc"}, {"name": "geoclip", "settings": {"queue": 70}, "weight": 0.5}]
    return WeightedSum(members=members)


def on_disk(folder):
    cache = FeatureCache(folder, 300, 6)
    for shard in range(cache.shards):
        cache.write(shard, FEATURES[list(cache.span(shard))])
    return Features(None, cache, np.random.default_rng(0).permutation(300))


def stops_early():
    held_out = PLACES.flip(0)  # which does not fit, so that it never gets better
    return Validation(FEATURES, held_out, patience=2, metric=Metric.MEDIAN_RANK)


RUNS = {
    "csp-mc": {},
    "ema": {"settings": replace(SETTINGS, ema=0.9)},
    "passes": {"settings": replace(SETTINGS, micro_batch=20)},
    "schedule": {
        "settings": replace(SETTINGS, warmup=0.3, cosine=True, weight_decay=0.1, clip_norm=0.1)
    },
    "float16": {"settings": replace(SETTINGS, precision=Precision.FLOAT16)},
    "bfloat16": {"settings": replace(SETTINGS, precision=Precision.BFLOAT16)},
    "queue": {"objective": weighted},
    "decoder": {"objective": lambda: MeanSquaredError(dim=8, feature_dim=6)},
    "temperature": {"objective": Clip},
    "sampler": {"sampler": Geographic(strength=0.1, nside=2).fit(PLACES)},
    "stops early": {
        "settings": replace(SETTINGS, learning_rate=0.1, ema=0.5, epochs=9),
        "validation": stops_early,
    },
    "from disk": {"features": on_disk},
}


def start(folder, name, checkpoints):
    """Train a new model."""
    given = dict(RUNS[name])
    torch.manual_seed(0)
    for key in ("objective", "validation"):
        given[key] = given.get(key, lambda: None)()
    if "features" in given:
        given["features"] = given["features"](folder / "features")
    trained = model()
    torch.rand(7)  # the global state is nothing that a run depends on
    return weights(trained), run(trained, checkpoints=checkpoints, **given), trained


@pytest.mark.parametrize("name", RUNS)
def test_an_interrupted_run_ends_as_one_never_interrupted(tmp_path, name):
    _, history, trained = start(tmp_path, name, None)
    whole = Checkpoints(tmp_path / "whole", every=1000, every_seconds=None)
    _, whole_history, whole_trained = start(tmp_path, name, whole)
    assert whole_history == history
    assert torch.equal(weights(whole_trained), weights(trained))
    for stops in ([1, 3, 4, 5], [2, 8], [7, 9, 11]):
        folder = tmp_path / "-".join(map(str, stops))
        for step in stops:
            with pytest.raises(StopError):
                start(tmp_path, name, InterruptedAfter(folder, step))
        again = Checkpoints(folder, every=2, every_seconds=None)
        _, resumed_history, resumed = start(tmp_path, name, again)
        assert resumed_history == history
        assert torch.equal(weights(resumed), weights(trained))
        assert_same_state(folder, tmp_path / "whole")


def test_the_run_that_stops_early_does(tmp_path):
    before, history, trained = start(tmp_path, "stops early", None)
    assert len(history) < 9
    assert not torch.equal(weights(trained), before)


def test_a_run_that_is_at_its_end_returns_at_once(tmp_path, monkeypatch):
    ends = []
    for name in ("ema", "stops early"):
        ends.append(start(tmp_path, name, Checkpoints(tmp_path / name)))
    monkeypatch.setattr(Objective, "__call__", None)
    for name, (_, history, trained) in zip(("ema", "stops early"), ends, strict=True):
        before = {p: p.stat().st_mtime_ns for p in (tmp_path / name).iterdir()}
        _, again, same = start(tmp_path, name, Checkpoints(tmp_path / name))
        assert again == history
        assert torch.equal(weights(same), weights(trained))
        assert not same.training
        assert {p: p.stat().st_mtime_ns for p in (tmp_path / name).iterdir()} == before


def test_epochs_are_told_once(tmp_path):
    told = []
    with pytest.raises(StopError):
        run(
            model(),
            checkpoints=InterruptedAfter(tmp_path, 7),
            on_epoch=lambda epoch, _: told.append(epoch),
        )
    run(model(), checkpoints=Checkpoints(tmp_path), on_epoch=lambda epoch, _: told.append(epoch))
    assert told == [0, 1, 2, 3]


def test_a_killed_run_ends_as_one_never_killed(tmp_path):
    done = subprocess.run(
        [sys.executable, killed_run.__file__, tmp_path],
        env=os.environ | {"PYTHONPATH": str(Path(killed_run.__file__).parent)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills, halves = map(int, done.stdout.split())
    assert kills >= 4
    assert halves >= 1
    assert "damaged" not in done.stderr
    assert files(tmp_path / "killed") == files(tmp_path / "undisturbed")
    assert_same_state(tmp_path / "killed", tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("keep", "every", "expected"), [(3, 3, [12, 15, 16]), (1, 5, [16]), (9, 8, [8, 16])]
)
def test_the_newest_checkpoints_are_kept(tmp_path, keep, every, expected):
    folder = tmp_path / "new" / "folder"
    run(model(), checkpoints=Checkpoints(str(folder), every=every, every_seconds=None, keep=keep))
    assert files(folder) == [f"step-{step:08}.safetensors" for step in expected]


def test_checkpoints_are_due_by_steps_and_by_time(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    state = TrainingState.new(model(), CspMc(), SETTINGS)
    by_both = Checkpoints(tmp_path, every=10)
    by_both.resume(state, {}, ALONE)
    assert not by_both.due(0, last=True)
    assert [by_both.due(step) for step in (9, 10, 11, 20)] == [False, True, False, True]
    assert by_both.due(11, last=True)
    now = 159.0
    assert not by_both.due(11)
    now = 160.0
    assert by_both.due(11)
    state.progress.step = 11
    by_both.save(state, ALONE)
    assert not by_both.due(11)
    assert not by_both.due(12)
    now = 220.0
    assert by_both.due(12)


def test_saving_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)

    def slow(self, path):
        nonlocal now
        now += 9

    monkeypatch.setattr(Snapshot, "write", slow)
    state = TrainingState.new(model(), CspMc(), SETTINGS)
    slowly = Checkpoints(tmp_path)
    slowly.resume(state, {}, ALONE)
    slowly.save(state, ALONE)
    now += 179
    assert not slowly.due(1)
    now += 1
    assert slowly.due(1)
    never = Checkpoints(tmp_path, every=5, every_seconds=None)
    never.resume(state, {}, ALONE)
    now += 1e9
    assert [never.due(step) for step in (4, 5)] == [False, True]


@pytest.mark.parametrize("setting", [{"keep": 0}, {"every": 0}, {"every_seconds": -1.0}])
def test_settings_out_of_range(tmp_path, setting):
    with pytest.raises(ValueError, match="must be at least"):
        Checkpoints(tmp_path, **setting)


def interrupted(folder):
    """A run with checkpoints of steps 2, 4 and 6 that got as far as step 7."""
    with pytest.raises(StopError):
        run(model(), checkpoints=InterruptedAfter(folder, 7))
    return folder / "step-00000006.safetensors"


def spoil(path, how):
    content = bytearray(path.read_bytes())
    if how == "changed":
        content[-100] ^= 1
    path.write_bytes(content[: {"empty": 0, "short": len(content) // 2}.get(how)])


@pytest.mark.parametrize("how", ["empty", "short", "changed"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, how):
    expected, started = model(), []
    history = run(expected)
    spoil(interrupted(tmp_path), how)

    class Recording(Checkpoints):
        def due(self, step, *, last=False):
            started.append(step)
            return super().due(step, last=last)

    trained = model()
    checkpoints = Recording(tmp_path, every=2, every_seconds=None)
    with pytest.warns(UserWarning, match=r"step-00000006.safetensors is missing or damaged: ") as w:
        assert run(trained, checkpoints=checkpoints) == history
    assert len(w) == 1
    assert started[0] == 5
    assert torch.equal(weights(trained), weights(expected))
    assert files(tmp_path) == [f"step-{step:08}.safetensors" for step in (12, 14, 16)]


def test_where_all_are_damaged_the_run_starts_again(tmp_path):
    expected, trained = model(), model()
    history = run(expected)
    interrupted(tmp_path)
    for path in tmp_path.iterdir():
        spoil(path, "changed")
    with pytest.warns(UserWarning, match="damaged") as warned:
        assert run(trained, checkpoints=Checkpoints(tmp_path)) == history
    assert len(warned) == 3
    assert torch.equal(weights(trained), weights(expected))


def test_damaged_later_checkpoints_do_not_push_out_good_ones(tmp_path):
    spoil(interrupted(tmp_path), "changed")
    spoil(tmp_path / "step-00000004.safetensors", "short")
    again = InterruptedAfter(tmp_path, 4)
    again.every, again.keep = 3, 1
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(StopError):
        run(model(), checkpoints=again)
    assert files(tmp_path) == [f"step-{step:08}.safetensors" for step in (3, 4, 6)]


class Told(Watcher):
    def __init__(self, folder):
        self.folder, self.saves = folder, []

    def on_save(self, step):
        self.saves.append((step, len(files(self.folder))))


def test_watchers_are_told_before_a_checkpoint_is_written(tmp_path):
    told = Told(tmp_path)
    checkpoints = Checkpoints(tmp_path, every=6, every_seconds=None)
    run(model(), checkpoints=checkpoints, watchers=[told])
    assert told.saves == [(6, 0), (12, 1), (16, 2)]


def test_leftovers_of_a_crash_are_removed_and_other_files_are_not(tmp_path):
    path = interrupted(tmp_path)
    (tmp_path / f".{path.name}.tmp").write_bytes(b"half")
    for name in ("notes.txt", "step-best.safetensors", ".hidden"):
        (tmp_path / name).write_text("mine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(model(), checkpoints=Checkpoints(tmp_path, keep=1))
    assert files(tmp_path) == [
        ".hidden",
        "notes.txt",
        "step-00000016.safetensors",
        "step-best.safetensors",
    ]


OTHERS = [
    ({"settings": replace(SETTINGS, batch_size=50)}, "settings.batch_size was 64 and is 50;"),
    ({"seed": 1}, "seed was 0 and is 1;"),
    ({"objective": CspMc(mask_km=5)}, r"objective \(settings\) was CspMc\(.* and is CspMc\("),
    ({"objective": Clip()}, r"objective \(settings\) was CspMc\(.* and is Clip\("),
    ({"features": FEATURES + 1}, "images was .* and is .*;"),
    ({"places": PLACES.flip(0)}, "lonlat was .* and is .*;"),
    ({"labels": torch.arange(300) % 2}, r"labels was None and is \(300,\) int64 "),
    ({"groups": torch.arange(300) % 2}, r"groups was None and is \(300,\) int64 "),
    ({"validation": Validation(FEATURES, PLACES)}, "validation was None and is Validation;"),
    ({"sampler": Balanced().fit(PLACES, torch.arange(300) % 3)}, "rows of the first epoch was "),
    ({"features": FEATURES[:200], "places": PLACES[:200]}, "rows of the first epoch was "),
    ({"trained": model(dropout=0.1)}, r"model.location.* was .*kept=128.* and is .*kept=230"),
    ({"trained": model(temperature=0.1)}, None),
    ({"sampler": Uniform(seed=5).fit(PLACES)}, None),
    ({"settings": replace(SETTINGS, compile=False)}, None),
]


@pytest.mark.parametrize(("change", "reason"), OTHERS)
def test_checkpoints_of_another_run_are_refused(tmp_path, change, reason):
    interrupted(tmp_path)
    before = files(tmp_path)
    trained = change.get("trained", model())
    given = {name: value for name, value in change.items() if name != "trained"}
    if reason is None:
        assert len(run(trained, checkpoints=Checkpoints(tmp_path), **given)) == 4
        return
    start = weights(trained)
    with pytest.raises(
        DataError, match=rf"step-00000006.safetensors is of another run: {reason}.*another folder"
    ):
        run(trained, checkpoints=Checkpoints(tmp_path), **given)
    assert files(tmp_path) == before
    assert torch.equal(weights(trained), start)


def test_a_frozen_weight_makes_another_run(tmp_path):
    interrupted(tmp_path)
    trained = model()
    trained.projection.bias.requires_grad_(False)
    with pytest.raises(
        DataError, match=r"projection.bias was \(8,\) float32 trained and is \(8,\)"
    ):
        run(trained, checkpoints=Checkpoints(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match=r"cannot write checkpoints into .*; choose another folder"):
        run(model(), checkpoints=Checkpoints(tmp_path))


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write checkpoints into .*; choose another folder"):
        run(model(), checkpoints=Checkpoints(tmp_path / "file"))


class BreaksDown(CspMc):
    """Whose loss is not finite at some step."""

    steps = 0

    def forward(self, views):
        parts = super().forward(views)
        factor = math.nan if self.steps == 6 else 1.0
        self.steps += views.location.requires_grad
        return parts | {"loss": parts["loss"] * factor}


def test_a_run_that_breaks_down_leaves_its_last_good_state(tmp_path):
    with pytest.raises(NotFiniteError, match="epoch 1, step 2"):
        run(model(), BreaksDown(), checkpoints=Checkpoints(tmp_path, every=2, every_seconds=None))
    assert files(tmp_path)[-1] == "step-00000006.safetensors"
    assert all(bool(t.isfinite().all()) for t in newest(tmp_path).tensors.values())


def test_one_folder_after_another(tmp_path):
    checkpoints = Checkpoints(tmp_path / "a", every=2)
    run(model(), checkpoints=checkpoints)
    checkpoints.folder = tmp_path / "b"
    history = run(model(), GeoClip(queue=5), checkpoints=checkpoints)
    assert history == run(model(), GeoClip(queue=5))
