import json

import pytest
import torch

from geocsp.errors import DataError
from geocsp.images import Framing, Resampling
from geocsp.images.preprocessing import read_preprocessing

VIT = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.5, 1.0],
    "resample": 2,
    "size": {"height": 224, "width": 224},
}


def read(tmp_path, rules, name="preprocessor_config.json"):
    path = tmp_path / name
    path.write_text(json.dumps(rules))
    return read_preprocessing(path)


PROCESSORS = {
    "ViT": {},
    "CLIP": {},
    "ConvNext": {"size": {"shortest_edge": 224}},
    "ConvNext 384": {},
    "ConvNext 0.9": {"size": {"shortest_edge": 224}, "crop_pct": 0.9},
    "DeiT": {},
    "Beit": {"do_center_crop": True, "size": {"height": 256, "width": 256}},
    "Bit": {"size": {"shortest_edge": 256}},
    "Levit": {},
    "PoolFormer": {},
    "MobileViT": {"size": {"shortest_edge": 288}},
    "MobileNetV2": {},
    "Siglip": {},
    "EfficientNet": {"resample": 3},
    "EfficientNet offset": {"include_top": False, "rescale_offset": True, "resample": 3},
    "Segformer": {},
    "Blip": {},
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_photo_becomes_what_the_processor_of_transformers_makes_of_it(
    tmp_path, name, photo, levels_apart
):
    transformers = pytest.importorskip("transformers")
    family = f"{name.split()[0]}ImageProcessor"
    kind = getattr(transformers, f"{family}Pil", None) or getattr(transformers, family)
    processor = kind(**PROCESSORS[name])
    processor.save_pretrained(tmp_path)
    found = read_preprocessing(tmp_path / "preprocessor_config.json")
    expected = torch.as_tensor(processor(photo, return_tensors="pt")["pixel_values"][0])
    assert found.bgr == (name == "MobileViT")
    assert levels_apart(as_encoder(found), expected.flip(0) if found.bgr else expected) <= 1


def as_encoder(found):
    from geocsp.images import ModuleEncoder

    return ModuleEncoder(
        torch.nn.AdaptiveAvgPool2d(1),
        framing=found.framing,
        mean=found.mean,
        deviation=found.deviation,
    )


def test_mean_and_deviation_are_in_the_units_of_bytes(tmp_path):
    found = read(tmp_path, VIT)
    assert found.mean == pytest.approx((127.5,) * 3)
    assert found.deviation == pytest.approx((63.75, 127.5, 255.0))
    unscaled = read(tmp_path, VIT | {"do_rescale": False})
    assert unscaled.mean == (0.5, 0.5, 0.5)
    as_is = read(tmp_path, VIT | {"do_normalize": False})
    assert (as_is.mean, as_is.deviation) == ((0,) * 3, pytest.approx((255,) * 3))
    one = read(tmp_path, VIT | {"image_mean": 0.1, "image_std": 0.2})
    assert one.deviation == pytest.approx((51.0,) * 3)


@pytest.mark.parametrize(
    ("kind", "framing"),
    [
        ("ViTFeatureExtractor", Framing(224, resize=224, squeeze=True)),
        ("ViTImageProcessorFast", Framing(224, resize=224, squeeze=True)),
        ("DINOv3ViTImageProcessorFast", Framing(224, resize=224, squeeze=True)),
        ("CLIPFeatureExtractor", Framing(224, resize=224)),
        ("ConvNextFeatureExtractor", Framing(224, resize=256)),
        ("MobileViTFeatureExtractor", Framing(224, resize=224)),
    ],
)
def test_a_lone_number_means_what_it_means_to_its_family(tmp_path, kind, framing):
    rules = VIT | {"size": 224, "feature_extractor_type": kind}
    assert read(tmp_path, rules).framing == framing


def test_a_square_may_be_cut_from_a_squeezed_image(tmp_path):
    rules = VIT | {"size": 256, "crop_size": 224, "do_center_crop": True, "resample": 3}
    assert read(tmp_path, rules).framing == Framing(
        224, resize=256, squeeze=True, resampling=Resampling.BICUBIC
    )


def test_the_processor_may_be_one_part_of_a_file(tmp_path):
    rules = {"processor_class": "CLIPProcessor", "image_processor": VIT}
    found = read(tmp_path, rules, "processor_config.json")
    assert found == read(tmp_path, VIT)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, "for which there is no Framing"),
        ({"size": {"height": 256, "width": 192}}, "256 x 192, which is no square"),
        ({"size": "large"}, "size is large"),
        ({"size": None}, "not iterable"),
        ({"size": 0}, "at least 1 pixel"),
        ({"resample": 1}, "scaled by lanczos, for which there is no Framing"),
        ({"resample": 17}, "17 is not a valid Resampling"),
        ({"do_resize": False}, "images are not scaled"),
        ({"do_pad": True}, "images are padded"),
        ({"image_mean": [0.5]}, "1 values where red, green and blue"),
        ({"image_std": ["a", "b", "c"]}, "could not convert"),
        ({"rescale_factor": 0}, "division by zero"),
        ({"do_center_crop": True, "crop_size": 300}, "cannot cut 300 pixels from 224"),
    ],
)
def test_what_cannot_be_followed_is_one_clear_error(tmp_path, change, reason):
    with pytest.raises(DataError, match=reason) as caught:
        read(tmp_path, VIT | change)
    assert "preprocessor_config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["size", "resample", "image_mean", "image_std"])
def test_nothing_that_matters_is_guessed(tmp_path, missing):
    rules = {key: value for key, value in VIT.items() if key != missing}
    with pytest.raises(DataError, match=f"it does not say '{missing}'"):
        read(tmp_path, rules)
