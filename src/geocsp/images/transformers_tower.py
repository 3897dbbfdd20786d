"""Vision networks of transformers as image encoders."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from geocsp.errors import DataError
from geocsp.images.channels import adapt_channels, repeat_colours
from geocsp.images.libraries import one_line, transformers_library
from geocsp.images.module_tower import ModuleEncoder, Pooling, pooled
from geocsp.images.preprocessing import FILES, Preprocessing, read_preprocessing
from geocsp.images.weights import read_json, read_tensors, source_file
from geocsp.registry import register

_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_SUMMARY_TOKENS = ("cls_token", "class_embedding")
_EXTRA_TOKENS = (*_SUMMARY_TOKENS, "distillation_token", "register_tokens")
_POOLER = "pooler."
_OF_BERT = "pooler.dense."
"""A layer over the first token that training on images leaves as it was."""
_OPTIONAL = (_POOLER, "embeddings.mask_token")
"""Starts of names that may be missing in a file: features need not go through them."""


@register("image", "transformers")
class TransformersEncoder(ModuleEncoder):
    """A vision network of transformers (Wolf et al., EMNLP 2020): any that takes ``pixel_values``.

    ResNet, ConvNeXt, ViT, DINOv2, DINOv3, Swin and so on; of networks for images and texts (CLIP,
    SigLIP) the image tower. How images are framed and normalised, ``preprocessor_config.json``
    says; torchvision is not needed.

    What the features are by default: the embedding shared with texts (CLIP); what the network
    itself calls the summary of an image (``pooler_output``: SigLIP, DINOv2, DINOv3, Swin, ResNet,
    ConvNeXt); the first token where the summary is an untrained layer or missing (ViT, DeiT, DINO,
    MAE); the mean over patches or space where there is no such token (I-JEPA, SegFormer).

    Args:
        source: folder of ``save_pretrained``, or "organisation/name" on the Hugging Face hub.
        weights: local file of other weights for the network of ``source``.
        untrained: start at random instead; ``source`` then needs no weights.
        allow_download: download what is not in the local cache.
        pooling: another choice of features.
        channels: other than RGB: see :func:`geocsp.images.channels.adapt_channels`.
        pixels: width and height of the network input; by default as ``source`` says.

    Raises:
        MissingExtraError: transformers is not installed.
        DataError: it or the torchvision beside it is broken; the network or its weights are not
            there, do not fit or are no vision network; images are framed as ``Framing`` cannot.
    """

    def __init__(
        self,
        source: str,
        *,
        weights: str | Path | None = None,
        untrained: bool = False,
        allow_download: bool = False,
        pooling: Pooling | None = None,
        channels: int = 3,
        pixels: int | None = None,
    ) -> None:
        transformers = transformers_library()
        folder, preset = _fetch(source, allow_download, needs_weights=not (weights or untrained))
        tensors = None if weights is None else read_tensors(Path(weights))
        origin = str(weights or folder)
        with _silence(transformers):
            network, unset = _load(transformers, folder, origin, tensors, random=untrained)
        summarises = not any(name.startswith(_POOLER) for name in unset)
        if pooling is Pooling.POOLER and not summarises:
            raise DataError(f"the weights in {origin} have no pooler; choose another pooling")
        adapt_channels(network, channels)
        framing = replace(preset.framing.at(pixels), channels=channels)
        resized = framing.pixels != getattr(network.config, "image_size", None)
        tower = _Tower(network, pooling, summarises=summarises, resized=resized, bgr=preset.bgr)
        super().__init__(
            tower,
            framing=framing,
            mean=repeat_colours(preset.mean, channels),
            deviation=repeat_colours(preset.deviation, channels),
            architecture=f"transformers {_digest(network.config)} {pooling}",
        )


class _Tower(nn.Module):
    """A network of transformers that gives one vector per image."""

    def __init__(
        self,
        network: nn.Module,
        pooling: Pooling | None,
        *,
        summarises: bool,
        resized: bool,
        bgr: bool,
    ) -> None:
        super().__init__()
        names = [name for name, _ in network.named_parameters()]
        takes = inspect.signature(network.forward).parameters
        resizes = resized and "interpolate_pos_encoding" in takes
        self.network = network
        self.pooling = pooling
        self.summarises = summarises and not any(name.startswith(_OF_BERT) for name in names)
        self.begins = any(name.endswith(_SUMMARY_TOKENS) for name in names)
        self.extra_tokens = _count_extra_tokens(network)
        self.settings = {"interpolate_pos_encoding": True} if resizes else {}
        self.bgr = bgr

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.flip(1) if self.bgr else image
        output = self.network(pixel_values=pixels, **self.settings)
        pooling = self.pooling or self._default(output)
        summary, states = _summary(output), output.last_hidden_state
        if pooling is Pooling.POOLER and summary is not None:
            return pooled(summary, pooling)
        if pooling is Pooling.POOLER or (pooling is Pooling.CLS and not self.begins):
            kind = type(self.network).__name__
            raise DataError(f"{kind} has no {pooling} features; choose another pooling")
        if pooling is Pooling.MEAN and states.ndim == 3:
            states = states[:, self.extra_tokens :]
        return pooled(states, pooling)

    def _default(self, output: Any) -> Pooling:
        if self.summarises and _summary(output) is not None:
            return Pooling.POOLER
        return Pooling.CLS if self.begins else Pooling.MEAN


def _summary(output: Any) -> Tensor | None:
    """The embedding shared with texts, or the network's own summary of an image."""
    embedding: Tensor | None = getattr(output, "image_embeds", None)
    return getattr(output, "pooler_output", None) if embedding is None else embedding


