import argparse

import pytest
import torch

import geocsp
from geocsp.errors import DataError
from geocsp.images import Framing, TorchGeoEncoder
from geocsp.images.extract import features_of
from geocsp.images.resnet import RESNETS, ResNet

CHIP = torch.randint(
    0, 8000, (2, 264, 264, 13), generator=torch.Generator().manual_seed(0), dtype=torch.int16
)
SATELLITE = Framing(224, resize=256, squeeze=True, channels=13, as_bytes=False)


def state(name="resnet18", channels=13):
    torch.manual_seed(0)
    return ResNet(RESNETS[name]._replace(channels=channels)).state_dict()


@pytest.fixture
def weights(tmp_path):
    torch.save(state(), tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_reflectance_of_13_bands_becomes_features_without_another_library(weights):
    encoder = geocsp.create("image", "torchgeo", architecture="resnet18", weights=weights)
    assert encoder.framing == SATELLITE
    image = encoder.transform(torch.full((1, 264, 264, 13), 2500, dtype=torch.int16))
    torch.testing.assert_close(image, torch.full((1, 13, 224, 224), 0.25))
    features = features_of(encoder, CHIP.numpy(), bfloat16=False)
    assert features.shape == (2, encoder.dim) == (2, 512)


@pytest.mark.parametrize(
    "prefix", ["module.encoder_q.", "module.base_encoder.", "module.backbone.", "module."]
)
def test_checkpoints_of_ssl4eo_are_read(tmp_path, weights, prefix):
    extra = {f"{prefix}fc.weight": torch.zeros(3, 3), f"{prefix}head.mlp.0.bias": torch.zeros(3)}
    if "encoder" in prefix:
        extra["module.queue"] = torch.zeros(3, 3)
    content = {
        "epoch": 99,
        "arch": "resnet18",
        "args": argparse.Namespace(lr=0.1),
        "state_dict": {f"{prefix}{name}": value for name, value in state().items()} | extra,
    }
    torch.save(content, tmp_path / "B13_rn18.pth")
    encoder = TorchGeoEncoder("resnet18", weights=tmp_path / "B13_rn18.pth")
    assert encoder.fingerprint() == TorchGeoEncoder("resnet18", weights=weights).fingerprint()


def test_channels_are_those_of_the_weights(tmp_path, weights):
    with pytest.raises(DataError, match=r"w.pth takes 13 channels, not 3"):
        TorchGeoEncoder("resnet18", weights=weights, channels=3)
    torch.save(state(channels=2), tmp_path / "s1.pth")
    assert TorchGeoEncoder("resnet18", weights=tmp_path / "s1.pth").framing.channels == 2
    assert TorchGeoEncoder("resnet18", untrained=True).framing.channels == 13
    assert TorchGeoEncoder("resnet18", untrained=True, channels=4).framing.channels == 4


def test_sizes_may_differ(weights):
    encoder = TorchGeoEncoder("resnet18", weights=weights, pixels=112)
    assert (encoder.framing.pixels, encoder.framing.resize) == (112, 128)


def test_what_does_not_fit_is_named(tmp_path, weights):
    with pytest.raises(DataError, match=r"needs weights: a local file, or TorchGeo's by name"):
        TorchGeoEncoder("resnet50")
    with pytest.raises(DataError, match=r"w.pth does not fit the network: it lacks layer1.0.down"):
        TorchGeoEncoder("resnet50", weights=weights)
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"a.pth holds no resnet50"):
        TorchGeoEncoder("resnet50", weights=tmp_path / "a.pth")


@pytest.mark.parametrize("norm", [True, False])
def test_a_vision_transformer_for_13_bands_is_read(tmp_path, norm):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", in_chans=13, num_classes=5).eval()
    tensors = {n: t for n, t in network.state_dict().items() if norm or not n.startswith("norm.")}
    torch.save({f"module.base_encoder.{n}": t for n, t in tensors.items()}, tmp_path / "vit.pth")
    encoder = TorchGeoEncoder("vit_tiny_patch16_224", weights=tmp_path / "vit.pth")
    network.reset_classifier(0)
    image = encoder.transform(CHIP)
    with torch.no_grad():
        torch.testing.assert_close(encoder(image), network(image), atol=1e-5, rtol=1e-5)
    half = TorchGeoEncoder("vit_tiny_patch16_224", weights=tmp_path / "vit.pth", pixels=112)
    assert half(torch.zeros(1, 13, 112, 112)).shape == (1, 192)
    with pytest.raises(DataError, match="no network 'vit_nothing'; there are resnet18"):
        TorchGeoEncoder("vit_nothing", untrained=True)


@pytest.mark.parametrize(
    ("name", "as_bytes"),
    [
        ("resnet18/SENTINEL2_ALL_MOCO", False),
        ("resnet50/SENTINEL2_ALL_SOFTCON", False),
        ("resnet50/FMOW_RGB_GASSL", True),
        ("vit_small_patch16_224/SENTINEL1_GRD_MAE", False),
    ],
)
def test_the_weights_of_torchgeo_take_images_as_torchgeo_says(tmp_path, name, as_bytes):
    models = pytest.importorskip("torchgeo.models", reason="torchgeo is not installed")
    network, _, tag = name.partition("/")
    published = models.get_model_weights(network)[tag]
    channels = published.meta["in_chans"]
    torch.manual_seed(0)
    reference = models.get_model(network, weights=None, in_chans=channels, num_classes=0).eval()
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    encoder = TorchGeoEncoder(name, weights=tmp_path / "w.pth")
    assert encoder.framing.as_bytes == as_bytes
    chip = CHIP[:, :, :, :channels]
    chip = (chip % 256).byte() if as_bytes else chip
    expected = published.transforms(chip.permute(0, 3, 1, 2).float())
    image = encoder.transform(chip)
    torch.testing.assert_close(image, expected, atol=1e-3, rtol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(encoder(image), reference(image), atol=1e-4, rtol=1e-4)


def test_the_weights_of_torchgeo_are_not_fetched(tmp_path, monkeypatch, no_network):
    pytest.importorskip("torchgeo.models", reason="torchgeo is not installed")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DataError, match=r"^resnet50_sentinel2_all_moco-df8b932e.pth is not on"):
        TorchGeoEncoder("resnet50/SENTINEL2_ALL_MOCO")
    with pytest.raises(DataError, match="resnet50 has no weights 'MINE'; it has FMOW_RGB_GASSL"):
        TorchGeoEncoder("resnet50/MINE")
    with pytest.raises(DataError, match="TorchGeo has no weights for 'resnet5000'"):
        TorchGeoEncoder("resnet5000/MINE")
