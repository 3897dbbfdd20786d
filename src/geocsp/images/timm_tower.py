"""Networks of timm as image encoders."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from geocsp.errors import DataError
from geocsp.images.channels import adapt_channels, repeat_colours
from geocsp.images.framing import Framing, Resampling
from geocsp.images.libraries import library, one_line
from geocsp.images.module_tower import ModuleEncoder
from geocsp.images.weights import hub_file, read_json, read_tensors, source_file, url_file
from geocsp.registry import register

_FILES = ("model.safetensors", "pytorch_model.bin")
_ELSEWHERE = ("hf-hub:", "local-dir:")
_CLASSIFIERS = ("head.fc", "head", "fc", "classifier")


@register("image", "timm")
class TimmEncoder(ModuleEncoder):
    """A network of timm (Wightman, https://github.com/huggingface/pytorch-image-models).

    The features are those before the classifier. How images are framed and normalised, timm's
    configuration of the weights says.

    Args:
        architecture: name in timm with or without a tag ("resnet50", "resnet50.a1_in1k"), or
            "hf-hub:organisation/name" or "local-dir:folder" with timm's ``config.json``.
        weights: local file; by default the published weights.
        untrained: start at random instead.
        allow_download: download published weights that are not in the local cache.
        channels: other than those of the weights: see
            :func:`geocsp.images.channels.adapt_channels`.
        pixels: width and height of the network input; by default as the weights were trained.

    Raises:
        MissingExtraError: timm is not installed.
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
        timm = library("timm", "vision")
        described = _described(timm, architecture, allow_download)
        if untrained:
            network = described.build(timm, architecture, num_classes=0)
        else:
            file = Path(weights) if weights else described.weights(architecture, allow_download)
            network = _trained(timm, described, file)
        stored = network.pretrained_cfg["input_size"][0]
        taken = channels or stored
        if taken != stored:
            adapt_channels(network, taken)
        resize_input(network, pixels)
        data = timm.data.resolve_data_config({}, pretrained_cfg=described.published)
        super().__init__(
            network,
            framing=_framing(data, taken, architecture).at(pixels),
            mean=repeat_colours([255 * value for value in data["mean"]], taken),
            deviation=repeat_colours([255 * value for value in data["std"]], taken),
            architecture=f"timm {described.name} {described.settings}",
        )


def resize_input(network: nn.Module, pixels: int | None) -> None:
    """Fit a transformer's table of positions to other sizes of images; other networks fit any."""
    change: Any = getattr(network, "set_input_size", None)
    if pixels is not None and change is not None:
        change(img_size=(pixels, pixels))


@dataclass(frozen=True)
class _Described:
    """Name in timm, what is known of the weights, and settings beside the name."""

    name: str
    published: dict[str, Any]
    settings: dict[str, Any]

    def weights(self, architecture: str, allow_download: bool) -> Path:
        """The file of the published weights."""
        if architecture.startswith(_ELSEWHERE):
            return source_file(architecture, _FILES, allow_download=allow_download)
        if repository := self.published.get("hf_hub_id"):
            file = self.published.get("hf_hub_filename")
            safe = file and file.replace("pytorch_model.bin", "model.safetensors")
            names = dict.fromkeys((safe, file)) if file else _FILES
            return hub_file(repository, list(names), allow_download=allow_download)
        if url := self.published.get("url"):
            return url_file(url, allow_download=allow_download)
        raise DataError(f"timm knows no weights for {architecture}; name a local file of weights")

    def build(self, timm: Any, source: str, **settings: Any) -> Any:
        """The network; settings of a file may be anything and fail in any way."""
        settings = self.settings | settings
        try:
            return timm.create_model(self.name, pretrained_cfg=self.published, **settings)
        except Exception as error:
            raise DataError(f"{source} does not fit {self.name}: {one_line(error)}") from error


def _described(timm: Any, architecture: str, allow_download: bool) -> _Described:
    if not architecture.startswith(_ELSEWHERE):
        try:
            published = timm.models.get_pretrained_cfg(architecture, False).to_dict()
        except (RuntimeError, AttributeError) as error:
            raise DataError(f"timm {timm.__version__} has no network {architecture!r}") from error
        return _Described(architecture, published, {})
    file = source_file(architecture, ("config.json",), allow_download=allow_download)
    config = read_json(file)
    name, published, settings = (
        config.get(key) or {} for key in ("architecture", "pretrained_cfg", "model_args")
    )
    if not timm.is_model(str(name)) or not isinstance(published, dict) or not published:
        raise DataError(f"{file} describes no network of timm")
    own = inspect.signature(timm.create_model).parameters  # what to load is not the file's to say
    settings = dict(settings) if isinstance(settings, dict) else {}
    return _Described(str(name), published, {k: v for k, v in settings.items() if k not in own})


def _trained(timm: Any, described: _Described, file: Path) -> Any:
    """The network with all of the tensors of a file in it, and then without its classifier."""
    tensors, published = read_tensors(file), described.published
    first = published.get("first_conv")
    weight = tensors.get(f"{first}.weight") if isinstance(first, str) else None
    size = published.get("input_size", (3, 224, 224))
    channels = size[0] if weight is None else weight.shape[1]
    classes = _classes(published.get("classifier"), tensors)
    overlay = {
        "state_dict": tensors,
        "source": "",
        "custom_load": False,
        "num_classes": classes,
        "label_offset": 0,
        "input_size": (channels, *size[1:]),
    }
    network = described.build(
        timm,
        str(file),
        pretrained=True,
        num_classes=classes,
        in_chans=channels,
        pretrained_cfg_overlay=overlay,
    )
    network.pretrained_cfg.pop("state_dict", None)  # would be kept in memory
    network.reset_classifier(0)
    return network


def _classes(classifier: Any, tensors: dict[str, Tensor]) -> int:
    """How many classes the tensors know; 0 where they have no classifier."""
    named = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    found = [tensors[f"{n}.weight"] for n in (*named, *_CLASSIFIERS) if f"{n}.weight" in tensors]
    return found[0].shape[0] if found else 0


def _framing(data: Mapping[str, Any], channels: int, architecture: str) -> Framing:
    _, height, width = data["input_size"]
    if (
        height != width
        or data["crop_mode"] == "border"
        or data["interpolation"] not in [*Resampling]
    ):
        raise DataError(
            f"{architecture} frames images as {data['crop_mode']} {height} x {width} "
            f"{data['interpolation']}, for which there is no Framing; use ModuleEncoder"
        )
    return Framing(
        width,
        resize=math.floor(width / data["crop_pct"]),
        squeeze=data["crop_mode"] == "squash",
        resampling=Resampling(data["interpolation"]),
        channels=channels,
    )
