import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import geocsp
from geocsp.errors import DataError
from geocsp.images import Framing, Pooling, TransformersEncoder

transformers = pytest.importorskip("transformers")

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "vocab_size": 20,
    **{k: v for k, v in TINY.items() if k not in ("image_size", "patch_size")},
}
STAGES = {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1]}
SQUEEZED = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": {"height": 32, "width": 32},
}
IMAGE = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(name):
    """A tiny network as its family publishes it, with random weights."""
    t = transformers
    if name == "ijepa" and not hasattr(t, "IJepaModel"):
        pytest.skip(f"transformers {t.__version__} has no I-JEPA")
    torch.manual_seed(0)
    return {
        "vit": lambda: t.ViTForImageClassification(t.ViTConfig(**TINY)),
        "deit": lambda: t.DeiTForImageClassificationWithTeacher(t.DeiTConfig(**TINY)),
        "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**TINY | {"mlp_ratio": 1})),
        "mae": lambda: t.ViTMAEModel(t.ViTMAEConfig(**TINY)),
        "ijepa": lambda: t.IJepaModel(t.IJepaConfig(**TINY)),
        "swin": lambda: t.SwinModel(
            t.SwinConfig(image_size=32, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
        ),
        "resnet": lambda: t.ResNetForImageClassification(
            t.ResNetConfig(embedding_size=8, **STAGES)
        ),
        "convnext": lambda: t.ConvNextModel(t.ConvNextConfig(**STAGES)),
        "clip": lambda: t.CLIPModel(
            t.CLIPConfig(
                text_config=TEXT, vision_config=TINY | {"projection_dim": 8}, projection_dim=8
            )
        ),
        "siglip": lambda: t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=TINY)),
        "bert": lambda: t.BertModel(t.BertConfig(**TEXT)),
    }[name]().eval()


@pytest.fixture
def saved(tmp_path):
    def save(name, rules=SQUEEZED):
        folder = tmp_path / name
        made = network(name)
        made.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(rules))
        return folder, made

    return save


def reference(name, made):
    """What the features are to be, written out for each family."""
    with torch.no_grad():
        if name == "clip":
            states = made.vision_model(IMAGE).pooler_output
            return made.visual_projection(states)
        if name == "siglip":
            return made.vision_model(IMAGE).pooler_output
        base = getattr(made, made.base_model_prefix, made)
        if name == "mae":
            base.config.mask_ratio = 0.0
        output = base(IMAGE)
    if name in ("vit", "deit", "mae"):
        return output.last_hidden_state[:, 0]
    if name == "ijepa":
        return output.last_hidden_state.mean(dim=1)
    return output.pooler_output.flatten(1)


FAMILIES = (
    "vit", "deit", "dinov2", "mae", "ijepa", "swin", "resnet", "convnext", "clip", "siglip",
)  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_those_documented_for_the_family(saved, name, no_network):
    folder, made = saved(name)
    encoder = TransformersEncoder(str(folder))
    features = encoder(IMAGE)
    assert features.shape == (3, encoder.dim)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, reference(name, made), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder(IMAGE[1:2])[0], features[1], atol=1e-5, rtol=1e-5)
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_the_text_tower_is_not_kept(saved):
    encoder = TransformersEncoder(str(saved("clip")[0]))
    assert encoder.dim == 8
    assert not any("text" in name for name in encoder.state_dict())


