import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import geocsp
from geocsp.errors import DataError
from geocsp.images import Framing, Resampling, TimmEncoder

timm = pytest.importorskip("timm", reason="timm is not installed")

TINY = "test_resnet"  # 160 pixels, the smallest networks of timm
IMAGE = torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))


def made(name, **settings):
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, **settings).eval()


def features_of(network, image):
    with torch.no_grad():
        return network.forward_head(network.forward_features(image), pre_logits=True)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("classes", [1000, 7, 0])
def test_features_are_those_before_the_classifier(tmp_path, name, classes):
    network = made(name, num_classes=classes)
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"arch": name, "epoch": 3, "state_dict": network.state_dict()}, path)
    encoder = geocsp.create("image", "timm", architecture=name, weights=path)
    features = encoder(IMAGE)
    assert features.shape == (3, encoder.dim)
    torch.testing.assert_close(features, features_of(network, IMAGE), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder(IMAGE[1:2])[0], features[1], atol=1e-5, rtol=1e-5)
    assert not any(module.training for module in encoder.modules())
    assert "state_dict" not in encoder.module.pretrained_cfg


@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "mobilenetv3_small_050", "test_vit", "swin_tiny_patch4_window7_224"],
)
def test_a_photo_becomes_what_the_transform_of_timm_makes_of_it(name, photo, levels_apart):
    encoder = TimmEncoder(name, untrained=True)
    settings = timm.data.resolve_model_data_config(encoder.module)
    assert levels_apart(encoder, timm.data.create_transform(**settings)(photo)) <= 1


def test_the_square_follows_the_configuration_of_the_weights():
    bicubic = {"resampling": Resampling.BICUBIC}
    assert TimmEncoder("resnet18.a1_in1k", untrained=True).framing == Framing(
        224, resize=235, **bicubic
    )
    squashed = TimmEncoder("mobilenetv4_hybrid_medium.ix_e550_r256_in1k", untrained=True)
    assert squashed.framing == Framing(256, resize=269, **bicubic)
    assert TimmEncoder(TINY, untrained=True, pixels=96).framing == Framing(96, resize=100)


def test_squash_and_border_modes(tmp_path):
    def encoder(**change):
        network = made(TINY)
        config = {"architecture": TINY, "pretrained_cfg": network.pretrained_cfg | change}
        (tmp_path / "config.json").write_text(json.dumps(config))
        save_file(network.state_dict(), tmp_path / "model.safetensors")
        return TimmEncoder(f"local-dir:{tmp_path}")

    assert encoder(crop_mode="squash").framing == Framing(160, resize=168, squeeze=True)
    with pytest.raises(DataError, match="as border 160 x 160 bilinear, for which there is no F"):
        encoder(crop_mode="border")
    with pytest.raises(DataError, match="center 160 x 160 lanczos, for which there is no Framing"):
        encoder(interpolation="lanczos")
    with pytest.raises(DataError, match="center 160 x 192"):
        encoder(input_size=[3, 160, 192])


