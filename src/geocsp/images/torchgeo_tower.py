"""Networks for satellite bands: SSL4EO-S12 and what else TorchGeo publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geocsp.errors import DataError
from geocsp.images.framing import Framing
from geocsp.images.libraries import library
from geocsp.images.moco import HEADS, PREFIXES
from geocsp.images.module_tower import ModuleEncoder, per_channel
from geocsp.images.resnet import FIRST, RESNETS, ResNet
from geocsp.images.timm_tower import resize_input
from geocsp.images.weights import below, load_tensors, read_tensors, url_file
from geocsp.registry import register

REFLECTANCE = 10_000.0
"""Sentinel-2 stores reflectance times this."""
_SENTINEL2_BANDS = 13
_RGB, _WHITE = 3, 255
_TRAINED_AT = 224
_PATCHES = "patch_embed.proj.weight"


class _Preset(NamedTuple):
    """How weights take images: numbers as they are in the raster."""

    pixels: int = _TRAINED_AT
    resize: int | None = 256
    mean: tuple[float, ...] | float = 0.0
    deviation: tuple[float, ...] | float = REFLECTANCE


@register("image", "torchgeo")
class TorchGeoEncoder(ModuleEncoder):
    """A ResNet or ViT for satellite bands: 13 of Sentinel-2, 2 of Sentinel-1, Landsat's.

    Reads the files of SSL4EO-S12 (Wang et al., GRSM 2023; MoCo, DINO and MAE) and those that
    TorchGeo (Stewart et al., 2022) publishes. Rasters are taken as they are stored; reflectance is
    divided by 10,000, or as TorchGeo says of its weights; weights for RGB in [0, 255] take photos.
    The whole tile is squeezed into the square, also where TorchGeo cuts without scaling. Local
    files of a ResNet need no other library, those of a ViT need timm, and TorchGeo's own weights
    need torchgeo.

    Args:
        architecture: "resnet18", "resnet50", "vit_small_patch16_224" or another ResNet or ViT, also
            with the name of TorchGeo's weights ("resnet50/SENTINEL2_ALL_MOCO").
        weights: local file; by default TorchGeo's weights of that name.
        untrained: start at random instead.
        allow_download: download TorchGeo's weights if they are not in the cache of ``torch.hub``.
        channels: of an untrained network, 13 by default; otherwise the weights say.
        pixels: width and height of the network input; by default as the weights were trained.

    Raises:
        MissingExtraError: torchgeo or timm is needed and not installed.
        DataError: no such network, or its weights are not there or do not fit.
    """

    def __init__(
        self,
        architecture: str,
        *,
        weights: str | Path | None = None,
        untrained: bool = False,
        allow_download: bool = False,
        channels: int | None = None,
        pixels: int | None = None,
    ) -> None:
        name, _, tag = architecture.partition("/")
        published = _published(name, tag) if tag else None
        preset = _Preset() if published is None else _read_transforms(published, architecture)
        if untrained:
            taken = channels or _SENTINEL2_BANDS
            network = _network(name, taken)
        else:
            file = _file(weights, published, architecture, allow_download)
            network, taken = _trained(name, file)
            if channels not in (None, taken):
                raise DataError(f"{file} takes {taken} channels, not {channels}")
        resize_input(network, pixels)
        deviation = per_channel(preset.deviation, taken).tolist()
        framing = Framing(
            preset.pixels,
            resize=preset.resize,
            squeeze=True,
            channels=taken,
            as_bytes=taken == _RGB and max(deviation) <= _WHITE,
        )
        super().__init__(
            network,
            framing=framing.at(pixels),
            mean=preset.mean,
            deviation=deviation,
            architecture=f"torchgeo {name}",
        )


def _file(weights: str | Path | None, published: Any, architecture: str, allow: bool) -> Path:
    if weights is not None:
        return Path(weights)
    if published is None:
        raise DataError(
            f"torchgeo:{architecture} needs weights: a local file, or TorchGeo's by name as in "
            "resnet50/SENTINEL2_ALL_MOCO"
        )
    return url_file(published.url, allow_download=allow)


def _trained(name: str, file: Path) -> tuple[nn.Module, int]:
    """The network with the tensors of a file, and how many channels it takes."""
    tensors = below(read_tensors(file), PREFIXES)
    first: Tensor | None = tensors.get(FIRST if name in RESNETS else _PATCHES)
    if first is None or first.ndim != 4:
        raise DataError(f"{file} holds no {name}")
    channels = first.shape[1]
    network = _network(name, channels)
    load_tensors(network, tensors, str(file), unused=HEADS, optional=("norm.", "fc_norm."))
    return network, channels


def _network(name: str, channels: int) -> nn.Module:
    if name in RESNETS:
        return ResNet(RESNETS[name]._replace(channels=channels))
    timm = library("timm", "vision")
    if not name.startswith("vit_") or not timm.is_model(name):
        raise DataError(f"no network {name!r}; there are {', '.join(RESNETS)} and timm's vit_...")
    network: nn.Module = timm.create_model(
        name, num_classes=0, in_chans=channels, img_size=_TRAINED_AT
    )
    return network


def _published(name: str, tag: str) -> Any:
    """TorchGeo's entry for weights."""
    models = library("torchgeo.models", "torchgeo")
    try:
        choices = models.get_model_weights(name)
    except (ValueError, KeyError) as error:
        raise DataError(f"TorchGeo has no weights for {name!r}") from error
    if tag not in choices.__members__:
        raise DataError(f"{name} has no weights {tag!r}; it has {', '.join(choices.__members__)}")
    return choices[tag]


def _read_transforms(published: Any, architecture: str) -> _Preset:
    """What TorchGeo's transforms do: sizes from their layers, normalisation from a trial."""
    layers = {type(layer).__name__: layer for layer in published.transforms}
    sizes = {name: layer.size for name, layer in layers.items() if hasattr(layer, "size")}
    channels = published.meta["in_chans"]
    resize, crop = sizes.get("Resize"), sizes.get("CenterCrop")
    pixels = (crop or resize or [_TRAINED_AT])[0]
    dark, bright, brighter = (
        published.transforms(torch.full((1, channels, pixels, pixels), value))[0, :, 0, 0]
        for value in (0.0, REFLECTANCE, 2 * REFLECTANCE)
    )
    if not torch.allclose(brighter - bright, bright - dark, rtol=1e-3):
        raise DataError(f"{architecture} does more than normalise its images; use ModuleEncoder")
    deviation = REFLECTANCE / (bright - dark)
    return _Preset(
        pixels,
        resize[0] if resize and crop else None,
        tuple((0 - dark * deviation).tolist()),
        tuple(deviation.tolist()),
    )
