import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from small_examples import EXAMPLES, FEATURES, PLACES, PRESET
from toys import ToyEncoder, toy_photos

import geocsp
import geocsp.train.run
from geocsp.errors import DataError
from geocsp.images.features import compute_features
from geocsp.location import LocationEncoder
from geocsp.presets import BEST, Component, HoldOut, ImageTower, changed
from geocsp.train.checkpoint import Checkpoints
from geocsp.train.examples import Examples, Pixels
from geocsp.train.run import kept_metrics, prior_of, run_pretraining
from geocsp.train.validation import Metric
from geocsp.train.watching import Watcher


def model_in(folder):
    return geocsp.GeoModel.from_pretrained(folder / "model")


def weights(model):
    return torch.cat([weight.flatten() for weight in model.state_dict().values()])


def test_a_run_leaves_what_it_was_and_what_came_of_it(tmp_path):
    report = run_pretraining(PRESET, EXAMPLES, tmp_path / "run")
    assert report.finished
    assert (report.epochs, report.images, report.held_out, report.classes) == (3, 200, 0, 4)
    assert (report.starts, report.processes, report.device, report.seed) == (1, 1, "cpu", 0)
    assert report.seconds > 0
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["metrics"] == report.metrics
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines].count("step") == 15
    assert lines[-1]["loss"] == report.metrics["loss"]
    assert lines[-1]["loss"] < lines[5]["loss"]
    assert model_in(tmp_path / "run").embed(PLACES).shape == (200, 16)


def test_the_model_is_that_of_the_functions_called_one_by_one(tmp_path):
    preset = replace(PRESET, standardise=True, seed=4)
    run_pretraining(preset, EXAMPLES, tmp_path)
    model = preset.build_model(6, 4)
    model.standardise_by(FEATURES)
    geocsp.pretrain(model, preset.build_objective(4), FEATURES, PLACES, preset.pretrain, seed=4)
    assert torch.equal(weights(model_in(tmp_path)), weights(model))


def test_a_finished_run_is_not_run_again(tmp_path):
    class Refuse(Watcher):
        def on_start(self, step, steps):
            pytest.fail("started")

    first = run_pretraining(PRESET, EXAMPLES, tmp_path)
    assert run_pretraining(PRESET, EXAMPLES, tmp_path, watchers=[Refuse()]) == first


def test_an_interrupted_run_goes_on_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr(geocsp.train.run, "Checkpoints", partial(Checkpoints, every=1))

    def interrupt(epoch, means):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pretraining(PRESET, EXAMPLES, tmp_path / "parts", on_epoch=interrupt)
    facts = json.loads((tmp_path / "parts/run.json").read_text())
    assert (facts["finished"], facts["starts"]) == (False, 1)
    assert facts["seconds"] > 0
    assert not (tmp_path / "parts/model").exists()
    epochs = []
    report = run_pretraining(
        PRESET, EXAMPLES, tmp_path / "parts", on_epoch=lambda epoch, _: epochs.append(epoch)
    )
    assert epochs == [1, 2]
    assert report.starts == 2
    assert report.seconds > facts["seconds"]
    whole = run_pretraining(PRESET, EXAMPLES, tmp_path / "whole")
    assert whole.metrics == report.metrics
    first, second = (tmp_path / name / "model/model.safetensors" for name in ("whole", "parts"))
    assert first.read_bytes() == second.read_bytes()