def _count_extra_tokens(network: nn.Module) -> int:
    """How many tokens stand before those of the patches."""
    return sum(
        value.shape[-2] if value.ndim > 1 else 1
        for name, value in network.named_parameters()
        if name.endswith(_EXTRA_TOKENS)
    )


def _fetch(source: str, allow: bool, *, needs_weights: bool) -> tuple[Path, Preprocessing]:
    """The folder with all files of a network, and how it takes images."""
    folder = source_file(source, ("config.json",), allow_download=allow).parent
    preset = read_preprocessing(source_file(source, FILES, allow_download=allow))
    if needs_weights:
        weights = source_file(source, _WEIGHTS, allow_download=allow)
        if weights.suffix == ".json":
            shards = read_json(weights).get("weight_map")
            values = shards.values() if isinstance(shards, dict) else ()
            for name in sorted({str(value) for value in values}):
                source_file(source, (name,), allow_download=allow)
    return folder, preset


def _load(
    transformers: Any,
    folder: Path,
    origin: str,
    tensors: dict[str, Tensor] | None,
    *,
    random: bool,
) -> tuple[Any, set[str]]:
    """The vision network of a folder, and what of it the tensors, or its own files, do not set."""
    local = {"local_files_only": True, "trust_remote_code": False}
    report: dict[str, Any] = {}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **local)
        kind, config = _image_tower(transformers, config)
        if random:
            network = kind(config)
        elif tensors is not None:
            given = {"config": config, "state_dict": tensors}
            network, report = kind.from_pretrained(None, output_loading_info=True, **given)
        else:
            network, report = kind.from_pretrained(folder, output_loading_info=True, **local)
    except Exception as error:  # a damaged folder can fail in any way
        raise DataError(f"cannot load {origin}: {one_line(error)}") from error
    if getattr(network, "main_input_name", None) != "pixel_values":
        raise DataError(f"{folder} holds {type(network).__name__}, which takes no images")
    named = (name for kind in ("missing_keys", "mismatched_keys") for name in report.get(kind, ()))
    unset = {str(name).removeprefix(f"{network.base_model_prefix}.") for name in named}
    faults = [name for name in sorted(unset) if not name.startswith(_OPTIONAL)]
    if faults:
        raise DataError(f"the weights in {origin} do not fit; they lack {', '.join(faults[:4])}")
    if hasattr(network.config, "mask_ratio"):
        network.config.mask_ratio = 0.0  # masked autoencoders hide no patches from us
    return network.float(), unset


def _image_tower(transformers: Any, config: Any) -> tuple[Any, Any]:
    """Class and settings of a network, or of the image tower of one for images and texts."""
    auto = transformers.models.auto.modeling_auto
    vision = getattr(config, "vision_config", None)
    stated = (getattr(config, "architectures", None) or [""])[0]
    if vision is None and stated.endswith("VisionModelWithProjection"):
        return getattr(transformers, stated), config
    family = str(auto.MODEL_MAPPING_NAMES.get(config.model_type)).removesuffix("Model")
    for ending in ("VisionModelWithProjection", "VisionModel"):
        if vision is not None and hasattr(transformers, family + ending):
            return getattr(transformers, family + ending), vision
    return auto.MODEL_MAPPING[type(config)], config


def _digest(config: Any) -> str:
    """Names a network by its settings."""
    settings = config.to_diff_dict()
    for name in ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"):
        settings.pop(name, None)
    content = json.dumps(settings, sort_keys=True, default=str)
    return f"{config.model_type} {hashlib.sha256(content.encode()).hexdigest()[:16]}"


@contextmanager
def _silence(transformers: Any) -> Iterator[None]:
    """No reports and progress bars: what matters of them becomes an error."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
