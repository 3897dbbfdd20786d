import pickle
import re

import pytest
import torch
from torch.nn import functional as F

import geocsp
from geocsp.errors import DataError
from geocsp.images import Framing, MoCoEncoder
from geocsp.images.resnet import RESNETS, ResNet, ResNetShape

DEPTHS, WIDTH = (2, 1, 1, 2), 4
IMAGE = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def transformers_resnet(bottleneck):
    """Another implementation, random also in its statistics."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    network = transformers.ResNetModel(
        transformers.ResNetConfig(
            embedding_size=WIDTH,
            hidden_sizes=[WIDTH * 2**stage * (4 if bottleneck else 1) for stage in range(4)],
            depths=DEPTHS,
            layer_type="bottleneck" if bottleneck else "basic",
        )
    )
    for name, value in network.state_dict().items():
        if value.is_floating_point() and ("normalization" in name):
            value.uniform_(0.5, 1.5)
    return network.eval()


def torchvision_name(name):
    """A name of transformers as torchvision has it."""
    name = name.replace("embedder.embedder.", "encoder.stages.-1.")
    stage, block, layer = re.fullmatch(
        r"encoder\.stages\.(-?\d+)(?:\.layers\.(\d+))?\.(.+)", name
    ).groups()
    layer = layer.replace("shortcut.convolution", "downsample.0")
    layer = layer.replace("shortcut.normalization", "downsample.1")
    layer = re.sub(r"layer\.(\d)\.", lambda m: f"{int(m[1]) + 1}.", layer)
    layer = re.sub(r"^(\d)\.convolution", r"conv\1", layer)
    layer = re.sub(r"^(\d)\.normalization", r"bn\1", layer)
    layer = layer.replace("convolution", "conv1").replace("normalization", "bn1")
    return layer if stage == "-1" else f"layer{int(stage) + 1}.{block}.{layer}"


def tensors(bottleneck=True):
    state = transformers_resnet(bottleneck).state_dict()
    return {torchvision_name(name): value for name, value in state.items()}


def checkpoint(path, prefix="module.encoder_q.", extra=(), **settings):
    """A checkpoint as MoCo writes it, heads, queue, optimiser and all."""
    state = {f"{prefix}{name}": value for name, value in tensors(**settings).items()}
    state |= {f"{prefix}fc.0.weight": torch.zeros(8, 8), f"{prefix}fc.2.bias": torch.zeros(8)}
    state |= {"module.queue": torch.zeros(8, 5), "module.queue_ptr": torch.zeros(1).long()}
    state |= dict(extra)
    torch.save({"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": {}}, path)
    return path


@pytest.mark.parametrize("bottleneck", [True, False])
def test_features_are_those_of_another_resnet_with_the_same_tensors(tmp_path, bottleneck):
    encoder = MoCoEncoder(checkpoint(tmp_path / "moco.pth.tar", bottleneck=bottleneck))
    with torch.no_grad():
        expected = transformers_resnet(bottleneck)(IMAGE).pooler_output.flatten(1)
        features = encoder(IMAGE)
    assert features.shape == (3, encoder.dim) == (3, WIDTH * 8 * (4 if bottleneck else 1))
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder(IMAGE[1:2])[0], features[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "prefix",
    ["module.encoder_q.", "module.base_encoder.", "module.momentum_encoder.", "encoder_q.", ""],
)
def test_every_version_of_moco_is_read(tmp_path, prefix):
    path = checkpoint(tmp_path / "moco.pth.tar", prefix)
    if prefix == "":
        torch.save(tensors(), path)
    encoder = MoCoEncoder(path)
    torch.testing.assert_close(encoder.module.conv1.weight, tensors()["conv1.weight"])


def test_the_query_encoder_is_taken_not_the_key_encoder(tmp_path):
    keys = {f"module.encoder_k.{name}": torch.zeros_like(t) for name, t in tensors().items()}
    encoder = MoCoEncoder(checkpoint(tmp_path / "moco.pth.tar", extra=keys))
    assert float(encoder.module.conv1.weight.abs().sum()) > 0


def test_images_are_framed_and_normalised_as_imagenet(tmp_path):
    path = checkpoint(tmp_path / "moco.pth.tar")
    encoder = geocsp.create("image", "moco", weights=path)
    assert encoder.framing == Framing(224, resize=256)
    grey = encoder.transform(torch.full((1, 224, 224, 3), 51, dtype=torch.uint8))
    expected = [(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(grey[0, :, 0, 0], torch.tensor(expected))
    assert MoCoEncoder(path, resize=224).framing == Framing(224, resize=224)
    assert MoCoEncoder(path, pixels=64).framing == Framing(64, resize=73)


def test_other_channels_are_adapted(tmp_path):
    path = checkpoint(tmp_path / "moco.pth.tar")
    encoder = MoCoEncoder(path, channels=6)
    torch.testing.assert_close(encoder(IMAGE.repeat(1, 2, 1, 1)), MoCoEncoder(path)(IMAGE))
    assert encoder.framing.channels == len(encoder.mean) == 6


def test_an_encoder_survives_the_way_to_another_process(tmp_path):
    encoder = MoCoEncoder(checkpoint(tmp_path / "moco.pth.tar"))
    assert pickle.loads(pickle.dumps(encoder)).fingerprint() == encoder.fingerprint()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    torch.save({"state_dict": {"module.encoder_q.cls_token": torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"a.pth holds no ResNet under the names of torchvision"):
        MoCoEncoder(tmp_path / "a.pth")


def test_missing_and_unknown_tensors_are_named(tmp_path):
    state = tensors() | {"attention.weight": torch.zeros(1)}
    del state["layer3.0.conv2.weight"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(DataError) as caught:
        MoCoEncoder(tmp_path / "a.pth")
    assert "lacks layer3.0.conv2.weight; has no use for attention.weight" in str(caught.value)


def test_no_file_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"none.pth does not exist"):
        MoCoEncoder(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("name", "millions", "dim"), [("resnet18", 11.18, 512), ("resnet50", 23.51, 2048)]
)
def test_the_resnets_of_the_paper(name, millions, dim):
    with torch.device("meta"):
        network = ResNet(RESNETS[name])
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)
    assert network(torch.zeros(1, 3, 64, 64, device="meta")).shape == (1, dim)
    assert ResNetShape.of(network.state_dict(), name) == RESNETS[name]


def test_resnet50_of_torchvision_gives_the_same_features(tmp_path):
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    torch.manual_seed(0)
    reference = models.resnet50().eval()
    state = {f"module.encoder_q.{name}": value for name, value in reference.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "moco.pth.tar")
    reference.fc = torch.nn.Identity()
    with torch.no_grad():
        expected = reference(IMAGE)
    features = MoCoEncoder(tmp_path / "moco.pth.tar", pixels=64)(IMAGE)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    assert float(F.cosine_similarity(features[:1], features[1:2])) < 1  # not all the same
