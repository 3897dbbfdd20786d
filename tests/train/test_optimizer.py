import pytest
import torch
from small_runs import model
from torch import nn

from geocsp import PretrainSettings
from geocsp.objectives import CspMc, MeanSquaredError
from geocsp.train.optimizer import build_optimizer, gradient_norm, set_rate, trainable
from geocsp.train.schedule import learning_rate_factor


class Shift(nn.Module):
    """An image encoder with one matrix."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(6))


def with_encoder():
    trained = model()
    trained.image = Shift()
    return trained


def decays_of(optimizer):
    return {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_matrices_decay_and_nothing_else_does():
    trained, objective = model(), MeanSquaredError(dim=8, feature_dim=6)
    decay = decays_of(build_optimizer(trained, objective, PretrainSettings(weight_decay=0.3)))
    named = [*trained.named_parameters(), *objective.named_parameters()]
    assert len(decay) == len(named)
    for name, parameter in named:
        matrix = name.endswith("weight") and "norm" not in name
        assert decay[id(parameter)] == (0.3 if matrix else 0.0), name


def test_an_image_encoder_has_its_own_rate_and_frozen_weights_have_none():
    trained, settings = with_encoder(), PretrainSettings(learning_rate=0.1, image_rate=0.01)
    trained.projection.weight.requires_grad_(False)
    optimizer = build_optimizer(trained, CspMc(), settings)
    assert set_rate(optimizer, 0.0, settings) == 0.1
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(trained.image.matrix)] == pytest.approx(0.001)
    assert rates[id(trained.location.network.output.weight)] == 0.1
    assert id(trained.projection.weight) not in rates


def test_a_weight_of_both_model_and_objective_is_trained_once():
    trained, objective = model(), MeanSquaredError(dim=8, feature_dim=6)
    objective.decoder = trained.location.network.output
    shared = trained.location.network.output.weight
    assert sum(p is shared for p in trainable(trained, objective)) == 1
    build_optimizer(trained, objective, PretrainSettings())


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.2, 0.5, 0.99])
def test_the_rate_follows_warm_up_cosine_and_decay(progress):
    settings = PretrainSettings(
        learning_rate=0.4, warmup=0.2, cosine=True, decay=0.9, epochs=10, image_rate=0.5
    )
    optimizer = build_optimizer(with_encoder(), CspMc(), settings)
    factor = learning_rate_factor(progress, 0.2, True, 0.9, 10)
    assert set_rate(optimizer, progress, settings) == pytest.approx(0.4 * factor)
    assert optimizer.param_groups[-1]["lr"] == pytest.approx(0.2 * factor)


def adam_step(weight, gradient, moments, step, rate, decay):
    """One step of AdamW (Loshchilov and Hutter, ICLR 2019, algorithm 2)."""
    first, second = moments
    first.mul_(0.9).add_(0.1 * gradient)
    second.mul_(0.999).add_(0.001 * gradient**2)
    corrected = (second / (1 - 0.999**step)).sqrt() + 1e-8
    return weight - rate * decay * weight - rate * first / (1 - 0.9**step) / corrected


def test_steps_are_those_of_the_formula():
    trained = model().double()
    settings = PretrainSettings(learning_rate=0.01, weight_decay=0.1)
    optimizer, parameters = build_optimizer(trained, CspMc(), settings), trainable(trained)
    expected = [p.detach().clone() for p in parameters]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in expected]
    for step in range(1, 4):
        set_rate(optimizer, 0.0, settings)
        for number, parameter in enumerate(parameters):
            parameter.grad = torch.randn_like(parameter)
            decay = 0.1 if parameter.ndim > 1 else 0.0
            expected[number] = adam_step(
                expected[number], parameter.grad, moments[number], step, 0.01, decay
            )
        optimizer.step()
    for parameter, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("longest", [0.5, 100.0])
def test_gradients_are_clipped_as_torch_does(longest):
    pairs = [[nn.Parameter(torch.zeros(size)) for size in (3, 4, 5)] for _ in range(2)]
    for ours, theirs in list(zip(*pairs, strict=True))[:2]:  # the third has no gradient
        ours.grad = torch.randn_like(ours)
        theirs.grad = ours.grad.clone()
    norm = gradient_norm(pairs[0], longest)
    assert float(norm) == float(nn.utils.clip_grad_norm_(pairs[1], longest))
    for ours, theirs in list(zip(*pairs, strict=True))[:2]:
        assert torch.equal(ours.grad, theirs.grad)


def test_without_a_limit_gradients_stay_as_they_are():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([30.0, 40.0])
    assert float(gradient_norm([parameter], None)) == 50
    assert parameter.grad.tolist() == [30, 40]
