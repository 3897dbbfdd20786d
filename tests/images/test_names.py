import subprocess
import sys

import pytest
import torch

import geocsp
from geocsp.errors import DataError
from geocsp.images import MoCoEncoder, names, parse_encoder
from geocsp.images.resnet import ResNet, ResNetShape


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    network = ResNet(ResNetShape((1, 1, 1, 1), bottleneck=False, width=4))
    torch.save(network.state_dict(), tmp_path / "moco.pth.tar")
    return tmp_path / "moco.pth.tar"


def test_a_family_that_reads_a_file_takes_it_after_the_colon(checkpoint):
    encoder = parse_encoder(f"moco:{checkpoint}", pixels=64, allow_download=True)
    assert isinstance(encoder, MoCoEncoder)
    assert (encoder.dim, encoder.pixels) == (32, 64)
    assert encoder.recipe == {
        "name": "moco",
        "settings": {"weights": str(checkpoint), "pixels": 64},
    }
    assert parse_encoder(f"moco:{checkpoint}", channels=5).framing.channels == 5


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("timm:resnet50", {"architecture": "resnet50"}),
        ("open-clip:ViT-B-32/laion2b_s34b_b79k", {"architecture": "ViT-B-32/laion2b_s34b_b79k"}),
        ("open-clip:hf-hub:imageomics/bioclip", {"architecture": "hf-hub:imageomics/bioclip"}),
        ("torchgeo:resnet50/SENTINEL2_ALL_MOCO", {"architecture": "resnet50/SENTINEL2_ALL_MOCO"}),
        ("torchvision:resnet50", {"architecture": "resnet50"}),
        ("transformers:facebook/dinov2-small", {"source": "facebook/dinov2-small"}),
    ],
)
def test_the_other_families_take_a_network_and_may_download(monkeypatch, text, settings):
    seen = []
    monkeypatch.setattr(names, "create", lambda *args, **kwargs: seen.append((args, kwargs)))
    parse_encoder(text)
    parse_encoder(text, allow_download=True, weights="w.pth", channels=4, pixels=96)
    family = text.partition(":")[0]
    more = {"weights": "w.pth", "channels": 4, "pixels": 96}
    assert seen == [
        (("image", family), settings | {"allow_download": False}),
        (("image", family), settings | {"allow_download": True} | more),
    ]


def test_efficientnet_stands_alone():
    encoder = parse_encoder("efficientnet-lite0", pixels=64, channels=4)
    assert (encoder.pixels, encoder.framing.channels) == (64, 4)
    with pytest.raises(DataError, match=r"'efficientnet-lite0': .*'weights'"):
        parse_encoder("efficientnet-lite0", weights="a.pth")


@pytest.mark.parametrize("text", ["", "resnet50", "keras:resnet50", "efficientnet-lite0:b"])
def test_unknown_names_are_met_with_the_known_ones(text):
    with pytest.raises(DataError) as caught:
        parse_encoder(text)
    assert str(caught.value).startswith(f"no image encoder {text!r}; there are ")
    assert "efficientnet-lite0, moco:..., onnx:..., open-clip:..." in str(caught.value)


def test_a_family_alone_names_no_encoder(checkpoint):
    with pytest.raises(DataError, match="is named with one network: timm:network"):
        parse_encoder("timm")
    with pytest.raises(DataError, match="is named with one file: moco:file"):
        parse_encoder("moco:")
    with pytest.raises(DataError, match="is named with one file: moco:file"):
        parse_encoder(f"moco:{checkpoint}", weights=checkpoint)


def test_all_families_are_registered_and_none_is_imported():
    known = {
        "efficientnet-lite0", "moco", "onnx", "open-clip", "timm", "torchgeo", "torchvision",
        "transformers",
    }  # fmt: skip
    assert known <= set(geocsp.available("image"))
    heavy = "{'timm', 'torchvision', 'open_clip', 'torchgeo', 'transformers', 'onnxruntime'}"
    code = f"import sys, geocsp.images; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
