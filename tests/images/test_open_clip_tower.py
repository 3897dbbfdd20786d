import json

import pytest
import torch
from safetensors.torch import save_file

import geocsp
from geocsp.errors import DataError
from geocsp.images import Framing, OpenClipEncoder, Resampling

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")

VISION = {"layers": 1, "width": 64, "image_size": 32, "patch_size": 8, "head_width": 32}
TEXT = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
IMAGE = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def made(**vision):
    torch.manual_seed(0)
    return open_clip.CLIP(embed_dim=16, vision_cfg=VISION | vision, text_cfg=TEXT).eval()


def folder(path, network=None, preprocessing=None, **vision):
    path.mkdir(exist_ok=True)
    network = network or made(**vision)
    settings = {"embed_dim": 16, "vision_cfg": VISION | vision, "text_cfg": TEXT}
    config = {"model_cfg": settings, "preprocess_cfg": preprocessing or {}}
    (path / "open_clip_config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), path / "open_clip_model.safetensors")
    return f"local-dir:{path}"


def test_features_are_those_of_encode_image(tmp_path, no_network):
    encoder = OpenClipEncoder(folder(tmp_path))
    with torch.no_grad():
        expected = made().encode_image(IMAGE)
    torch.testing.assert_close(encoder(IMAGE), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder(IMAGE[1:2]), expected[1:2], atol=1e-5, rtol=1e-5)
    assert encoder.dim == 16
    assert not any(module.training for module in encoder.modules())
    assert not any("token_embedding" in name or "text" in name for name in encoder.state_dict())


def test_a_tower_that_gives_tokens_too_gives_its_summary(tmp_path):
    vision = {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    encoder = OpenClipEncoder(folder(tmp_path, **vision))
    with torch.no_grad():
        expected, _ = made(**vision).visual(IMAGE)
    torch.testing.assert_close(encoder(IMAGE), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["shortest", "squash"])
def test_a_photo_becomes_what_the_transform_of_open_clip_makes_of_it(
    tmp_path, mode, photo, levels_apart
):
    preprocessing = {"resize_mode": mode, "mean": [0.5, 0.4, 0.3], "interpolation": "bilinear"}
    encoder = OpenClipEncoder(folder(tmp_path, preprocessing=preprocessing))
    settings = open_clip.transform.PreprocessCfg(size=32, **preprocessing)
    transform = open_clip.transform.image_transform_v2(settings, is_train=False)
    assert levels_apart(encoder, transform(photo)) <= 1


def test_other_framings_are_refused(tmp_path):
    source = folder(tmp_path, preprocessing={"resize_mode": "longest"})
    with pytest.raises(
        DataError, match="as longest 32 x 32 bicubic, for which there is no Framing"
    ):
        OpenClipEncoder(source)


@pytest.mark.parametrize(
    ("name", "framing", "mean"),
    [
        ("RN50", Framing(224, resize=224, resampling=Resampling.BICUBIC), 0.48145466),
        ("ViT-S-16", Framing(224, resize=224, resampling=Resampling.BICUBIC), 0.48145466),
        ("ViT-B-16-SigLIP", Framing(224, resampling=Resampling.BICUBIC), 0.5),
    ],
)
def test_images_are_taken_as_the_weights_of_the_architecture_take_them(name, framing, mean):
    encoder = OpenClipEncoder(name, untrained=True)
    assert encoder.framing == framing
    assert float(encoder.mean[0]) == pytest.approx(255 * mean)


def test_a_local_file_of_a_whole_model_is_read(tmp_path):
    torch.manual_seed(0)
    network = open_clip.create_model("ViT-S-32-alt", pretrained=None).eval()
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 5, "name": "mine", "state_dict": state}, tmp_path / "epoch_5.pt")
    encoder = geocsp.create(
        "image", "open-clip", architecture="ViT-S-32-alt", weights=tmp_path / "epoch_5.pt"
    )
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = network.encode_image(image)
    torch.testing.assert_close(encoder(image), expected, atol=1e-5, rtol=1e-5)
    smaller = OpenClipEncoder(
        "ViT-S-32-alt", weights=tmp_path / "epoch_5.pt", pixels=96, channels=6
    )
    assert smaller(torch.randn(1, 6, 96, 96)).shape == (1, 256)


def test_the_activation_is_the_one_that_the_weights_were_trained_with(monkeypatch, tmp_path):
    name = "ViT-S-32-alt"
    published = {"hf_hub": "org/net/", "quick_gelu": True, "mean": (0.5, 0.5, 0.5)}
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda model: ["mine"])
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: published)
    quick = OpenClipEncoder(f"{name}/mine", untrained=True)
    assert any(type(m).__name__ == "QuickGELU" for m in quick.modules())
    assert float(quick.mean[0]) == 127.5
    assert not any(
        type(m).__name__ == "QuickGELU" for m in OpenClipEncoder(name, untrained=True).modules()
    )


def test_weights_are_published_under_names(no_network):
    with pytest.raises(DataError, match=r"^open_clip_model.safetensors of laion/.*is not on this"):
        OpenClipEncoder("ViT-B-32/laion2b_s34b_b79k")
    with pytest.raises(DataError, match=r"^open_clip_config.json of imageomics/bioclip is not"):
        OpenClipEncoder("hf-hub:imageomics/bioclip")
    with pytest.raises(DataError, match="name the published weights, as in ViT-B-32/laion2b"):
        OpenClipEncoder("ViT-S-16")
    with pytest.raises(DataError, match="ViT-B-32 has no weights 'mine'; it has openai, laion400m"):
        OpenClipEncoder("ViT-B-32/mine")
    with pytest.raises(DataError, match="open_clip has no model 'ViT-S-1'"):
        OpenClipEncoder("ViT-S-1")


def test_weights_and_settings_that_do_not_fit_are_named(tmp_path, no_network):
    source = folder(tmp_path, network=made(width=32))
    with pytest.raises(DataError, match=r"model.safetensors does not fit the network: it has oth"):
        OpenClipEncoder(source)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"] = {"layers": "many"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"cannot build local-dir:"):
        OpenClipEncoder(source)
    config["model_cfg"]["vision_cfg"] = VISION | {"timm_model_name": "hf-hub:org/elsewhere"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="its image tower is in yet another place"):
        OpenClipEncoder(source)
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": 3}')
    with pytest.raises(DataError, match=r"open_clip_config.json describes no model of open_clip"):
        OpenClipEncoder(source)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_of_torchscript_is_code_and_refused(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "clip.pt")
    with pytest.raises(DataError, match=r"clip.pt would grow .*refused|cannot read .*clip.pt"):
        OpenClipEncoder("RN50", weights=tmp_path / "clip.pt")
