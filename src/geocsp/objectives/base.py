"""What one training step offers an objective, and what an objective gives back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.process import ALONE, Process


@dataclass(frozen=True)
class Places:
    """Places beside the true ones, and their embeddings.

    Attributes:
        lonlat: ``(b, k, 2)``, k for each image, or ``(n, 2)``, degrees.
        raw: ``(b, k, D)`` or ``(n, D)`` embeddings before normalisation.
        unit: the same at unit length.
    """

    lonlat: Tensor
    raw: Tensor
    unit: Tensor

    @classmethod
    def of(cls, lonlat: Tensor, raw: Tensor) -> Places:
        """Places and their raw embeddings."""
        return cls(lonlat, raw, F.normalize(raw, dim=-1))


@dataclass(frozen=True)
class Views:
    """Embeddings of one batch of b images and their places. Row i of each belongs to image i.

    Where several processes train together, these are the rows of this process alone; an
    objective that compares an image with those of the other processes, too, asks
    ``process.gather`` for them.

    Attributes:
        lonlat: ``(b, 2)`` places, degrees.
        location: ``(b, D)`` location embeddings, unit length.
        raw_location: ``(b, D)`` location embeddings before normalisation.
        scale: ``()`` learnable inverse temperature of the model.
        features: ``(b, F)`` image features, standardised if the model does so; present if the
            objective uses features.
        image: ``(b, D)`` projected image embeddings, unit length; present if it uses images.
        extra: the places that the objective asked for, by its names for them.
        labels: ``(b,)`` int64 classes, -1 where unknown; present if the objective uses them.
        groups: ``(b,)`` int64 photographers or sites, -1 where unknown; likewise.
        process: this process among those that train together.
    """

    lonlat: Tensor
    location: Tensor
    raw_location: Tensor
    scale: Tensor
    features: Tensor | None = None
    image: Tensor | None = None
    extra: Mapping[str, Places] = field(default_factory=dict)
    labels: Tensor | None = None
    groups: Tensor | None = None
    process: Process = ALONE

    @property
    def first(self) -> int:
        """Where the rows of this process begin among those that ``process.gather`` gives."""
        return self.process.rank * len(self.lonlat)


class Objective(nn.Module):
    """A pre-training loss over :class:`Views`.

    A loss is a mean over the rows of the batch, so that the mean over processes with equally many
    rows is the loss of the whole batch.

    Attributes:
        uses_images: whether it needs ``views.image``.
        uses_features: whether it needs ``views.features``.
        uses_labels: whether it needs ``views.labels``.
        uses_groups: whether it needs ``views.groups``.
        learns_scale: whether the model's learnable temperature is used.
    """

    uses_images: bool = True
    uses_features: bool = False
    uses_labels: bool = False
    uses_groups: bool = False
    learns_scale: bool = False

    def places(self, lonlat: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Further places to embed in this step, by names of the objective's own choice.

        All go through the location encoder together with the true places, in training mode, so
        that ``lonlat.unsqueeze(1)`` is a second view under an independent dropout mask.

        Args:
            lonlat: ``(B, 2)`` places of the whole batch, over all processes, degrees.
            generator: source of all randomness, on the CPU; in the same state in every process.

        Returns:
            ``(B, k, 2)`` for k places per image, which are taken at the time of the image and of
            which a process embeds those of its own images; or ``(n, 2)`` for places of no image,
            which every process embeds.
        """
        return {}

    @abstractmethod
    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``{"loss": (), part: (), ...}``; the parts are detached and unweighted."""

    def remember(self, lonlat: Tensor) -> None:
        """Called after each step with the places of the whole batch, ``(B, 2)`` degrees.

        What is kept belongs into buffers, so that a checkpoint holds it.
        """


def at_least_float32(values: Tensor) -> Tensor:
    """The values, those of 16 bits as float32, in which sums and logarithms are exact enough."""
    return values.float() if values.dtype.itemsize < 4 else values
