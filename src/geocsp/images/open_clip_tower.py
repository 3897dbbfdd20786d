"""Image towers of open_clip: CLIP, SigLIP, CoCa and others trained on images and texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from geocsp.errors import DataError
from geocsp.images.channels import adapt_channels, repeat_colours
from geocsp.images.framing import Framing, Resampling
from geocsp.images.libraries import library, one_line
from geocsp.images.module_tower import ModuleEncoder
from geocsp.images.weights import (
    hub_file,
    load_tensors,
    read_json,
    read_tensors,
    source_file,
    url_file,
)
from geocsp.registry import register

_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1}
"""The smallest text tower that open_clip builds: it is thrown away."""
_TOWER = "visual."


@dataclass(frozen=True)
class _Described:
    """An open_clip model: its settings, how it takes images, where its weights are."""

    settings: dict[str, Any]
    preprocessing: Mapping[str, Any]
    repository: str | None = None
    file: str | None = None
    url: str | None = None

    def weights(self, allow_download: bool) -> Path:
        if self.repository is None and self.url is not None:
            return url_file(self.url, allow_download=allow_download)
        if self.repository is None:
            raise DataError("name the published weights, as in ViT-B-32/laion2b_s34b_b79k")
        if self.file is None:
            return source_file(self.repository, _FILES, allow_download=allow_download)
        return hub_file(self.repository, (self.file,), allow_download=allow_download)


@register("image", "open-clip")
class OpenClipEncoder(ModuleEncoder):
    """The image tower of an open_clip model (Ilharco et al., 2021).

    The features are those of ``encode_image`` before they are scaled to length 1. Only the image
    tower is built and read. Files of the original CLIP that hold TorchScript are code and are
    refused.

    Args:
        architecture: name in open_clip and of the weights ("ViT-B-32/laion2b_s34b_b79k"), or
            "hf-hub:organisation/name" or "local-dir:folder" with an ``open_clip_config.json``.
        weights: local file of the whole model; by default the published weights.
        untrained: start at random instead.
        allow_download: download published weights that are not in the local cache.
        channels: other than RGB: see :func:`geocsp.images.channels.adapt_channels`.
        pixels: width and height of the network input; by default as the architecture says.

    Raises:
        MissingExtraError: open_clip is not installed.
        DataError: no such model, or its weights are not there or do not fit.
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
        open_clip = library("open_clip", "vision")
        described = _described(open_clip, architecture, allow_download)
        if pixels is not None:
            described.settings["vision_cfg"]["image_size"] = pixels
        network = _build(open_clip, described.settings, architecture)
        if not untrained:
            file = Path(weights) if weights else described.weights(allow_download)
            _load(open_clip, network, file)
        tower = network.visual
        adapt_channels(tower, channels)
        preset = described.preprocessing
        super().__init__(
            tower,
            framing=_framing(tower, preset, channels, architecture),
            mean=repeat_colours([255 * value for value in preset["mean"]], channels),
            deviation=repeat_colours([255 * value for value in preset["std"]], channels),
            architecture=f"open_clip {architecture}",
        )


def _described(open_clip: Any, architecture: str, allow_download: bool) -> _Described:
    defaults = vars(open_clip.transform.PreprocessCfg())
    if architecture.startswith(("hf-hub:", "local-dir:")):
        names = ("open_clip_config.json",)
        config = read_json(source_file(architecture, names, allow_download=allow_download))
        settings, preset = config.get("model_cfg"), config.get("preprocess_cfg", {})
        if not isinstance(settings, dict) or not isinstance(preset, dict):
            raise DataError(f"{architecture}: {names[0]} describes no model of open_clip")
        return _Described(settings, defaults | preset, repository=architecture)
    name, _, tag = architecture.partition("/")
    settings = open_clip.get_model_config(name)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if settings is None:
        raise DataError(f"open_clip has no model {name!r}")
    if tag and tag not in tags:
        raise DataError(f"{name} has no weights {tag!r}; it has {', '.join(tags) or 'none'}")
    # without a name of weights, images are taken as the first known weights take them
    published = open_clip.get_pretrained_cfg(name, tag or (tags or [""])[0])
    preset = {key: value for key, value in published.items() if key in defaults}
    if tag and published.get("quick_gelu"):
        settings["quick_gelu"] = True
    repository, _, file = (published.get("hf_hub") or "").rpartition("/")
    return _Described(
        settings,
        defaults | preset,
        repository=(tag and repository) or None,
        file=file or None,
        url=(tag and published.get("url")) or None,
    )


def _build(open_clip: Any, settings: Mapping[str, Any], architecture: str) -> Any:
    try:
        vision = dict(settings["vision_cfg"]) | {"timm_model_pretrained": False}
        if ":" in vision.get("timm_model_name", ""):
            raise ValueError("its image tower is in yet another place")
        return open_clip.CLIP(
            embed_dim=settings["embed_dim"],
            vision_cfg=vision,
            text_cfg=_NO_TEXT,
            quick_gelu=settings.get("quick_gelu", False),
        )
    except Exception as error:  # settings come from a file and may be anything
        raise DataError(f"cannot build {architecture}: {one_line(error)}") from error


def _load(open_clip: Any, network: nn.Module, file: Path) -> None:
    """Read the image tower alone, after open_clip has renamed what others have published."""
    tensors = read_tensors(file)
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    try:
        renamed = open_clip.convert.convert_state_dict(network, tensors)
        tower = {name: tensor for name, tensor in renamed.items() if name.startswith(_TOWER)}
        open_clip.model.resize_pos_embed(tower, network)
    except (RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"{file} does not fit: {one_line(error)}") from error
    load_tensors(
        network.get_submodule(_TOWER.rstrip(".")),
        {name.removeprefix(_TOWER): tensor for name, tensor in tower.items()},
        str(file),
    )


def _framing(tower: Any, preset: Mapping[str, Any], channels: int, architecture: str) -> Framing:
    size = tower.image_size
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    mode, resampling = preset["resize_mode"], preset["interpolation"]
    if height != width or mode not in ("shortest", "squash") or resampling not in [*Resampling]:
        raise DataError(
            f"{architecture} frames images as {mode} {height} x {width} {resampling}, for which "
            "there is no Framing; use ModuleEncoder"
        )
    return Framing(
        width,
        resize=width if mode == "shortest" else None,
        resampling=Resampling(resampling),
        channels=channels,
    )
