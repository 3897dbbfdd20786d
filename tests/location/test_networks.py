import pytest
import torch

from geocsp.location import Activation, FeedForward, ResidualFC

X = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))


def linear(layer, x):
    return x @ layer.weight.T + layer.bias


def test_feed_forward_equals_its_formula():
    torch.manual_seed(0)
    net = FeedForward(5, 3, hidden=6, layers=2, activation=Activation.GELU).eval()
    x = X
    for number, layer in enumerate(net.hidden):
        y = torch.nn.functional.gelu(linear(layer.linear, x))
        y = y + x if number == 1 else y  # a skip where the widths agree
        centred = y - y.mean(dim=1, keepdim=True)
        variance = y.var(dim=1, keepdim=True, correction=0)
        x = centred / (variance + layer.norm.eps).sqrt() * layer.norm.weight + layer.norm.bias
    torch.testing.assert_close(net(X), linear(net.output, x))


def test_legacy_output_passes_the_embedding_through_the_activation():
    torch.manual_seed(0)
    plain = FeedForward(5, 64, hidden=6).eval()
    legacy = FeedForward(5, 64, hidden=6, legacy_output=True).eval()
    legacy.load_state_dict(plain.state_dict())
    raw = plain(X)
    assert float(raw.detach().min()) < 0
    torch.testing.assert_close(legacy(X), torch.where(raw < 0, 0.2 * raw, raw))
    assert bool((legacy.train()(X) == 0).any())
    assert not bool((plain.train()(X) == 0).any())


def test_no_hidden_layer_is_one_linear_map():
    net = FeedForward(5, 3, layers=0)
    torch.testing.assert_close(net(X), linear(net.output, X))


def test_residual_network_equals_its_formula():
    torch.manual_seed(0)
    net = ResidualFC(5, 4, blocks=2).eval()
    x = torch.relu(linear(net.input, X))
    for block in net.blocks:
        x = x + torch.relu(linear(block.second, torch.relu(linear(block.first, x))))
    torch.testing.assert_close(net(X), x)
    assert not torch.equal(net.train()(X), x)


@pytest.mark.parametrize(
    ("name", "expected"), [("relu", 0.0), ("leaky_relu", -0.4), ("gelu", -0.0455)]
)
def test_activations(name, expected):
    assert float(Activation(name).build()(torch.tensor(-2.0))) == pytest.approx(expected, abs=1e-3)
