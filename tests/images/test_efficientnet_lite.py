import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from skimage import data as photographs

import geocsp
from geocsp.errors import DataError
from geocsp.images import EfficientNetLite0, Framing, efficientnet_lite
from geocsp.images.efficientnet_lite import WEIGHTS

CATS = range(281, 286)
ESPRESSO = 967


@pytest.fixture(scope="module")
def encoder():
    return EfficientNetLite0()


def centre_square(photo):
    height, width = photo.shape[:2]
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    return torch.from_numpy(photo[top : top + size, left : left + size]).unsqueeze(0)


@torch.no_grad()
def imagenet_probabilities(encoder, photo):
    return encoder.classify(encoder.transform(centre_square(photo))).softmax(dim=1)[0]


def test_it_sees_a_cat(encoder):
    probabilities = imagenet_probabilities(encoder, photographs.cat())
    assert int(probabilities.argmax()) in CATS
    assert float(probabilities[list(CATS)].sum()) > 0.7


def test_it_sees_a_cup_of_coffee(encoder):
    probabilities = imagenet_probabilities(encoder, photographs.coffee())
    assert int(probabilities.argmax()) == ESPRESSO
    assert float(probabilities[ESPRESSO]) > 0.8


@pytest.mark.parametrize("pixels", [224, 97, 64])
def test_it_equals_the_package_that_published_the_weights(encoder, pixels):
    reference = EfficientNet.from_name("efficientnet-lite0", image_size=pixels)
    reference.load_state_dict(torch.load(WEIGHTS.locate(), weights_only=True))
    image = torch.randn(2, 3, pixels, pixels, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = reference.eval()(image)
        torch.testing.assert_close(encoder.classify(image), expected, atol=1e-5, rtol=1e-5)


def test_features_are_1280_averaged_channels_and_the_same_in_any_batch(encoder):
    image = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = encoder(image)
        assert features.shape == (3, encoder.dim) == (3, 1280)
        torch.testing.assert_close(encoder(image[1:2])[0], features[1], atol=1e-5, rtol=1e-5)
        channels = encoder.head(encoder.blocks(encoder.stem(image)))
    torch.testing.assert_close(features, channels.flatten(2).mean(dim=2))


def test_transform_centres_the_pixels_and_resizes():
    encoder = EfficientNetLite0(pixels=4, pretrained=False)
    image = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    image[0, 1, 2] = [255, 127, 0]
    out = encoder.transform(torch.from_numpy(image))
    assert out.shape == (1, 3, 4, 4)
    assert out[0, :, 1, 2].tolist() == [1.0, 0.0, -127 / 128]
    assert encoder.transform(torch.zeros(2, 9, 5, 3, dtype=torch.uint8)).shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(4, 4, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.zeros(1, 4, 4, 3),
    ],
)
def test_transform_refuses_what_is_not_a_batch_of_rgb_bytes(images):
    with pytest.raises(DataError, match=r"must be \(batch, height, width, 3\) uint8"):
        EfficientNetLite0(pixels=4, pretrained=False).transform(images)


def test_the_fingerprint_covers_transform_and_weights():
    torch.manual_seed(0)
    encoder = EfficientNetLite0(pixels=32, pretrained=False)
    before = encoder.fingerprint()
    assert encoder.fingerprint() == before
    encoder.framing = Framing(64)
    assert encoder.fingerprint() != before
    encoder.framing = Framing(32)
    with torch.no_grad():
        encoder.stem.conv.weight[0, 0, 0, 0] += 1e-3
    assert encoder.fingerprint() != before


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_weights_that_would_run_code_are_refused_and_run_nothing(tmp_path, monkeypatch):
    path, victim = tmp_path / "weights.pth", tmp_path / "victim"
    torch.save({"weight": Hostile(victim)}, path)
    given = SimpleNamespace(locate=lambda: path, package="a-package", extra="demo")
    monkeypatch.setattr(efficientnet_lite, "WEIGHTS", given)
    with pytest.raises(DataError, match=r"weights.pth of a-package is damaged"):
        EfficientNetLite0()
    assert not victim.exists()
    pickle.loads(pickle.dumps(Hostile(victim)))
    assert victim.exists()  # the file would have run code


def test_truncated_weights_are_one_clear_error(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(WEIGHTS.locate().read_bytes()[:5000])
    given = SimpleNamespace(locate=lambda: path, package="a-package", extra="demo")
    monkeypatch.setattr(efficientnet_lite, "WEIGHTS", given)
    with pytest.raises(DataError, match=r"--force-reinstall 'geocsp\[demo\]'"):
        EfficientNetLite0()


def test_it_is_registered_frozen_in_evaluation_mode():
    encoder = geocsp.create("image", "efficientnet-lite0", pixels=64, pretrained=False)
    assert isinstance(encoder, EfficientNetLite0)
    assert not any(module.training for module in encoder.modules())


def test_other_channels_than_rgb_see_grey_alike(encoder):
    image = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    five = EfficientNetLite0(pixels=64, channels=5)
    with torch.no_grad():
        features = five(image.expand(-1, 5, -1, -1))
        expected = encoder(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)
    assert five.transform(torch.zeros(1, 64, 64, 5, dtype=torch.uint8)).shape == (1, 5, 64, 64)
