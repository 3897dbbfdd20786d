import pytest
import torch
from torch import nn

from geocsp.errors import DataError
from geocsp.images import adapt_channels
from geocsp.images.channels import repeat_colours


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 13])
def test_an_image_of_like_channels_gives_what_it_gave_as_rgb(channels):
    grey = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    adapted = network()
    adapt_channels(adapted, channels)
    assert adapted[0].in_channels == channels
    with torch.no_grad():
        got = adapted(grey.expand(-1, channels, -1, -1))
        expected = network()(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_weights_are_repeated_in_turn_and_divided_by_how_often_they_occur():
    adapted, before = network(), network()[0].weight
    adapt_channels(adapted, 5)
    red, green, blue = before.detach().unbind(dim=1)
    expected = torch.stack([red / 2, green / 2, blue, red / 2, green / 2], dim=1)
    torch.testing.assert_close(adapted[0].weight.detach(), expected)


def test_three_channels_change_nothing():
    module = network()
    weight = module[0].weight
    adapt_channels(module, 3)
    assert module[0].weight is weight


def test_a_network_without_a_convolution_for_rgb_is_refused():
    with pytest.raises(DataError, match="Linear has no convolution for RGB to adapt"):
        adapt_channels(nn.Linear(3, 2), 4)


def test_what_the_network_compares_images_with_changes_too():
    module = network()
    module.num_channels = 3
    adapt_channels(module, 7)
    assert module.num_channels == 7


@pytest.mark.parametrize(
    ("channels", "expected"), [(1, [2.0]), (2, [2.0, 2.0]), (3, [1, 2, 3]), (5, [1, 2, 3, 1, 2])]
)
def test_colours_are_repeated_in_turn(channels, expected):
    assert repeat_colours([1, 2, 3], channels) == expected