def test_a_folder_of_timm_is_read(tmp_path, no_network):
    network = made(TINY)
    config = {"architecture": TINY, "pretrained_cfg": network.pretrained_cfg | {"mean": [0.1] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    encoder = TimmEncoder(f"local-dir:{tmp_path}")
    torch.testing.assert_close(encoder(IMAGE), features_of(network, IMAGE), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder.mean, torch.full((3,), 25.5))
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_args": {"output_stride": 8}}))
    wider = TimmEncoder(f"local-dir:{tmp_path}")
    assert wider.module.forward_features(IMAGE).shape[2:] == (20, 20)
    (tmp_path / "config.json").write_text('{"architecture": "nothing"}')
    with pytest.raises(DataError, match=r"config.json describes no network of timm"):
        TimmEncoder(f"local-dir:{tmp_path}")


def test_a_transformer_takes_images_of_other_sizes(tmp_path):
    save_file(made("test_vit").state_dict(), tmp_path / "w.safetensors")
    encoder = TimmEncoder("test_vit", weights=tmp_path / "w.safetensors", pixels=96)
    assert encoder(torch.zeros(1, 3, 96, 96)).shape == (1, encoder.dim)


def test_weights_for_other_channels_say_so_themselves(tmp_path):
    torch.save(made(TINY, in_chans=13).state_dict(), tmp_path / "w.pth")
    encoder = TimmEncoder(TINY, weights=tmp_path / "w.pth")
    assert encoder.framing.channels == len(encoder.mean) == 13
    torch.save(made(TINY).state_dict(), tmp_path / "w.pth")
    adapted = TimmEncoder(TINY, weights=tmp_path / "w.pth", channels=6)
    expected = TimmEncoder(TINY, weights=tmp_path / "w.pth")(IMAGE)
    torch.testing.assert_close(adapted(IMAGE.repeat(1, 2, 1, 1)), expected, atol=1e-5, rtol=1e-5)


def test_weights_that_are_not_there_are_not_fetched(no_network):
    with pytest.raises(DataError, match=r"^model.safetensors of timm/.* nothing is downloaded un"):
        TimmEncoder("resnet18.a1_in1k")


def test_cached_weights_are_found_without_network(tmp_path, monkeypatch, no_network):
    network = made(TINY)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    asked = []

    def download(repository, name, *, local_files_only):
        asked.append((repository, name, local_files_only))
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    encoder = TimmEncoder(f"{TINY}.r160_in1k")
    assert asked == [(f"timm/{TINY}.r160_in1k", "model.safetensors", True)]
    torch.testing.assert_close(encoder(IMAGE), features_of(network, IMAGE), atol=1e-5, rtol=1e-5)


def test_weights_that_do_not_fit_are_named(tmp_path):
    state = made(TINY).state_dict()
    del state["layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r'w.pth does not fit .*"layer1.0.conv1.weight"') as caught:
        TimmEncoder(TINY, weights=tmp_path / "w.pth")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"w.pth does not fit test_vit: "):
        TimmEncoder("test_vit", weights=tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["resnet5000", "resnet18.nothing", ""])
def test_unknown_networks_are_one_clear_error(name):
    with pytest.raises(DataError, match=f"timm .* has no network '{name}'"):
        TimmEncoder(name)


def test_the_fingerprint_covers_architecture_and_weights(tmp_path):
    torch.manual_seed(0)
    first = TimmEncoder(TINY, untrained=True)
    second = TimmEncoder(TINY, untrained=True)
    assert first.fingerprint() != second.fingerprint()
    second.load_state_dict(first.state_dict())
    assert first.fingerprint() == second.fingerprint()
    second.architecture = "timm another"
    assert first.fingerprint() != second.fingerprint()


def test_a_configuration_cannot_say_what_else_to_load(tmp_path):
    evil, victim = tmp_path / "evil", tmp_path / "victim"
    evil.mkdir()
    torch.save({"state_dict": {"a": Hostile(victim)}}, evil / "pytorch_model.bin")
    network = made(TINY)
    source = {"source": "local-dir", "file": str(evil)}
    config = {
        "architecture": TINY,
        "pretrained_cfg": network.pretrained_cfg | source,
        "model_args": {"checkpoint_path": str(evil / "pytorch_model.bin")},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    encoder = TimmEncoder(f"local-dir:{tmp_path}")
    torch.testing.assert_close(encoder(IMAGE), features_of(network, IMAGE), atol=1e-5, rtol=1e-5)
    TimmEncoder(f"local-dir:{tmp_path}", untrained=True)
    assert not victim.exists()


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_configuration_that_does_not_fit_is_one_clear_error(tmp_path):
    config = {"architecture": TINY, "pretrained_cfg": {"no_such_key": 1}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=f"does not fit {TINY}: .*no_such_key"):
        TimmEncoder(f"local-dir:{tmp_path}", untrained=True)
