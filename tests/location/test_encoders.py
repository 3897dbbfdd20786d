"""Settings and precision of the encoders; the common contract is in test_contract."""

import math

import pytest
import torch

import geocsp
from geocsp.coords import sample_sphere
from geocsp.location import Activation, FeedForward, Space2VecGrid, Wrap

PLACES = sample_sphere(20, torch.Generator().manual_seed(0))


def shapes(module):
    return [tuple(p.shape) for p in module.parameters() if p.ndim == 2]


def test_features_are_computed_in_double_precision_whatever_comes_in(encoder):
    seen = []
    encoder.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    encoder(PLACES)
    assert torch.equal(seen[0], encoder.features(PLACES.double()).float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_of_another_type_leave_the_features_alone(encoder, dtype):
    before = encoder.features(PLACES.double())
    after = encoder.to(dtype).features(PLACES.double())
    learned = before.requires_grad  # a table rounds with the weights, positions do not
    rounding = torch.finfo(dtype).eps if learned else 1e-6
    torch.testing.assert_close(after.to(before), before, atol=rounding, rtol=0)


def test_a_half_precision_encoder_stays_close_to_the_full_one(encoder):
    full = encoder(PLACES)
    low = encoder.bfloat16()(PLACES)
    assert low.dtype == torch.bfloat16
    scale = float(full.detach().abs().max())
    torch.testing.assert_close(low.float(), full, atol=0.1 * scale, rtol=0)


def test_grid_settings_shape_its_network():
    assert shapes(Space2VecGrid(16, frequencies=5, hidden=7, layers=3)) == [
        (7, 20),
        (7, 7),
        (7, 7),
        (16, 7),
    ]


def test_grid_default_radii_go_from_a_tenth_of_a_degree_to_the_whole_turn():
    radii = Space2VecGrid().radii
    assert len(radii) == 32
    assert radii[[0, -1]].tolist() == pytest.approx([0.1, 360.0])


def test_wrap_settings_shape_its_network():
    assert shapes(Wrap(6, blocks=1)) == [(6, 4), (6, 6), (6, 6)]
    assert len(shapes(Wrap(6))) == 1 + 2 * 4


@pytest.mark.parametrize("name", geocsp.available("location"))
def test_dropout_acts_in_training_and_can_be_switched_off(name):
    torch.manual_seed(0)
    still = geocsp.create("location", name, dim=16, dropout=0.0).train()
    assert torch.equal(still(PLACES), still(PLACES))
    noisy = geocsp.create("location", name, dim=16, dropout=0.5).train()
    assert not torch.equal(noisy(PLACES), noisy(PLACES))
    assert torch.equal(noisy.eval()(PLACES), noisy(PLACES))


def test_grid_with_legacy_output_and_relu_is_never_negative():
    torch.manual_seed(0)
    plain = Space2VecGrid(16, activation=Activation.RELU).eval()
    legacy = Space2VecGrid(16, activation=Activation.RELU, legacy_output=True).eval()
    legacy.load_state_dict(plain.state_dict())
    assert float(plain(PLACES).detach().min()) < 0
    torch.testing.assert_close(legacy(PLACES), plain(PLACES).clamp_min(0))


def test_grid_takes_its_activation_also_by_name():
    torch.manual_seed(0)
    named = Space2VecGrid(16, activation="gelu").eval()
    member = Space2VecGrid(16, activation=Activation.GELU).eval()
    leaky = Space2VecGrid(16).eval()
    for other in (member, leaky):
        other.load_state_dict(named.state_dict())
    assert torch.equal(named(PLACES), member(PLACES))
    assert not torch.allclose(named(PLACES), leaky(PLACES))


def test_feed_forward_drops_hidden_units_in_training():
    torch.manual_seed(0)
    layer = FeedForward(5, 4, hidden=400, dropout=0.5).train().hidden[0]
    seen = []
    layer.norm.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    layer(torch.randn(50, 5))
    assert float((seen[0] == 0).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_feed_forward_weights_start_xavier_uniform():
    torch.manual_seed(0)
    net = FeedForward(40, 300, hidden=500)
    for linear in (net.hidden[0].linear, net.output):
        bound = math.sqrt(6 / sum(linear.weight.shape))
        assert float(linear.weight.detach().abs().max()) == pytest.approx(bound, rel=0.01)
        assert float(linear.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.02)


@pytest.mark.parametrize("name", geocsp.available("location"))
@pytest.mark.parametrize("dim", [1, 7, 10])
def test_every_encoder_takes_any_size_of_embedding(name, dim):
    assert geocsp.create("location", name, dim=dim)(PLACES).shape == (20, dim)
