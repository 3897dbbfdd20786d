"""CSP-MC: the multi-class (InfoNCE) objective of Contrastive Spatial Pre-Training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.objectives.base import ThreeNegatives, Views, negatives_near, same_place
from geocsp.registry import register


@register("objective", "csp-mc")
class CspMc(ThreeNegatives):
    """Multi-class contrastive loss over three kinds of negatives (Mai et al., ICML 2023, eq. 4).

    B: a place picks its image among the images of the batch. L: an image picks its place among
    C random places. D: a place picks its own second dropout view among those of the batch. Each
    is a cross-entropy over cosine similarities divided by a temperature, averaged over the batch.

    ``loss = in_batch * B + random_location * L + dropout * D``; a weight of zero switches a kind
    off and saves its forward passes. Beyond the paper: one learnable temperature for all kinds,
    a symmetric B (mean of both directions), and false negatives masked by distance.

    Args:
        in_batch: weight of B.
        random_location: weight of L.
        dropout: weight of D.
        negatives_per_image: C, random places per image.
        temperatures: of B, L and D; not used if the temperature is learnable.
        learnable_temperature: use the model's ``scale`` for all kinds.
        symmetric: add to B that an image picks its place, and take the mean.
        mask_km: pairs closer than this are not negatives; 0 keeps all.
    """

    def __init__(
        self,
        *,
        in_batch: float = 1.0,
        random_location: float = 1.0,
        dropout: float = 1.0,
        negatives_per_image: int = 1,
        temperatures: tuple[float, float, float] = (1.0, 1.0, 1.0),
        learnable_temperature: bool = False,
        symmetric: bool = False,
        mask_km: float = 0.0,
    ) -> None:
        super().__init__(in_batch, random_location, dropout, negatives_per_image)
        if min(temperatures) <= 0:
            raise ValueError(f"temperatures must be positive, got {temperatures}")
        self.temperatures = dict(zip("BLD", temperatures, strict=True))
        self.learns_scale = learnable_temperature
        self.symmetric = symmetric
        self.mask_km = mask_km

    def in_batch(self, views: Views) -> Tensor:
        """Loss B, a scalar."""
        logits = self._masked(views.location @ views.image.T * self._scale(views, "B"), views)
        own = torch.arange(len(logits), device=logits.device)
        loss = F.cross_entropy(logits, own)
        return (loss + F.cross_entropy(logits.T, own)) / 2 if self.symmetric else loss

    def random_location(self, views: Views) -> Tensor:
        """Loss L, a scalar."""
        assert views.negatives is not None
        scale = self._scale(views, "L")
        true = scale * (views.location * views.image).sum(-1, keepdim=True)
        random = scale * torch.einsum("bcd,bd->bc", views.negatives, views.image)
        if self.mask_km:  # after the scale, whose gradient would be 0 * inf otherwise
            random = random.masked_fill(negatives_near(views, self.mask_km), -torch.inf)
        logits = torch.cat([true, random], dim=1)
        return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))

    def dropout(self, views: Views) -> Tensor:
        """Loss D, a scalar."""
        assert views.location_again is not None
        similarity = views.location @ views.location_again.T
        logits = self._masked(similarity * self._scale(views, "D"), views)
        return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))

    def _scale(self, views: Views, kind: str) -> Tensor | float:
        return views.scale if self.learns_scale else 1 / self.temperatures[kind]

    def _masked(self, logits: Tensor, views: Views) -> Tensor:
        if not self.mask_km:
            return logits
        return logits.masked_fill(same_place(views, self.mask_km), -torch.inf)
