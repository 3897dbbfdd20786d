"""Any PyTorch module as an image encoder."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.framing import Framing
from geocsp.images.libraries import one_line

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
"""Mean of ImageNet's red, green and blue, in [0, 255]."""
IMAGENET_DEVIATION = (0.229 * 255, 0.224 * 255, 0.225 * 255)
"""Standard deviation of ImageNet's red, green and blue, in [0, 255]."""


class Pooling(StrEnum):
    """How an output becomes one vector per image."""

    MEAN = "mean"
    """The mean over space or over the tokens of patches."""
    CLS = "cls"
    """The first token, where a transformer sums the image up."""
    POOLER = "pooler"
    """What the network itself gives as the summary of an image."""


class ModuleEncoder(ImageEncoder):
    """Your own network as a frozen image encoder.

    The module takes ``(B, channels, pixels, pixels)`` and gives ``(B, dim)``, a map
    ``(B, dim, height, width)``, which is averaged, or tokens ``(B, tokens, dim)``; of a tuple the
    first part counts. It is put into evaluation mode, and its weights out of reach of gradients.

    Args:
        module: the network.
        framing: the square of pixels that it takes.
        mean: subtracted from the pixels, one value or one per channel; RGB pixels are in [0, 255].
        deviation: what they are then divided by, likewise.
        dim: size of the features; found by a trial when left out.
        pooling: what becomes of tokens: ``MEAN`` of all, or the first (``CLS``).
        architecture: name for the fingerprint; by default the module's class and what it prints,
            which for PyTorch's layers are their settings. Name another one when you change the
            module's code.

    Raises:
        DataError: the module does not take such images or gives no features.
        ValueError: mean or deviation do not fit the channels.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        framing: Framing,
        mean: float | Sequence[float],
        deviation: float | Sequence[float],
        dim: int | None = None,
        pooling: Pooling = Pooling.MEAN,
        architecture: str | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.framing = framing
        self.pooling = pooling
        kind = type(module)
        named = architecture or f"{kind.__module__}.{kind.__qualname__} {module}"
        self.architecture = f"{named} {pooling}"
        self.register_buffer("mean", per_channel(mean, framing.channels))
        self.register_buffer("deviation", per_channel(deviation, framing.channels))
        self.eval().requires_grad_(False)
        self.dim = dim or self._try()

    def forward(self, image: Tensor) -> Tensor:
        """Features of transformed images, ``(B, dim)`` float32."""
        return pooled(self.module(image), self.pooling).float()

    @torch.inference_mode()
    def _try(self) -> int:
        shape = (1, self.framing.channels, self.pixels, self.pixels)
        try:
            return int(self(torch.zeros(shape, device=self.mean.device)).shape[1])
        except DataError:
            raise
        except Exception as error:  # the network's own complaint
            raise DataError(
                f"the network does not take images of {shape[1:]}: {one_line(error)}"
            ) from error


def pooled(output: Any, pooling: Pooling) -> Tensor:
    """One vector per image from a network's output: ``(B, dim)``.

    Raises:
        DataError: it is no tensor of 2, 3 or 4 axes.
    """
    features = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(features, Tensor) or features.ndim not in (2, 3, 4):
        what = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise DataError(
            f"the network gives {what}; features are (batch, dim), (batch, tokens, dim) or (batch, "
            "dim, height, width)"
        )
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    if features.ndim == 3:
        return features[:, 0] if pooling is Pooling.CLS else features.mean(dim=1)
    return features


def per_channel(values: float | Sequence[float], channels: int) -> Tensor:
    """One value per channel, ``(channels,)`` float32.

    Raises:
        ValueError: another number of values, or one that is not finite.
    """
    numbers = torch.as_tensor(values, dtype=torch.float32).flatten()
    if numbers.numel() not in (1, channels) or not bool(numbers.isfinite().all()):
        raise ValueError(
            f"need 1 or {channels} finite values for {channels} channels, got {values}"
        )
    return numbers.expand(channels).clone()
