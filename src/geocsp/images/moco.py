"""ResNets out of Momentum Contrast checkpoints, as of fMoW's geography-aware pre-training."""

from __future__ import annotations

from pathlib import Path

from geocsp.images.channels import adapt_channels, repeat_colours
from geocsp.images.framing import Framing
from geocsp.images.module_tower import IMAGENET_DEVIATION, IMAGENET_MEAN, ModuleEncoder
from geocsp.images.resnet import ResNet, ResNetShape
from geocsp.images.weights import below, load_tensors, read_tensors
from geocsp.registry import register

HEADS = ("fc.", "head.", "projector.", "predictor.")
"""Starts of names of what self-supervision puts after the features."""
PREFIXES = (
    "module.encoder_q.",
    "module.base_encoder.",
    "module.momentum_encoder.",
    "module.encoder_k.",
    "encoder_q.",
    "base_encoder.",
    "module.backbone.",
    "backbone.",
    "module.",
)
"""Where checkpoints keep their encoder: MoCo v1 and v2, v3, DINO, and after unwrapping."""


@register("image", "moco")
class MoCoEncoder(ModuleEncoder):
    """A ResNet pre-trained with Momentum Contrast (He et al., CVPR 2020; v2 and v3).

    Reads the checkpoints of MoCo v1, v2 and v3 and of what follows them: geography-aware
    self-supervision on fMoW (MoCo-TP; Ayush et al., ICCV 2021), whose ResNet-50 CSP uses. The query
    encoder is taken and its projection head dropped: 2048 features for a ResNet-50. Which ResNet it
    is, the file says. Pixels are normalised as ImageNet's, by all of them.

    Args:
        weights: the checkpoint (``.pth.tar``, ``.pth``, ``.safetensors``).
        pixels: width and height of the network input.
        resize: scale the shorter side to this many pixels first: 256 for MoCo, 224 for MoCo-TP;
            by default 8/7 of ``pixels``.
        channels: other than RGB: see :func:`geocsp.images.channels.adapt_channels`.

    Raises:
        DataError: the file is damaged or holds no ResNet.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        pixels: int = 224,
        resize: int | None = None,
        channels: int | None = None,
    ) -> None:
        tensors = below(read_tensors(Path(weights)), PREFIXES)
        shape = ResNetShape.of(tensors, str(weights))
        network = ResNet(shape)
        load_tensors(network, tensors, str(weights), unused=HEADS)
        taken = channels or shape.channels
        if taken != shape.channels:
            adapt_channels(network, taken)
        super().__init__(
            network,
            framing=Framing(pixels, resize=resize or pixels * 8 // 7, channels=taken),
            mean=repeat_colours(IMAGENET_MEAN, taken),
            deviation=repeat_colours(IMAGENET_DEVIATION, taken),
            architecture=f"moco {shape}",
        )
