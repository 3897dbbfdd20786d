"""The parts of a preset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from geocsp.train.augment import Augmentation
from geocsp.train.validation import Metric


@dataclass(frozen=True)
class Component:
    """A registered component by name, with the keyword settings of its class."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageTower:
    """The image encoder, where the source holds images and not features.

    Attributes:
        encoder: family and network, as :func:`geocsp.images.parse_encoder` takes them.
        weights: local file of weights.
        pixels: width and height of the network input; None: as the weights were trained.
        channels: number of channels; None: those of the weights.
        train: which of its weights are trained along, as
            :meth:`geocsp.model.GeoModel.train_image` takes them; none: it is frozen.
        augmentation: random changes of images, anew in every epoch; None: none.
    """

    encoder: str = "efficientnet-lite0"
    weights: str | None = None
    pixels: int | None = None
    channels: int | None = None
    train: tuple[str, ...] = ()
    augmentation: Augmentation | None = None

    @property
    def from_pixels(self) -> bool:
        """Whether images go through the encoder in every epoch, and not once for all."""
        return bool(self.train) or self.augmentation is not None


@dataclass(frozen=True)
class Sizes:
    """What data and model say about sizes that an objective needs and its settings leave out.

    Attributes:
        dim: size of the location embedding.
        feature_dim: size of the image features.
        classes: number of classes.
        photographers: number of photographers or other groups.
    """

    dim: int
    feature_dim: int = 1
    classes: int = 1
    photographers: int = 1


@dataclass(frozen=True)
class HoldOut:
    """Which images are not trained on, but look for their places after an epoch.

    Attributes:
        share: share of the images, in whole blocks; 0: none. See
            :func:`geocsp.train.validation.hold_out`.
        blocks: width of a block, degrees.
        every: epochs between two looks.
        patience: stop after so many looks in a row that were no better than the best, and end with
            its weights; None: never stop, and keep the last.
        metric: what is to get better.
    """

    share: float = 0.0
    blocks: float = 5.0
    every: int = 1
    patience: int | None = None
    metric: Metric = Metric.MEDIAN_KM

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1 or self.blocks <= 0:
            raise ValueError(
                f"need a share held out in [0, 1) and blocks wider than 0 degrees, got "
                f"{self.share} and {self.blocks}"
            )
        if self.every < 1 or (self.patience is not None and self.patience < 1):
            raise ValueError(
                f"every and patience must be at least 1, got {self.every} and {self.patience}"
            )
        if self.patience is not None and self.share == 0:
            raise ValueError("patience needs a share of the images to be held out")
