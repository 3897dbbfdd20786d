import math

import pytest
import torch

from geocsp.location import ResidualSiren, Siren

X = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))


def linear(layer, x):
    return x @ layer.weight.T + layer.bias


def assert_spread(layer, bound):
    for weight in (layer.weight.detach(), layer.bias.detach()):
        assert float(weight.abs().max()) == pytest.approx(bound, rel=0.05)
        assert float(weight.abs().max()) <= bound
        assert float(weight.mean()) == pytest.approx(0.0, abs=0.2 * bound)
    assert float(layer.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_siren_equals_its_formula():
    torch.manual_seed(0)
    net = Siren(5, 3, hidden=6, layers=3, first_frequency=20.0)
    x = torch.sin(20.0 * linear(net.hidden[0].linear, X))
    for layer in net.hidden[1:]:
        x = torch.sin(linear(layer.linear, x))
    assert len(net.hidden) == 3
    torch.testing.assert_close(net(X), linear(net.output, x))


def test_the_first_frequency_of_a_siren_is_30_by_default():
    net = Siren(5, 3, hidden=6, layers=1)
    torch.testing.assert_close(
        net(X), linear(net.output, torch.sin(30 * linear(net.hidden[0].linear, X)))
    )


def test_siren_weights_start_in_the_ranges_of_its_paper():
    torch.manual_seed(0)
    net = Siren(40, 300, hidden=200, layers=2)
    assert_spread(net.hidden[0].linear, 1 / 40)
    assert_spread(net.hidden[1].linear, math.sqrt(6 / 200))
    assert_spread(net.output, math.sqrt(6 / 200))


def test_residual_siren_equals_its_formula():
    torch.manual_seed(0)
    net = ResidualSiren(5, 3, hidden=6, blocks=2, first_frequency=10.0)
    x = torch.sin(10.0 * linear(net.input.linear, X))
    for first, second in net.blocks:
        inner = torch.sin(linear(second.linear, torch.sin(linear(first.linear, x))))
        x = (x + inner) / 2
    torch.testing.assert_close(net(X), linear(net.output, x))


def test_residual_siren_weights_start_in_the_ranges_of_a_siren():
    torch.manual_seed(0)
    net = ResidualSiren(40, 300, hidden=200, blocks=1)
    assert_spread(net.input.linear, 1 / 40)
    for layer in net.blocks[0]:
        assert_spread(layer.linear, math.sqrt(6 / 200))
    assert_spread(net.output, math.sqrt(6 / 200))


def test_the_signal_keeps_its_size_however_deep_the_network_is():
    torch.manual_seed(0)
    features = torch.randn(100, 5)
    for net in (Siren(5, 64, layers=12), ResidualSiren(5, 64, blocks=12)):
        assert 0.3 < float(net(features).detach().std()) < 3


@pytest.mark.parametrize("network", [Siren, ResidualSiren])
def test_dropout_acts_before_the_sine_in_training_only(network):
    torch.manual_seed(0)
    net = network(5, 3, hidden=400, dropout=0.5)
    layer = net.hidden[0] if network is Siren else net.input
    assert float((layer(X) == 0).double().mean()) == pytest.approx(0.5, abs=0.03)
    assert torch.equal(net.eval()(X), net(X))
