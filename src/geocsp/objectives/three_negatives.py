"""Common ground of the two CSP objectives."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from geocsp.objectives.base import Objective, Views
from geocsp.objectives.negatives import NegativeSampling


class ThreeNegatives(Objective):
    """Three kinds of negatives (Mai et al., ICML 2023, section 3.2), each with a weight.

    B takes the other images of the batch as negatives, L random places, D the dropout views of
    the other places. ``loss = in_batch * B + random_location * L + dropout * D``; a weight of
    zero switches a kind off and saves its forward passes.

    Args:
        in_batch: weight of B.
        random_location: weight of L.
        dropout: weight of D.
        negatives_per_image: C, random places per image.
        sampling: where random places are drawn, a :class:`NegativeSampling` or its value.

    Raises:
        ValueError: the weights make no loss, or ``sampling`` is none of the known ones.
    """

    def __init__(
        self,
        in_batch: float,
        random_location: float,
        dropout: float,
        negatives_per_image: int,
        sampling: NegativeSampling | str,
    ) -> None:
        super().__init__()
        self.weights = {"B": in_batch, "L": random_location, "D": dropout}
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise ValueError(f"weights must be >= 0 and not all zero, got {self.weights}")
        if random_location and negatives_per_image < 1:
            raise ValueError(f"L needs negatives_per_image >= 1, got {negatives_per_image}")
        self.negatives_per_image = negatives_per_image
        self.sampling = NegativeSampling(sampling)

    def places(self, lonlat: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """C random places per image for L, the same places once more for D."""
        places = {}
        if self.weights["L"]:
            places["random"] = self.sampling.for_each(lonlat, self.negatives_per_image, generator)
        if self.weights["D"]:
            places["again"] = lonlat.unsqueeze(1)
        return places

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
