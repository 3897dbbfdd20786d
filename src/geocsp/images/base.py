"""What every image encoder shares: RGB bytes to network input, features without gradient."""

from __future__ import annotations

import hashlib
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.errors import DataError


class ImageEncoder(nn.Module):
    """A frozen network that turns images into feature vectors.

    A subclass writes :meth:`forward` and sets the attributes.

    Attributes:
        dim: size of a feature vector.
        pixels: width and height that :meth:`transform` resizes to.
        mean: subtracted from the pixels in [0, 255], one value per channel.
        deviation: what the pixels are then divided by, one value per channel.
    """

    dim: int
    pixels: int
    mean: Tensor
    deviation: Tensor

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Features of transformed images: ``(B, 3, pixels, pixels)`` to ``(B, dim)``."""

    def transform(self, images: Tensor) -> Tensor:
        """Resize and normalise: ``(B, height, width, 3)`` uint8 to ``(B, 3, pixels, pixels)``.

        Bilinear, antialiased where it shrinks.

        Raises:
            DataError: not a batch of RGB bytes.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != torch.uint8:
            raise DataError(
                "images must be (batch, height, width, 3) uint8, got "
                f"{tuple(images.shape)} {images.dtype}"
            )
        planes = images.permute(0, 3, 1, 2).float()
        size = (self.pixels, self.pixels)
        if planes.shape[2:] != size:
            planes = F.interpolate(planes, size, mode="bilinear", antialias=True)
        return (planes - self.mean.view(3, 1, 1)) / self.deviation.view(3, 1, 1)

    def fingerprint(self) -> str:
        """Changes whenever the architecture, the transform or a weight changes."""
        digest = hashlib.sha256(f"{type(self).__qualname__} {self.dim} {self.pixels}".encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"\n{name} {tuple(value.shape)} {value.dtype}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()
