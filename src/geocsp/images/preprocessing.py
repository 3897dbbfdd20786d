"""How a network of transformers takes images, read from its ``preprocessor_config.json``.

The file is read as plain data: the classes it names belong to transformers, several need
torchvision, and none is needed to know which square of pixels they make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from geocsp.errors import DataError
from geocsp.images.framing import Framing, Resampling
from geocsp.images.weights import read_json

FILES = ("preprocessor_config.json", "processor_config.json")
"""Where folders of transformers keep it."""
_SHORTEST_EDGE = (
    "bit", "chineseclip", "clip", "convnext", "levit", "mobilenetv1", "mobilenetv2", "mobilevit",
    "poolformer",
)  # fmt: skip
"""Families where a lone number is the size of the shorter side; elsewhere it is both sides."""
_CROP_SHARES = {"convnext": 224 / 256, "levit": 224 / 256, "poolformer": 0.9}
"""Families that scale to the size divided by this (``crop_pct`` in the file) before they cut."""
_AS_THEY_ARE = ("mobilevit",)
"""Families that do not normalise unless the file says so."""
_NO_CROP_FROM = 384
"""From this size on, ConvNeXT squeezes the whole image into the square."""


@dataclass(frozen=True)
class Preprocessing:
    """The square and the normalisation.

    Attributes:
        framing: the square of pixels, RGB.
        mean: of red, green and blue, in [0, 255].
        deviation: likewise.
        bgr: the network takes blue first.
    """

    framing: Framing
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    bgr: bool = False


def read_preprocessing(path: Path) -> Preprocessing:
    """Read a ``preprocessor_config.json`` or ``processor_config.json``.

    Raises:
        DataError: it is damaged, or frames images in a way for which there is no ``Framing``.
    """
    content = read_json(path)
    rules = content.get("image_processor", content)
    if not isinstance(rules, dict):
        raise DataError(f"{path} describes no processing of images")
    try:
        mean, deviation = _normalisation(rules)
        bgr = bool(rules.get("do_flip_channel_order", False))
        return Preprocessing(_framing(rules), mean, deviation, bgr)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        missing = f"it does not say {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"cannot follow {path}: {missing}") from error


def _framing(rules: Mapping[str, Any]) -> Framing:
    if not rules.get("do_resize", True):
        raise ValueError("images are not scaled, so they have no common size")
    if rules.get("do_pad", False):
        raise ValueError("images are padded, for which there is no Framing")
    resampling = _resampling(rules["resample"])
    family = _family(rules)
    short, both = _size(rules["size"], family)
    side = short or both
    pixels = _crop(rules, side) if rules.get("do_center_crop", False) else side
    if family == "convnext" and side >= _NO_CROP_FROM:
        return Framing(side, resampling=resampling)
    if family in _CROP_SHARES and short is not None:
        side = int(side / float(rules.get("crop_pct") or _CROP_SHARES[family]))
    return Framing(pixels, resize=side, squeeze=short is None, resampling=resampling)


def _normalisation(rules: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels in [0, 255]."""
    scale = float(rules.get("rescale_factor", 1 / 255)) if rules.get("do_rescale", True) else 1.0
    if not rules.get("do_normalize", _family(rules) not in _AS_THEY_ARE):
        return (0.0,) * 3, (1 / scale,) * 3
    mean, deviation = _colours(rules["image_mean"]), _colours(rules["image_std"])
    if rules.get("include_top", False):  # EfficientNet divides twice
        deviation = tuple(value * value for value in deviation)
    if rules.get("rescale_offset", False):  # and may take 1 from the scaled pixels
        mean = tuple(value + 1 for value in mean)
    return tuple(v / scale for v in mean), tuple(v / scale for v in deviation)


def _colours(values: Any) -> tuple[float, ...]:
    numbers = [float(value) for value in (values if isinstance(values, list) else [values] * 3)]
    if len(numbers) != 3:
        raise ValueError(f"{len(numbers)} values where red, green and blue are normalised")
    return tuple(numbers)


def _resampling(number: Any) -> Resampling:
    name = Image.Resampling(number).name.lower()
    if name not in [*Resampling]:
        raise ValueError(f"images are scaled by {name}, for which there is no Framing")
    return Resampling(name)


def _family(rules: Mapping[str, Any]) -> str:
    name = str(rules.get("image_processor_type") or rules.get("feature_extractor_type") or "")
    for ending in ("Pil", "Fast", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(ending)
    return name.lower()


def _size(size: Any, family: str) -> tuple[int | None, int]:
    """The shorter side after scaling, or None and both sides."""
    if isinstance(size, int):
        return (size if family in _SHORTEST_EDGE else None), size
    if set(size) == {"shortest_edge"}:
        return int(size["shortest_edge"]), int(size["shortest_edge"])
    if set(size) == {"height", "width"}:
        return None, _side(size)
    raise ValueError(f"size is {size}, for which there is no Framing")


def _crop(rules: Mapping[str, Any], default: int) -> int:
    size = rules.get("crop_size") or default
    if isinstance(size, int):
        return size
    return int(size["shortest_edge"]) if "shortest_edge" in size else _side(size)


def _side(size: Mapping[str, Any]) -> int:
    height, width = int(size["height"]), int(size["width"])
    if height != width:
        raise ValueError(f"images become {height} x {width}, which is no square")
    return width
