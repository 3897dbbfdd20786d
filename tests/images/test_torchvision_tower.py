import pytest
import torch

import geocsp
from geocsp.errors import DataError
from geocsp.images import Framing, TorchvisionEncoder

models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")

TINY = "shufflenet_v2_x0_5"
IMAGE = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def saved(path, name, **settings):
    torch.manual_seed(0)
    network = models.get_model(name, **settings).eval()
    torch.save(network.state_dict(), path)
    return network


def input_of_classifier(network, layer, image):
    """What the last layer is given, averaged over space."""
    seen = []
    network.get_submodule(layer).register_forward_hook(lambda m, given, out: seen.append(given[0]))
    with torch.no_grad():
        network(image)
    return seen[0].mean(dim=(2, 3)) if seen[0].ndim == 4 else seen[0]


@pytest.mark.parametrize(
    ("name", "layer", "dim"),
    [
        ("resnet18", "fc", 512),
        ("shufflenet_v2_x0_5", "fc", 1024),
        ("squeezenet1_1", "classifier.1", 512),
        ("mobilenet_v3_small", "classifier.3", 1024),
        ("densenet121", "classifier", 1024),
        ("mnasnet0_5", "classifier.1", 1280),
        ("regnet_y_400mf", "fc", 440),
    ],
)
def test_features_are_what_the_classifier_is_given(tmp_path, name, layer, dim):
    network = saved(tmp_path / "w.pth", name)
    encoder = TorchvisionEncoder(name, weights=tmp_path / "w.pth", pixels=96)
    assert encoder.dim == dim
    expected = input_of_classifier(network, layer, IMAGE)
    if name == "squeezenet1_1":  # its last convolution is followed by a ReLU
        expected = expected.relu()
    torch.testing.assert_close(encoder(IMAGE), expected, atol=1e-5, rtol=1e-5)
    assert not any(f"module.{layer}." in key for key in encoder.state_dict())
    assert not any(module.training for module in encoder.modules())


def test_inception_normalises_once_more_as_its_weights_want(tmp_path):
    settings = {"init_weights": False, "transform_input": True}
    network = saved(tmp_path / "w.pth", "inception_v3", **settings)
    encoder = TorchvisionEncoder("inception_v3", weights=tmp_path / "w.pth")
    image = torch.randn(1, 3, 299, 299)
    expected = input_of_classifier(network, "fc", image)
    torch.testing.assert_close(encoder(image), expected, atol=1e-5, rtol=1e-5)
    assert encoder.framing == Framing(299, resize=342)


@pytest.mark.parametrize("name", ["resnet50/IMAGENET1K_V1", "efficientnet_b0", TINY])
def test_a_photo_becomes_what_the_transform_of_torchvision_makes_of_it(name, photo, levels_apart):
    encoder = TorchvisionEncoder(name, untrained=True)
    network, _, tag = name.partition("/")
    weights = models.get_model_weights(network)[tag or "DEFAULT"]
    assert levels_apart(encoder, weights.transforms()(photo)) <= 1


def test_weights_for_other_classes_are_read(tmp_path):
    saved(tmp_path / "w.pth", TINY, num_classes=7)
    encoder = geocsp.create("image", "torchvision", architecture=TINY, weights=tmp_path / "w.pth")
    assert encoder.dim == 1024


def test_the_old_names_of_densenet_are_read(tmp_path):
    network = saved(tmp_path / "w.pth", "densenet121")
    old = {}
    for name, value in network.state_dict().items():
        for part in ("norm1.", "norm2.", "conv1.", "conv2."):
            if "denselayer" in name:
                name = name.replace(part, f"{part[:4]}.{part[4:]}")
        old[name] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "old.pth")
    new = TorchvisionEncoder("densenet121", weights=tmp_path / "w.pth")
    assert TorchvisionEncoder("densenet121", weights=tmp_path / "old.pth").fingerprint() == (
        new.fingerprint()
    )


def test_other_channels_are_adapted(tmp_path):
    saved(tmp_path / "w.pth", TINY)
    plain = TorchvisionEncoder(TINY, weights=tmp_path / "w.pth")
    adapted = TorchvisionEncoder(TINY, weights=tmp_path / "w.pth", channels=6)
    assert adapted.framing.channels == 6
    doubled = adapted(IMAGE.repeat(1, 2, 1, 1))
    torch.testing.assert_close(doubled, plain(IMAGE), atol=1e-5, rtol=1e-5)


def test_weights_that_are_not_there_are_not_fetched(tmp_path, monkeypatch, no_network):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DataError, match=r"^resnet18-f37072fd.pth is not on this computer"):
        TorchvisionEncoder("resnet18")
    (tmp_path / "checkpoints").mkdir()
    network = saved(tmp_path / "checkpoints" / "resnet18-f37072fd.pth", "resnet18")
    encoder = TorchvisionEncoder("resnet18")
    expected = input_of_classifier(network, "fc", IMAGE)
    torch.testing.assert_close(encoder(IMAGE), expected, atol=1e-5, rtol=1e-5)


def test_unknown_names_are_one_clear_error():
    with pytest.raises(DataError, match="no classification network 'resnet5000'"):
        TorchvisionEncoder("resnet5000")
    with pytest.raises(DataError, match="no classification network 'fcn_resnet50'"):
        TorchvisionEncoder("fcn_resnet50")
    with pytest.raises(DataError, match="resnet18 has no weights 'V9'; it has IMAGENET1K_V1"):
        TorchvisionEncoder("resnet18/V9")


def test_weights_and_sizes_that_do_not_fit_are_named(tmp_path):
    saved(tmp_path / "w.pth", TINY)
    with pytest.raises(
        DataError, match=r"w.pth does not fit the network: it lacks conv1.weight, bn1.weight"
    ):
        TorchvisionEncoder("resnet18", weights=tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"does not take images of \(3, 97, 97\)"):
        TorchvisionEncoder("vit_b_16", untrained=True, pixels=97)
