"""Image encoders by one text, as on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.registry import available, create

_SUBJECTS = {
    "moco": "weights",
    "onnx": "weights",
    "open-clip": "architecture",
    "timm": "architecture",
    "torchgeo": "architecture",
    "torchvision": "architecture",
    "transformers": "source",
}
"""What stands after the colon: the setting of that family."""


def parse_encoder(
    text: str,
    *,
    weights: str | Path | None = None,
    allow_download: bool = False,
    channels: int | None = None,
    pixels: int | None = None,
) -> ImageEncoder:
    """Build an image encoder named as "family:network".

    "efficientnet-lite0", "timm:resnet50", "torchvision:resnet50",
    "transformers:facebook/dinov2-small" or a folder, "open-clip:ViT-B-32/laion2b_s34b_b79k",
    "torchgeo:resnet50/SENTINEL2_ALL_MOCO", "moco:checkpoint.pth.tar", "onnx:model.onnx".

    Args:
        text: family and network.
        weights: local file of weights for the network.
        allow_download: download published weights that are not on this computer.
        channels: number of channels; by default those of the weights.
        pixels: width and height of the network input; by default as the weights were trained.

    Raises:
        DataError: no such family or network, a setting that it does not take, or its weights are
            not there or do not fit.
        MissingExtraError: the library of that family is not installed.
    """
    family, _, subject = text.partition(":")
    settings: dict[str, Any] = {"weights": weights, "channels": channels, "pixels": pixels}
    settings = {name: value for name, value in settings.items() if value is not None}
    if family in _SUBJECTS:
        setting = _SUBJECTS[family]
        if not subject or setting in settings:
            what = "file" if setting == "weights" else "network"
            raise DataError(f"an encoder of {family} is named with one {what}: {family}:{what}")
        settings[setting] = subject
        if setting != "weights":
            settings["allow_download"] = allow_download
    elif subject or family not in available("image"):
        known = ", ".join(f"{n}:..." if n in _SUBJECTS else n for n in available("image"))
        raise DataError(f"no image encoder {text!r}; there are {known}")
    try:
        encoder: ImageEncoder = create("image", family, **settings)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(str(error)) from error
    return encoder
