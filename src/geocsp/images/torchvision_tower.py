"""Networks of torchvision as image encoders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from geocsp.errors import DataError
from geocsp.images.channels import adapt_channels, repeat_colours
from geocsp.images.framing import Framing, Resampling
from geocsp.images.libraries import library
from geocsp.images.module_tower import ModuleEncoder
from geocsp.images.weights import load_tensors, read_tensors, url_file
from geocsp.registry import register

_INCEPTION = {"transform_input": True, "aux_logits": True, "init_weights": False}
_SETTINGS: Mapping[str, Mapping[str, bool]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}
"""What torchvision sets where it loads the published weights itself."""
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


@register("image", "torchvision")
class TorchvisionEncoder(ModuleEncoder):
    """A classification network of torchvision without its classifier.

    The features are what its last layer takes: 2048 for ResNet-50. How images are framed and
    normalised, torchvision's description of the weights says.

    Args:
        architecture: name in torchvision ("resnet50"), or with the name of the weights
            ("resnet50/IMAGENET1K_V1"); by default torchvision's default weights.
        weights: local file; by default the published weights.
        untrained: start at random instead.
        allow_download: download published weights that are not in the cache of ``torch.hub``.
        channels: other than RGB: see :func:`geocsp.images.channels.adapt_channels`.
        pixels: width and height of the network input; by default as the weights were trained.

    Raises:
        MissingExtraError: torchvision is not installed.
        DataError: it does not fit torch, or no such network, or its weights are not there or do
            not fit.
    """

    def __init__(
        self,
        architecture: str,
        *,
        weights: str | Path | None = None,
        untrained: bool = False,
        allow_download: bool = False,
        channels: int = 3,
        pixels: int | None = None,
    ) -> None:
        models = library("torchvision.models", "vision")
        name, _, tag = architecture.partition("/")
        if name not in models.list_models(module=models):
            raise DataError(f"torchvision has no classification network {name!r}")
        published = _weights(models.get_model_weights(name), name, tag or "DEFAULT")
        network = models.get_model(name, weights=None, **_SETTINGS.get(name, {}))
        classifier = remove_classifier(network)
        if not untrained:
            file = weights or url_file(published.url, allow_download=allow_download)
            tensors = read_tensors(Path(file))
            renamed = {_OLD_DENSENET.sub(r"\1\2.", key): value for key, value in tensors.items()}
            load_tensors(network, renamed, str(file), unused=(f"{classifier}.",))
        adapt_channels(network, channels)
        preset = published.transforms()
        super().__init__(
            network,
            framing=_framing(preset, channels).at(pixels),
            mean=repeat_colours([255 * value for value in preset.mean], channels),
            deviation=repeat_colours([255 * value for value in preset.std], channels),
            architecture=f"torchvision {name}",
        )


def remove_classifier(network: nn.Module) -> str:
    """Let the last linear layer or convolution hand its input on; returns its name."""
    layers = (nn.Linear, nn.Conv2d)
    name: str = [name for name, part in network.named_modules() if isinstance(part, layers)][-1]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return name


def _weights(choices: Any, name: str, tag: str) -> Any:
    if tag not in choices.__members__:
        raise DataError(f"{name} has no weights {tag!r}; it has {', '.join(choices.__members__)}")
    return choices[tag]


def _framing(preset: Any, channels: int) -> Framing:
    return Framing(
        preset.crop_size[0],
        resize=preset.resize_size[0],
        resampling=Resampling(preset.interpolation.value),
        channels=channels,
    )
