import math

import pytest
import torch
from small_runs import FEATURES, PLACES, model, weights
from torch import nn

from geocsp import Precision, PretrainSettings
from geocsp.errors import DataError
from geocsp.objectives import CspMc, MeanSquaredError
from geocsp.objectives.geoclip import GeoClip
from geocsp.train.optimizer import set_rate, trainable
from geocsp.train.state import Progress, TrainingState

SETTINGS = PretrainSettings(learning_rate=0.01, ema=0.9)


def new(settings=SETTINGS, objective=None):
    return TrainingState.new(model(dropout=0.0), objective or GeoClip(queue=7), settings)


def move(state, seed=0, settings=SETTINGS):
    """One step along a random gradient; some weights get none."""
    random = torch.Generator().manual_seed(seed)
    set_rate(state.optimizer, 0.0, settings)
    for parameter in trainable(state.model.location, state.objective):
        parameter.grad = torch.randn(parameter.shape, generator=random)
    state.optimizer.step()
    state.update_average()
    state.objective.remember(PLACES[seed : seed + 3])
    state.progress.step += 1


def assert_equal(one, other):
    tensors, others = one.tensors(), other.tensors()
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name
    assert repr(one.facts()) == repr(other.facts())  # NaN is not equal to itself


def test_a_restored_state_is_the_same_and_goes_on_the_same_way():
    state, other = new(), new()
    for seed in range(3):
        move(state, seed)
    state.keep_best()
    state.progress = Progress(3, {"loss": 0.1 + 0.2}, [{"loss": math.nan}, {"B": 1e-300}], 0.3, 2)
    copies = {name: tensor.clone() for name, tensor in state.tensors().items()}
    other.restore(copies, state.facts())
    assert_equal(state, other)
    for seed in (5, 6):
        move(state, seed)
        move(other, seed)
    assert_equal(state, other)


def test_restoring_before_the_first_step():
    state, other = new(), new()
    move(other)
    other.restore({n: t.clone() for n, t in state.tensors().items()}, state.facts())
    assert_equal(state, other)
    move(state)
    move(other)
    assert_equal(state, other)


def test_the_scale_of_float16_is_part_of_the_state():
    settings = PretrainSettings(precision=Precision.FLOAT16)
    state, other = new(settings), new(settings)
    state.scaler.scale(torch.tensor(1.0))
    state.scaler.update(123.0)
    assert state.facts()["scaler"]["scale"] == 123
    other.restore(state.tensors(), state.facts())
    assert other.scaler.get_scale() == 123
    assert new().facts()["scaler"] == {}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda tensors: tensors.pop("model.log_scale"), "log_scale"),
        (lambda tensors: tensors.update({"objective.queued": torch.zeros(8, 2)}), "queued"),
        (lambda tensors: tensors.pop("average.n_averaged"), "n_averaged"),
    ],
)
def test_a_state_of_something_else_is_an_error(spoil, reason):
    state = new()
    tensors = state.tensors()
    spoil(tensors)
    with pytest.raises(DataError, match=f"does not fit this run: .*{reason}"):
        new().restore(tensors, state.facts())


def test_facts_of_something_else_are_an_error():
    state = new()
    with pytest.raises(DataError, match=r"does not fit this run: .*wrong"):
        new().restore(state.tensors(), {"scaler": {}, "progress": {"wrong": 1}})


def test_the_average_is_that_of_a_slow_loop():
    state = new()
    expected = None
    for seed in range(5):
        move(state, seed)
        now = [p.detach().clone() for p in state.model.parameters()]
        if expected is None:
            expected = now
        expected = [0.9 * e + 0.1 * n for e, n in zip(expected, now, strict=True)]
    assert state.average is not None
    for parameter, value in zip(state.evaluated().parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value)


def test_the_average_has_the_buffers_of_the_model():
    trained = model()
    state = TrainingState.new(trained, GeoClip(queue=7), SETTINGS)
    trained.standardise_by(FEATURES)
    state.update_average()
    assert torch.equal(state.average.module["model"].feature_mean, trained.feature_mean)
    assert TrainingState.new(trained, GeoClip(queue=7), PretrainSettings()).average is None


def test_the_model_ends_with_the_best_weights_or_the_average_or_the_last():
    state = new(PretrainSettings())
    move(state)
    last = weights(state.model)
    state.finish()
    assert torch.equal(weights(state.model), last)

    state = new()
    assert state.evaluated() is state.model
    move(state)
    move(state, 1)
    assert state.evaluated() is state.average.module["model"]
    average = weights(state.evaluated())
    assert not torch.equal(average, weights(state.model))
    state.keep_best()
    move(state, 2)
    later = weights(state.evaluated())
    best, state.best = state.best, {}
    state.finish()
    assert torch.equal(weights(state.model), later)
    state.best = best
    state.finish()
    assert torch.equal(weights(state.model), average)


@pytest.mark.parametrize("settings", [SETTINGS, PretrainSettings()], ids=["average", "last"])
def test_what_the_objective_has_learned_is_kept_with_the_model(settings):
    state = new(settings, objective=MeanSquaredError(dim=8, feature_dim=6))
    move(state)
    move(state, 1)
    state.keep_best()
    kept = {name: tensor.clone() for name, tensor in state.best.items()}
    assert torch.equal(kept["objective.decoder.bias"], state.objective.decoder.bias) == (
        settings.ema is None
    )
    move(state, 2)
    assert not torch.equal(kept["objective.decoder.bias"], state.objective.decoder.bias)
    state.finish()
    assert torch.equal(kept["objective.decoder.bias"], state.objective.decoder.bias)
    assert torch.equal(kept["model.projection.bias"], state.model.projection.bias)


def test_what_is_kept_as_the_best_does_not_move_on():
    state = new(PretrainSettings())
    state.keep_best()
    before = {name: tensor.clone() for name, tensor in state.best.items()}
    move(state)
    assert all(torch.equal(state.best[name], tensor) for name, tensor in before.items())


def test_weights_of_both_model_and_objective():
    state = new(objective=MeanSquaredError(dim=8, feature_dim=6))
    state.objective.decoder = state.model.location.network.output
    assert "objective.decoder.weight" in state.tensors()
    state.restore({n: t.clone() for n, t in state.tensors().items()}, state.facts())
    assert isinstance(state.objective.decoder, nn.Linear)
    assert CspMc().state_dict() == {}