KILLED = """
import sys, time
sys.path[:0] = {path!r}
import torch
torch.set_num_threads(1)
from functools import partial
import geocsp.train.run
from small_examples import EXAMPLES, PRESET
from geocsp.train.watching import Watcher
geocsp.train.run.Checkpoints = partial(geocsp.train.run.Checkpoints, every=1)

class Slow(Watcher):
    def on_step(self, report):
        print(report.step, flush=True)
        time.sleep(0.05)

geocsp.train.run.run_pretraining(PRESET, EXAMPLES, {folder!r}, watchers=[Slow()])
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(tmp_path):
    folder = str(tmp_path / "killed")
    code = KILLED.format(path=[p for p in sys.path if p], folder=folder)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout:
            if int(line) == 7:
                break
        time.sleep(0.02)
        run.kill()
    report = run_pretraining(PRESET, EXAMPLES, folder)
    assert (report.starts, report.finished) == (2, True)
    whole = run_pretraining(PRESET, EXAMPLES, tmp_path / "whole")
    assert report.metrics == whole.metrics
    assert torch.equal(
        weights(model_in(tmp_path / "killed")), weights(model_in(tmp_path / "whole"))
    )


def test_images_held_out_are_not_trained_on_and_look_for_their_places(tmp_path):
    preset = replace(PRESET, hold_out=HoldOut(0.2, blocks=30.0, every=2))
    report = run_pretraining(preset, EXAMPLES, tmp_path)
    assert 20 <= report.held_out <= 60
    assert report.images + report.held_out <= 200
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    looks = [line for line in lines if "validation.median_km" in line]
    assert [look["epoch"] for look in looks] == [1]
    assert report.metrics["validation.median_km"] == looks[0]["validation.median_km"]
    assert report.metrics["loss"] == lines[-1]["loss"]


def test_patience_ends_a_run_that_gets_no_better(tmp_path):
    stuck = changed(
        PRESET,
        {
            "pretrain.learning_rate": 0.0,
            "pretrain.epochs": 20,
            "hold_out": {"share": 0.2, "blocks": 30.0, "patience": 2, "metric": "R@10"},
        },
    )
    assert run_pretraining(stuck, EXAMPLES, tmp_path).epochs == 3


def history(*values):
    return [
        {"loss": float(n)} | ({} if value is None else {"validation.R@1": value})
        for n, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "patience", "kept"),
    [
        ((), None, {}),
        ((None, None), None, {"loss": 1.0}),
        ((0.1, 0.3, 0.2), None, {"loss": 2.0, "validation.R@1": 0.2}),
        ((0.1, 0.3, None), None, {"loss": 2.0, "validation.R@1": 0.3}),
        ((0.1, 0.3, 0.3, 0.2), 2, {"loss": 1.0, "validation.R@1": 0.3}),
    ],
)
def test_the_metrics_are_those_of_the_weights_that_are_kept(values, patience, kept):
    settings = HoldOut(0.1, patience=patience, metric=Metric.RECALL_AT_1)
    assert kept_metrics(history(*values), settings) == kept


def test_labels_make_a_prior_with_the_names_of_the_classes(tmp_path):
    preset = replace(PRESET, objective=Component("photographer"), per_class=30)
    report = run_pretraining(preset, replace(EXAMPLES, images=None), tmp_path)
    assert (report.images, report.classes) == (120, 4)
    prior = geocsp.GeoPrior.from_pretrained(tmp_path / "prior")
    assert prior.class_names == ("a", "b", "c", "d")
    location = LocationEncoder.from_pretrained(tmp_path / "model")
    assert torch.equal(location.embed(PLACES), prior.embed(PLACES))
    assert prior.class_probabilities(PLACES).std() > 0


def test_a_sum_of_objectives_makes_model_and_prior(tmp_path):
    members = [{"name": "clip"}, {"name": "an-full", "weight": 0.1}]
    preset = replace(PRESET, objective=Component("weighted", {"members": members}))
    report = run_pretraining(preset, EXAMPLES, tmp_path)
    assert {"loss", "clip.loss", "an-full.seen"} <= report.metrics.keys()
    model, prior = model_in(tmp_path), geocsp.GeoPrior.from_pretrained(tmp_path / "prior")
    assert torch.equal(model.embed(PLACES), prior.embed(PLACES))


def test_objectives_over_images_have_no_prior():
    model = PRESET.build_model(6, 0)
    assert prior_of(model, PRESET.build_objective(0), EXAMPLES) is None


def test_features_on_disk_give_what_features_in_memory_give(tmp_path, monkeypatch):
    photos = toy_photos(tmp_path / "photos", 30)
    features = compute_features(ToyEncoder(), photos, tmp_path / "features")
    changes = {"pretrain.batch_size": 10, "standardise": True, "location.settings.dropout": 0.0}
    preset = changed(PRESET, changes)  # dropout would follow the order within a batch
    run_pretraining(preset, Examples.of_features(features), tmp_path / "memory")
    monkeypatch.setattr(geocsp.train.run, "_SHARE_OF_MEMORY", 0.0)
    run_pretraining(preset, Examples.of_features(features), tmp_path / "disk")
    first, second = (weights(model_in(tmp_path / name)) for name in ("memory", "disk"))
    torch.testing.assert_close(first, second)


def test_pixels_train_the_encoder_along(tmp_path):
    photos = toy_photos(tmp_path / "photos", 24)
    preset = replace(
        changed(PRESET, {"pretrain.batch_size": 8, "pretrain.epochs": 1, "standardise": True}),
        image=ImageTower(train=("layers.2.*",)),
        hold_out=HoldOut(0.3, blocks=60.0),
    )
    encoder = ToyEncoder()
    encoder.recipe = {"name": "toy", "settings": {}}
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    examples = Examples.of(photos, Pixels(photos.images, encoder))
    report = run_pretraining(preset, examples, tmp_path / "run")
    assert "validation.median_km" in report.metrics
    moved = {n for n, w in encoder.state_dict().items() if not torch.equal(w, before[n])}
    assert moved == {"layers.2.weight", "layers.2.bias"}


def test_a_run_that_could_not_be_saved_is_not_finished(tmp_path, monkeypatch):
    def full(self, folder, card):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(geocsp.GeoModel, "save_pretrained", full)
        with pytest.raises(DataError, match=r"cannot write to .*: No space left on device"):
            run_pretraining(PRESET, EXAMPLES, tmp_path)
    report = run_pretraining(PRESET, EXAMPLES, tmp_path)
    assert (report.finished, report.epochs) == (True, 3)
    assert model_in(tmp_path).embed(PLACES).shape == (200, 16)


@pytest.mark.parametrize(
    ("objective", "examples", "message"),
    [
        ("clip", replace(EXAMPLES, images=None), "objective 'clip' needs images; the source has"),
        ("an-full", replace(EXAMPLES, label=None), "objective 'an-full' needs labels; the source"),
        ("photographer", replace(EXAMPLES, group=None), "needs groups, such as photographers"),
    ],
)
def test_examples_that_lack_something_are_refused(objective, examples, message, tmp_path):
    preset = replace(PRESET, objective=Component(objective))
    with pytest.raises(DataError, match=message):
        run_pretraining(preset, examples, tmp_path)


def test_images_cannot_be_held_out_where_there_are_none(tmp_path):
    preset = replace(PRESET, objective=Component("an-full"), hold_out=HoldOut(0.1))
    with pytest.raises(DataError, match="but there are no images"):
        run_pretraining(preset, replace(EXAMPLES, images=None), tmp_path)


def test_the_release_needs_labels_to_balance(tmp_path):
    preset = replace(PRESET, sampler=Component("balanced", {"per_class": 20}))
    assert run_pretraining(preset, EXAMPLES, tmp_path / "run").images == 200
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert sum('"kind": "step"' in line for line in lines) == 3 * (80 // 40)
    with pytest.raises(DataError, match="balanced sampling needs labels"):
        run_pretraining(preset, replace(EXAMPLES, label=None), tmp_path / "none")


def test_times_go_to_encoders_that_take_them(tmp_path):
    time_ = torch.rand(200, 2)
    timed = changed(PRESET, {"location.settings.date_harmonics": 2})
    for name, preset in (("timed", timed), ("plain", PRESET)):
        run_pretraining(preset, replace(EXAMPLES, time=time_), tmp_path / name)
    model = model_in(tmp_path / "timed")
    assert not torch.equal(model.embed(PLACES, time_), model.embed(PLACES))


def test_ours_runs_with_its_own_settings(tmp_path):
    preset = changed(BEST, {"pretrain.epochs": 1, "pretrain.batch_size": 64})
    assert run_pretraining(preset, EXAMPLES, tmp_path).metrics.keys() == {"loss", "B"}
