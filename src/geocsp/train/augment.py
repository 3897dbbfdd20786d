"""Augmentation: an image again, but from closer, from the other side, in another light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from geocsp.errors import MissingExtraError


@dataclass(frozen=True)
class Augmentation:
    """How images are changed at random before an encoder sees them.

    All of it works on any number of channels and is drawn for every image by itself.

    Attributes:
        smallest: least share of the image's area that a crop keeps; 1 keeps all of it.
        stretch: most that a crop's width is scaled against its height, or the other way round.
        mirror: swap left and right in half of the images.
        overhead: the images are seen from above: turn them by quarters and mirror them both ways.
        brightness: most that is added to or taken from all pixels, as a share of white.
        contrast: most that pixels are multiplied up or down, as a share.
    """

    smallest: float = 0.5
    stretch: float = 4 / 3
    mirror: bool = True
    overhead: bool = False
    brightness: float = 0.2
    contrast: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what no image can be."""
        if not 0 < self.smallest <= 1 <= self.stretch:
            raise ValueError(
                f"smallest must be in (0, 1] and stretch at least 1, got {self.smallest} and "
                f"{self.stretch}"
            )
        if not (0 <= self.brightness <= 1 and 0 <= self.contrast <= 1):
            raise ValueError(
                f"brightness and contrast must be in [0, 1], got {self.brightness} and "
                f"{self.contrast}"
            )

    @property
    def changes_light(self) -> bool:
        """Whether it needs to know what white is."""
        return self.brightness > 0 or self.contrast > 0

    @torch.no_grad()
    def apply(self, images: Tensor, pixels: int, seed: int) -> Tensor:
        """Change images at random; the same seed makes the same changes.

        Args:
            images: ``(B, side, side, channels)`` bytes, or numbers if the light is left as it is.
            pixels: width and height wanted; without crops, ``side``.
            seed: fixes all that is random.

        Returns:
            ``(B, pixels, pixels, channels)`` of the same type.
        """
        as_bytes = images.dtype == torch.uint8
        planes = images.permute(0, 3, 1, 2).float()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            changed: Tensor = self.network(pixels)(planes / 255 if as_bytes else planes)
        if as_bytes:
            changed = (changed * 255).round().clamp(0, 255).to(torch.uint8)
        return changed.permute(0, 2, 3, 1)

    def network(self, pixels: int) -> nn.Module:
        """The changes one after the other, ``(B, channels, side, side)`` of numbers in [0, 1].

        Raises:
            MissingExtraError: kornia is not installed.
        """
        return _network(self, pixels)


@cache
def _network(wanted: Augmentation, pixels: int) -> nn.Module:
    try:
        from kornia import augmentation as kornia
    except ImportError as error:
        raise MissingExtraError("kornia", "train") from error
    steps: list[nn.Module] = []
    if wanted.smallest < 1:
        steps.append(
            kornia.RandomResizedCrop(
                (pixels, pixels),
                scale=(wanted.smallest, 1.0),
                ratio=(1 / wanted.stretch, wanted.stretch),
                align_corners=False,
            )
        )
    if wanted.mirror or wanted.overhead:
        steps.append(kornia.RandomHorizontalFlip())
    if wanted.overhead:
        steps.append(kornia.RandomVerticalFlip())
        steps.append(kornia.RandomRotation90(times=(-2, 2), p=1.0))  # two half turns are one
    if wanted.contrast:
        steps.append(kornia.RandomContrast((1 - wanted.contrast, 1 + wanted.contrast), p=1.0))
    if wanted.brightness:
        steps.append(kornia.RandomBrightness((1 - wanted.brightness, 1 + wanted.brightness), p=1.0))
    return nn.Sequential(*steps)
