import pickle

import pytest
import torch
from torch import nn

from geocsp.errors import DataError
from geocsp.images import Framing, ModuleEncoder, Pooling
from geocsp.images.extract import features_of
from geocsp.images.module_tower import pooled


class Patches(nn.Module):
    """A convolution, then what the test wants of it."""

    def __init__(self, output):
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.BatchNorm2d(6)
        self.output = output

    def forward(self, image):
        planes = self.norm(self.convolution(image))
        tokens = planes.flatten(2).mT
        outputs = {"map": planes, "tokens": tokens, "vector": tokens.mean(dim=1)}
        outputs["tuple"] = (outputs["vector"], planes)
        return outputs[self.output] if isinstance(self.output, str) else self.output


SQUARE = Framing(16)


def wrap(output="map", *, framing=SQUARE, mean=127.0, deviation=(64.0, 32.0, 16.0), **settings):
    torch.manual_seed(0)
    settings = {"framing": framing, "mean": mean, "deviation": deviation} | settings
    return ModuleEncoder(Patches(output), **settings)


IMAGE = torch.randint(0, 256, (5, 16, 16, 3), generator=torch.Generator().manual_seed(0)).byte()


def test_maps_tokens_vectors_and_tuples_become_one_vector_per_image():
    image = wrap().transform(IMAGE)
    expected = wrap()(image)
    assert expected.shape == (5, 6)
    assert wrap().dim == 6
    for output in ("tokens", "vector", "tuple"):
        torch.testing.assert_close(wrap(output)(image), expected)
    first = wrap("tokens", pooling=Pooling.CLS)(image)
    torch.testing.assert_close(first, wrap().module(image)[:, :, 0, 0])


def test_the_module_is_frozen_and_features_do_not_depend_on_the_batch():
    encoder = wrap()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    image = encoder.transform(IMAGE)
    torch.testing.assert_close(encoder(image)[3:4], encoder(image[3:4]))


def test_pixels_are_normalised_channel_by_channel():
    image = wrap().transform(torch.full((1, 16, 16, 3), 191, dtype=torch.uint8))
    assert image[0, :, 0, 0].tolist() == [1.0, 2.0, 4.0]


def test_features_are_float32_also_in_half_precision():
    features = features_of(wrap(), IMAGE.numpy(), bfloat16=True)
    assert features.dtype == torch.float32
    assert wrap()(wrap().transform(IMAGE)).dtype == torch.float32


def test_the_fingerprint_covers_weights_framing_pooling_and_name():
    def changed():
        encoder = wrap()
        with torch.no_grad():
            encoder.module.convolution.bias[0] += 1e-4
        return encoder

    encoders = [
        wrap(),
        changed(),
        wrap(framing=Framing(16, resize=20)),
        wrap(mean=126.0),
        wrap(pooling=Pooling.CLS),
        wrap(architecture="mine, second version"),
    ]
    assert len({encoder.fingerprint() for encoder in encoders}) == len(encoders)
    assert wrap().fingerprint() == wrap().fingerprint()
    assert pickle.loads(pickle.dumps(wrap())).fingerprint() == wrap().fingerprint()


def test_a_known_dim_needs_no_trial():
    class Silent(nn.Module):
        def forward(self, image):
            raise AssertionError("called")

    encoder = ModuleEncoder(Silent(), framing=Framing(8), mean=0, deviation=1, dim=3)
    assert encoder.dim == 3


def test_what_the_network_says_of_wrong_images_is_one_line():
    with pytest.raises(DataError, match=r"does not take images of \(4, 16, 16\): .*3 channels"):
        wrap(framing=Framing(16, channels=4), deviation=1.0)


@pytest.mark.parametrize(
    ("output", "what"), [(torch.zeros(1), r"\(1,\)"), ({}, "dict"), ((), "tuple")]
)
def test_other_outputs_are_refused(output, what):
    with pytest.raises(DataError, match=f"the network gives {what}; features are"):
        wrap(output)


@pytest.mark.parametrize("mean", [(1.0, 2.0), float("nan"), (0.0, 0.0, float("inf"))])
def test_a_mean_fits_the_channels(mean):
    with pytest.raises(ValueError, match="need 1 or 3 finite values for 3 channels"):
        wrap(mean=mean)


def test_pooling_leaves_vectors_as_they_are():
    vectors = torch.randn(2, 3)
    assert pooled(vectors, Pooling.MEAN) is vectors


def test_networks_that_differ_in_what_has_no_weights_differ_in_fingerprint():
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3)
    second = nn.Conv2d(3, 4, 3, dilation=2)
    second.load_state_dict(first.state_dict())
    networks = [nn.Sequential(first, nn.ReLU()), nn.Sequential(first, nn.GELU())]
    networks.append(nn.Sequential(second, nn.ReLU()))
    settings = {"framing": Framing(16), "mean": 0.0, "deviation": 1.0}
    prints = {ModuleEncoder(network, **settings).fingerprint() for network in networks}
    assert len(prints) == 3
