import io
import json

import pytest
import torch
from rich.console import Console as Terminal

import geocsp
from geocsp import GeoModel, PretrainSettings, pretrain
from geocsp.coords import sample_sphere, unit_vectors
from geocsp.objectives import CspMc
from geocsp.train.checkpoint import Checkpoints
from geocsp.train.validation import Validation
from geocsp.train.watchers import Console, JsonLines
from geocsp.train.watching import Watcher

PLACES = sample_sphere(120, torch.Generator().manual_seed(0))
FEATURES = unit_vectors(PLACES) @ torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
SETTINGS = PretrainSettings(epochs=4, batch_size=20, learning_rate=5e-3)
CHANGING = {"time", "images_per_second", "wait_share", "peak_memory"}


def model():
    torch.manual_seed(0)
    location = geocsp.create("location", "space2vec-grid", dim=8, frequencies=4, hidden=16)
    return GeoModel(location, feature_dim=6)


def train(trained, *watchers, **more):
    held = Validation(FEATURES[100:], PLACES[100:], every=2, patience=5)
    return pretrain(
        trained,
        CspMc(),
        FEATURES[:100],
        PLACES[:100],
        SETTINGS,
        seed=0,
        validation=held,
        watchers=watchers,
        **more,
    )


class Stop(Watcher):
    def __init__(self, step):
        self._step = step

    def on_step(self, report):
        if report.step == self._step:
            raise KeyboardInterrupt


class Failing(Watcher):
    def on_step(self, report):
        if report.step == 3:
            raise OSError("No space left on device")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def lasting(folder):
    return [{k: v for k, v in line.items() if k not in CHANGING} for line in lines(folder)]


def test_the_lines_are_the_history_and_its_steps(tmp_path):
    history = train(model(), JsonLines(tmp_path))
    found = lines(tmp_path)
    epochs = [line for line in found if line["kind"] == "epoch"]
    steps = [line for line in found if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, 21))
    assert [line["epoch"] for line in steps] == [step // 5 for step in range(20)]
    assert [line["step"] for line in epochs] == [5, 10, 15, 20]
    for number, (line, means) in enumerate(zip(epochs, history, strict=True)):
        assert line.pop("time") > 0
        assert line == {"kind": "epoch", "step": 5 * number + 5, "epoch": number, **means}
        own = [step["loss"] for step in steps[5 * number : 5 * number + 5]]
        assert means["loss"] == pytest.approx(sum(own) / 5)
        assert ("validation.median_km" in means) == (number % 2 == 1)
    assert all(line["images_per_second"] > 0 for line in steps)
    assert all(0 <= line["wait_share"] <= 1 for line in steps)
    assert all(line["learning_rate"] == 5e-3 for line in steps)
    assert all(line["gradient_norm"] > 0 for line in steps)
    assert all(line["peak_memory"] > 2**20 for line in steps)


@pytest.mark.parametrize("stop", [2, 10, 13])
def test_an_interrupted_run_has_the_lines_of_an_undisturbed_one(tmp_path, stop):
    train(model(), JsonLines(tmp_path / "whole"))
    folder = tmp_path / "interrupted"
    for watchers in ([JsonLines(folder), Stop(stop)], [JsonLines(folder)]):
        saved = Checkpoints(folder, every=3)
        try:
            train(model(), *watchers, checkpoints=saved)
        except KeyboardInterrupt:
            assert lines(folder)[-1]["step"] == stop
    assert lasting(folder) == lasting(tmp_path / "whole")


def test_a_watcher_that_fails_does_not_stop_the_run(tmp_path):
    expected = train(one := model())
    with pytest.warns(UserWarning, match="Failing failed and watches no longer"):
        found = train(other := model(), Failing(), JsonLines(tmp_path))
    assert found == expected
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
    assert len(lines(tmp_path)) == 24


def test_the_console_shows_every_epoch():
    text = io.StringIO()
    console = Console(Terminal(file=text, width=100, force_terminal=True, color_system=None))
    history = train(model(), console)
    shown = text.getvalue()
    for number, means in enumerate(history):
        assert f"epoch {number}: loss {means['loss']:.4g}, " in shown
    assert shown.count("validation: R@1 ") == 2
    assert "/20 steps" in shown
