"""ResNet, read off a checkpoint: depth, kind of blocks, width and channels are in its tensors.

Self-supervised checkpoints are ResNets under the names of torchvision; this network has the same
names, so they need no other library.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.errors import DataError

_STAGES = 4
FIRST = "conv1.weight"
"""Name of the weights of the first convolution."""


class ResNetShape(NamedTuple):
    """What tells one ResNet from another.

    Attributes:
        depths: blocks of the four stages.
        bottleneck: blocks are 1x1, 3x3, 1x1 convolutions instead of two of 3x3.
        width: channels after the first convolution; 64 in the paper.
        channels: channels of the image.
    """

    depths: tuple[int, ...]
    bottleneck: bool
    width: int = 64
    channels: int = 3

    @classmethod
    def of(cls, tensors: dict[str, Tensor], source: str) -> ResNetShape:
        """The shape of the ResNet that tensors belong to.

        Raises:
            DataError: they belong to no ResNet.
        """
        depths = tuple(
            sum(f"layer{stage}.{block}.conv1.weight" in tensors for block in range(len(tensors)))
            for stage in range(1, _STAGES + 1)
        )
        first = tensors.get(FIRST)
        if first is None or first.ndim != 4 or 0 in depths:
            raise DataError(f"{source} holds no ResNet under the names of torchvision")
        return cls(depths, "layer1.0.conv3.weight" in tensors, first.shape[0], first.shape[1])


RESNETS = {
    "resnet18": ResNetShape((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetShape((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetShape((3, 4, 6, 3), bottleneck=True),
    "resnet101": ResNetShape((3, 4, 23, 3), bottleneck=True),
    "resnet152": ResNetShape((3, 8, 36, 3), bottleneck=True),
}
"""The ResNets of the paper."""


class ResNet(nn.Module):
    """ResNet without its classifier (He et al., CVPR 2016).

    The stride of a bottleneck is in its 3x3 convolution, as in torchvision. Its outputs are the
    averaged channels of the last stage, ``(B, dim)``: 2048 for ResNet-50.
    """

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__()
        width = shape.width
        self.conv1 = nn.Conv2d(shape.channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        block = _Bottleneck if shape.bottleneck else _Basic
        in_channels = width
        for index, depth in enumerate(shape.depths):
            stage = nn.Sequential()
            for number in range(depth):
                stride = 2 if index and not number else 1
                stage.append(block(in_channels, width << index, stride))
                in_channels = block.expansion * width << index
            self.add_module(f"layer{index + 1}", stage)

    def forward(self, image: Tensor) -> Tensor:
        """Features of transformed images."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, stride=2, padding=1)
        for stage in range(1, _STAGES + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return x.mean(dim=(2, 3))


class _Block(nn.Module):
    expansion: int

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )


class _Basic(_Block):
    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__(in_channels, width, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class _Bottleneck(_Block):
    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__(in_channels, 4 * width, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + self.downsample(x))