def test_tokens_may_be_pooled_otherwise(saved):
    folder, made = saved("deit")
    with torch.no_grad():
        states = made.deit(IMAGE).last_hidden_state
    mean = TransformersEncoder(str(folder), pooling=Pooling.MEAN)
    expected = states[:, 2:].mean(dim=1)  # the patches: without summary and distillation
    torch.testing.assert_close(mean(IMAGE), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(DataError, match="have no pooler; choose another pooling"):
        TransformersEncoder(str(folder), pooling=Pooling.POOLER)
    with pytest.raises(DataError, match="SwinModel has no cls features"):
        TransformersEncoder(str(saved("swin")[0]), pooling=Pooling.CLS)


def test_sharded_weights_and_weights_of_the_old_format_are_read(saved, no_network):
    folder, made = saved("dinov2")
    expected = TransformersEncoder(str(folder))(IMAGE)
    made.save_pretrained(folder, max_shard_size="5KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("*.safetensors"))) > 1
    torch.testing.assert_close(TransformersEncoder(str(folder))(IMAGE), expected)
    for path in folder.glob("model*"):
        path.unlink()
    torch.save(made.state_dict(), folder / "pytorch_model.bin")
    torch.testing.assert_close(TransformersEncoder(str(folder))(IMAGE), expected)


def test_weights_may_come_from_another_file(saved, tmp_path):
    folder, made = saved("dinov2")
    tensors = load_file(folder / "model.safetensors")
    doubled = {name: 2 * value for name, value in tensors.items()}
    save_file(doubled, tmp_path / "doubled.safetensors")
    (folder / "model.safetensors").unlink()
    encoder = TransformersEncoder(str(folder), weights=tmp_path / "doubled.safetensors")
    made.load_state_dict({name: 2 * value for name, value in made.state_dict().items()})
    torch.testing.assert_close(encoder(IMAGE), reference("dinov2", made), atol=1e-5, rtol=1e-5)
    clip, made = saved("clip")
    torch.save({"state_dict": made.state_dict(), "epoch": 1}, tmp_path / "clip.pt")
    encoder = TransformersEncoder(str(clip), weights=tmp_path / "clip.pt")
    torch.testing.assert_close(encoder(IMAGE), reference("clip", made), atol=1e-5, rtol=1e-5)
    del doubled["layernorm.weight"]
    save_file(doubled, tmp_path / "less.safetensors")
    with pytest.raises(DataError, match=r"less.safetensors do not fit; they lack layernorm.weight"):
        TransformersEncoder(str(folder), weights=tmp_path / "less.safetensors")


def test_random_features_are_never_taken_by_accident(saved):
    folder, _ = saved("vit")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"is no folder with model.safetensors or"):
        TransformersEncoder(str(folder))
    assert TransformersEncoder(str(folder), untrained=True).dim == 16


def test_weights_that_lack_a_layer_are_refused(saved):
    folder, _ = saved("vit")
    tensors = load_file(folder / "model.safetensors")
    del tensors["vit.layernorm.bias"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"do not fit; they lack layernorm.bias"):
        TransformersEncoder(str(folder))


def test_sizes_and_channels_may_differ_from_those_of_the_weights(saved):
    folder, _ = saved("vit")
    larger = TransformersEncoder(str(folder), pixels=48, channels=6)
    assert larger.framing == Framing(48, resize=48, squeeze=True, channels=6)
    assert larger(torch.randn(1, 6, 48, 48)).shape == (1, 16)
    doubled = TransformersEncoder(str(folder), channels=6)(IMAGE.repeat(1, 2, 1, 1))
    expected = TransformersEncoder(str(folder))(IMAGE)
    torch.testing.assert_close(doubled, expected, atol=1e-5, rtol=1e-5)


def test_a_network_for_blue_first_gets_blue_first(saved):
    folder, _ = saved("resnet")
    swapped = TransformersEncoder(
        str(saved("resnet", SQUEEZED | {"do_flip_channel_order": True})[0])
    )
    (folder / "preprocessor_config.json").write_text(json.dumps(SQUEEZED))
    plain = TransformersEncoder(str(folder))
    torch.testing.assert_close(swapped(IMAGE), plain(IMAGE.flip(1)))
    assert not torch.allclose(swapped(IMAGE), plain(IMAGE))


def test_a_photo_is_framed_as_the_processor_says(saved, photo, levels_apart):
    rules = {"shortest_edge": 40}, {"height": 32, "width": 32}
    kind = getattr(transformers, "BitImageProcessorPil", None) or transformers.BitImageProcessor
    processor = kind(size=rules[0], crop_size=rules[1])
    folder, _ = saved("dinov2", json.loads(processor.to_json_string()))
    encoder = TransformersEncoder(str(folder))
    assert (encoder.framing.pixels, encoder.framing.resize) == (32, 40)
    expected = torch.as_tensor(processor(photo, return_tensors="pt")["pixel_values"][0])
    assert levels_apart(encoder, expected) <= 1


def test_the_fingerprint_covers_weights_settings_framing_and_pooling(saved):
    folder, _ = saved("vit")
    base = TransformersEncoder(str(folder))
    prints = [base.fingerprint()]
    prints.append(TransformersEncoder(str(folder), pooling=Pooling.MEAN).fingerprint())
    prints.append(TransformersEncoder(str(folder), pixels=48).fingerprint())
    with torch.no_grad():
        base.module.network.layernorm.bias[0] += 1e-4
    prints.append(base.fingerprint())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    prints.append(TransformersEncoder(str(folder)).fingerprint())
    assert len(set(prints)) == len(prints)
    copy = pickle.loads(pickle.dumps(base))
    assert copy.fingerprint() == base.fingerprint()


def test_it_is_registered_and_says_nothing(saved, capfd):
    folder, _ = saved("vit")
    capfd.readouterr()
    assert geocsp.create("image", "transformers", source=str(folder)).dim == 16
    assert capfd.readouterr() == ("", "")


def test_a_repository_that_is_not_in_the_cache_is_not_fetched(no_network):
    with pytest.raises(DataError, match=r"^config.json of org/never-fetched is not on this comp"):
        TransformersEncoder("org/never-fetched")


def test_a_repository_in_the_cache_is_read_without_network(saved, monkeypatch, no_network):
    folder, made = saved("dinov2")
    asked = []

    def download(repository, name, *, local_files_only):
        asked.append((repository, name, local_files_only))
        return str(folder / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    encoder = TransformersEncoder("org/dino")
    torch.testing.assert_close(encoder(IMAGE), reference("dinov2", made), atol=1e-5, rtol=1e-5)
    names = ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert asked == [("org/dino", name, True) for name in names]


def test_a_network_for_texts_is_refused(saved):
    with pytest.raises(DataError, match="holds BertModel, which takes no images"):
        TransformersEncoder(str(saved("bert")[0]))


def test_code_in_a_folder_is_not_run(saved, tmp_path):
    folder, _ = saved("vit")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'victim')!r}, 'w')")
    with pytest.raises(DataError, match=r"cannot load .*(custom code|you to execute)") as caught:
        TransformersEncoder(str(folder))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "victim").exists()


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("damage", ["pickle", "config", "tensors", "unknown"])
def test_damaged_folders_are_one_clear_error(saved, tmp_path, damage):
    folder, _ = saved("vit")
    if damage == "pickle":
        (folder / "model.safetensors").unlink()
        torch.save({"a": Hostile(tmp_path / "victim")}, folder / "pytorch_model.bin")
    elif damage == "tensors":
        (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    else:
        text = "{" if damage == "config" else '{"model_type": "never-heard-of"}'
        (folder / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"cannot load") as caught:
        TransformersEncoder(str(folder))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "victim").exists()
