"""Networks for RGB made to take any number of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geocsp.errors import DataError

_RGB = 3


def adapt_channels(module: nn.Module, channels: int) -> None:
    """Let the first convolution (or patch embedding) for RGB take other channels, in place.

    The weights of red, green and blue are repeated in turn and each is divided by how often it
    occurs; with fewer than three channels, the colours left over are spread over all. So an image
    whose channels are all alike gives what it gave before.

    Args:
        module: a network whose first convolution takes 3 channels.
        channels: how many it shall take.

    Raises:
        DataError: it has no such convolution.
    """
    if channels == _RGB:
        return
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == _RGB and layer.groups == 1:
            layer.weight = nn.Parameter(_spread(layer.weight.detach(), channels))
            layer.in_channels = channels
            break
    else:
        raise DataError(f"{type(module).__name__} has no convolution for RGB to adapt")
    for part in module.modules():
        if getattr(part, "num_channels", None) == _RGB:  # what transformers compares images with
            vars(part)["num_channels"] = channels


def repeat_colours(values: Sequence[float], channels: int) -> list[float]:
    """Means or deviations of RGB for other channels: in turn, or averaged for fewer than three."""
    if channels < _RGB:
        return [sum(values) / len(values)] * channels
    return [values[channel % len(values)] for channel in range(channels)]


def _spread(weight: Tensor, channels: int) -> Tensor:
    """``(out, 3, height, width)`` to ``(out, channels, height, width)``."""
    colours = torch.arange(channels) % _RGB
    counts = colours.bincount(minlength=_RGB).clamp(min=1)
    left_over = weight[:, channels:].sum(dim=1, keepdim=True) / channels
    return weight[:, colours] / counts[colours].view(-1, 1, 1) + left_over
