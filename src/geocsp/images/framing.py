"""The square of pixels that an encoder wants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from PIL import Image
from torch import Tensor
from torch.nn import functional as F


class Resampling(StrEnum):
    """How pixels are interpolated; both antialias where they shrink."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"

    @property
    def filter(self) -> Image.Resampling:
        """The same in Pillow."""
        return Image.Resampling[self.name]


@dataclass(frozen=True)
class Framing:
    """How an image becomes a square.

    Attributes:
        pixels: width and height of the square.
        resize: scale the shorter side to this many pixels and take the square from the centre;
            None: squeeze the whole image into the square.
        squeeze: with ``resize``, scale both sides to that many pixels, whatever the shape.
        resampling: how to interpolate.
        channels: number of channels; 3 is RGB.
        draft: let the JPEG decoder skip detail that is far below a target pixel. Up to 8 times
            as fast; the result differs by rounding.
        as_bytes: the encoder takes bytes, as of photos; otherwise the numbers of a raster as they
            are.
    """

    pixels: int = 224
    resize: int | None = None
    resampling: Resampling = Resampling.BILINEAR
    channels: int = 3
    draft: bool = True
    as_bytes: bool = True
    squeeze: bool = False

    def __post_init__(self) -> None:
        """Refuse squares that do not fit."""
        if self.pixels < 1 or self.channels < 1:
            raise ValueError(f"need at least 1 pixel and channel, got {self}")
        if self.resize is not None and self.resize < self.pixels:
            raise ValueError(f"cannot cut {self.pixels} pixels from {self.resize}")

    def frame(self, image: Tensor) -> Tensor:
        """Scale and cut ``(B, C, height, width)`` to ``(B, C, pixels, pixels)``, float32."""
        planes = image.float()
        square = (self.pixels, self.pixels)
        if planes.shape[2:] == square:  # nothing to do, whatever resize says
            return planes
        height, width = self.scaled(planes.shape[2], planes.shape[3])
        if planes.shape[2:] != (height, width):
            planes = F.interpolate(
                planes, (height, width), mode=self.resampling.value, antialias=True
            )
        top, left = self.corner(height, width)
        return planes[:, :, top : top + self.pixels, left : left + self.pixels]

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image after scaling, before the square is cut."""
        if self.resize is None or self.squeeze:
            side = self.resize or self.pixels
            return side, side
        short = min(height, width)
        return (
            max(self.pixels, self.resize * height // short),
            max(self.pixels, self.resize * width // short),
        )

    def corner(self, height: int, width: int) -> tuple[int, int]:
        """Top and left of the square in a scaled image; halves go to the even pixel."""
        return round((height - self.pixels) / 2), round((width - self.pixels) / 2)

    def at(self, pixels: int | None) -> Framing:
        """The same share of the image in a square of another size; None leaves it as it is."""
        if pixels is None:
            return self
        resize = None if self.resize is None else self.resize * pixels // self.pixels
        return replace(self, pixels=pixels, resize=resize)
