"""What one training step offers an objective, and what an objective gives back."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geocsp.coords import great_circle_km, pairwise_within_km


@dataclass(frozen=True)
class Views:
    """Embeddings of one batch of B images and their places. Row i of each belongs to image i.

    Attributes:
        features: ``(B, F)`` image features, standardised if the model does so.
        image: ``(B, D)`` projected image embeddings, unit length.
        location: ``(B, D)`` location embeddings, unit length.
        raw_location: ``(B, D)`` location embeddings before normalisation.
        lonlat: ``(B, 2)`` places, degrees.
        scale: ``()`` learnable inverse temperature of the model.
        location_again: ``(B, D)`` second pass with an independent dropout mask, unit length;
            present if the objective asks for it.
        negatives: ``(B, C, D)`` embeddings of C random places per image, unit length; present if
            the objective asks for them.
        negative_lonlat: ``(B, C, 2)`` those random places, degrees.
    """

    features: Tensor
    image: Tensor
    location: Tensor
    raw_location: Tensor
    lonlat: Tensor
    scale: Tensor
    location_again: Tensor | None = None
    negatives: Tensor | None = None
    negative_lonlat: Tensor | None = None


class Objective(nn.Module):
    """A pre-training loss over :class:`Views`.

    Attributes:
        negatives_per_image: how many random places per image the objective needs.
        second_view: whether it needs a second pass with an independent dropout mask.
        learns_scale: whether the model's learnable temperature is used.
    """

    negatives_per_image: int = 0
    second_view: bool = False
    learns_scale: bool = False

    @abstractmethod
    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``{"loss": (), part: (), ...}``; the parts are detached and unweighted."""


def same_place(views: Views, km: float) -> Tensor:
    """Pairs (i, j != i) of a batch closer than ``km``: ``(B, B)`` bool, diagonal false."""
    near = pairwise_within_km(views.lonlat, views.lonlat, km)
    return near & ~torch.eye(len(near), dtype=torch.bool, device=near.device)


def negatives_near(views: Views, km: float) -> Tensor:
    """Random negatives closer than ``km`` to their own image: ``(B, C)`` bool."""
    assert views.negative_lonlat is not None
    batch, count, _ = views.negative_lonlat.shape
    own = views.lonlat.repeat_interleave(count, dim=0)
    return great_circle_km(own, views.negative_lonlat.flatten(0, 1)).view(batch, count) < km


class ThreeNegatives(Objective):
    """Common ground of the CSP objectives: three kinds of negatives, each with a weight.

    B takes the other images of the batch as negatives, L random places, D the dropout views of
    the other places. ``loss = in_batch * B + random_location * L + dropout * D``; a weight of
    zero switches a kind off and saves its forward passes.

    Args:
        in_batch: weight of B.
        random_location: weight of L.
        dropout: weight of D.
        negatives_per_image: C, random places per image.
    """

    def __init__(
        self, in_batch: float, random_location: float, dropout: float, negatives_per_image: int
    ) -> None:
        super().__init__()
        self.weights = {"B": in_batch, "L": random_location, "D": dropout}
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise ValueError(f"weights must be >= 0 and not all zero, got {self.weights}")
        if random_location and negatives_per_image < 1:
            raise ValueError(f"L needs negatives_per_image >= 1, got {negatives_per_image}")
        self.negatives_per_image = negatives_per_image if random_location else 0
        self.second_view = dropout > 0

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss and its unweighted parts B, L and D, those with a weight."""
        terms = {"B": self.in_batch, "L": self.random_location, "D": self.dropout}
        parts = {kind: terms[kind](views) for kind, weight in self.weights.items() if weight}
        loss = torch.stack([self.weights[kind] * part for kind, part in parts.items()]).sum()
        return {"loss": loss} | {kind: part.detach() for kind, part in parts.items()}

    @abstractmethod
    def in_batch(self, views: Views) -> Tensor:
        """Loss B, a scalar."""

    @abstractmethod
    def random_location(self, views: Views) -> Tensor:
        """Loss L, a scalar."""

    @abstractmethod
    def dropout(self, views: Views) -> Tensor:
        """Loss D, a scalar."""
