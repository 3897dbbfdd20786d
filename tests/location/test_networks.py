import pytest
import torch

from geocsp.location import Activation, BlockDiagonal, Capsules, FeedForward, ResidualFC

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


def test_feed_forward_without_layer_norm_or_skip_equals_its_formula():
    torch.manual_seed(0)
    net = FeedForward(
        5, 3, hidden=6, layers=3, activation="sigmoid", layer_norm=False, skip=False
    ).eval()
    x = X
    for layer in net.hidden:
        x = torch.sigmoid(linear(layer.linear, x))
    torch.testing.assert_close(net(X), linear(net.output, x))


def test_feed_forward_skips_where_widths_agree_also_without_layer_norm():
    torch.manual_seed(0)
    net = FeedForward(5, 3, hidden=5, activation="tanh", layer_norm=False).eval()
    x = torch.tanh(linear(net.hidden[0].linear, X)) + X
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


def test_residual_network_of_another_width_has_a_linear_output():
    torch.manual_seed(0)
    net = ResidualFC(5, 4, blocks=1, hidden=7).eval()
    x = torch.relu(linear(net.input, X))
    block = net.blocks[0]
    x = x + torch.relu(linear(block.second, torch.relu(linear(block.first, x))))
    assert x.shape == (9, 7)
    torch.testing.assert_close(net(X), linear(net.output, x))


@pytest.mark.parametrize("mix", [False, True])
def test_block_diagonal_network_has_a_matrix_for_each_part(mix):
    torch.manual_seed(0)
    net = BlockDiagonal(6, 4, blocks=2, mix=mix, activation="tanh").eval()
    x = torch.randn(9, 6)
    joined = torch.cat([x[:, :3] @ net.parts[0], x[:, 3:] @ net.parts[1]], dim=1)
    expected = torch.tanh(linear(net.mix, joined) if mix else joined)
    torch.testing.assert_close(net(x), expected)


def test_block_diagonal_network_drops_units_before_the_activation():
    torch.manual_seed(0)
    net = BlockDiagonal(6, 400, blocks=2, activation="sigmoid", dropout=0.5).train()
    share = float((net(torch.randn(50, 6)) == 0.5).double().mean())
    assert share == pytest.approx(0.5, abs=0.03)


def test_capsules_are_the_sum_of_a_perceptron_for_each_part():
    torch.manual_seed(0)
    net = Capsules(6, 4, blocks=2, hidden=7, layers=2)
    x = torch.randn(9, 6)
    expected = torch.zeros(9, 4)
    for part, capsule in zip((x[:, :3], x[:, 3:]), net.capsules, strict=True):
        first, _, second, _, output = capsule
        hidden = torch.relu(linear(second, torch.relu(linear(first, part))))
        expected = expected + linear(output, hidden)
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize(
    "build",
    [
        lambda: BlockDiagonal(7, 4, blocks=2),
        lambda: BlockDiagonal(6, 5, blocks=2),
        lambda: Capsules(7, 4, blocks=2),
    ],
)
def test_parts_must_be_equal(build):
    with pytest.raises(
        ValueError, match=r"size [57] must be a multiple of the number of blocks, 2"
    ):
        build()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", 0.0),
        ("leaky_relu", -0.4),
        ("gelu", -0.0455),
        ("sigmoid", 0.1192),
        ("tanh", -0.9640),
    ],
)
def test_activations(name, expected):
    assert float(Activation(name).build()(torch.tensor(-2.0))) == pytest.approx(expected, abs=1e-3)


def test_shared_features_join_every_part():
    torch.manual_seed(0)
    x = torch.randn(5, 7)
    capsules = Capsules(7, 4, blocks=2, hidden=6, layers=1, shared=1).eval()
    expected = sum(
        capsule(torch.cat([part, x[:, 6:]], dim=1))
        for capsule, part in zip(capsules.capsules, (x[:, :3], x[:, 3:6]), strict=True)
    )
    torch.testing.assert_close(capsules(x), expected)
    blocks = BlockDiagonal(7, 4, blocks=2, shared=1, activation="relu").eval()
    joined = [
        torch.cat([part, x[:, 6:]], dim=1) @ matrix
        for part, matrix in zip((x[:, :3], x[:, 3:6]), blocks.parts, strict=True)
    ]
    torch.testing.assert_close(blocks(x), torch.cat(joined, dim=1).relu())
