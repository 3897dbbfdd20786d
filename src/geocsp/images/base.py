"""What every image encoder shares: pixels to network input, features without gradient."""

from __future__ import annotations

import hashlib
from abc import abstractmethod

import torch
from torch import Tensor, nn

from geocsp.errors import DataError
from geocsp.images.framing import Framing


class ImageEncoder(nn.Module):
    """A frozen network that turns images into feature vectors.

    A subclass writes :meth:`forward` and sets the attributes.

    Attributes:
        dim: size of a feature vector.
        framing: the square of pixels that the network takes.
        mean: subtracted from the pixels, one value per channel; in [0, 255] for RGB.
        deviation: what the pixels are then divided by, one value per channel.
        architecture: names the network where the class alone does not.
    """

    architecture: str = ""
    dim: int
    framing: Framing
    mean: Tensor
    deviation: Tensor

    @property
    def pixels(self) -> int:
        """Width and height of the network input."""
        return self.framing.pixels

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Features of transformed images: ``(B, channels, pixels, pixels)`` to ``(B, dim)``."""

    def transform(self, images: Tensor) -> Tensor:
        """Frame and normalise: ``(B, height, width, channels)`` to network input.

        Args:
            images: uint8, or where the framing says so, any numbers in the units of ``mean``.

        Returns:
            ``(B, channels, pixels, pixels)`` float32.

        Raises:
            DataError: not a batch of images with this encoder's channels.
        """
        channels, as_bytes = self.framing.channels, self.framing.as_bytes
        fits = images.ndim == 4 and images.shape[3] == channels
        if not fits or (as_bytes and images.dtype != torch.uint8):
            kind = "uint8" if as_bytes else "numbers"
            raise DataError(
                f"images must be (batch, height, width, {channels}) {kind}, got "
                f"{tuple(images.shape)} {images.dtype}"
            )
        planes = self.framing.frame(images.permute(0, 3, 1, 2))
        shape = (channels, 1, 1)
        return (planes - self.mean.view(shape)) / self.deviation.view(shape)

    def fingerprint(self) -> str:
        """Changes whenever the architecture, the transform or a weight changes."""
        network = f"{type(self).__qualname__} {self.architecture}"
        digest = hashlib.sha256(f"{network} {self.dim} {self.framing}".encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"\n{name} {tuple(value.shape)} {value.dtype}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()
