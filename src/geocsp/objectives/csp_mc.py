"""CSP-MC: the multi-class (InfoNCE) objective of Contrastive Spatial Pre-Training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.objectives.base import Views
from geocsp.objectives.clip import symmetric_softmax
from geocsp.objectives.near import check_km, near_pairs, near_places
from geocsp.objectives.negatives import NegativeSampling
from geocsp.objectives.pairs import softmax_pairs
from geocsp.objectives.three_negatives import ThreeNegatives
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
        sampling: where random places are drawn, a :class:`NegativeSampling` or its value.
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
        sampling: NegativeSampling | str = NegativeSampling.SPHERE,
        temperatures: tuple[float, float, float] = (1.0, 1.0, 1.0),
        learnable_temperature: bool = False,
        symmetric: bool = False,
        mask_km: float = 0.0,
    ) -> None:
        super().__init__(in_batch, random_location, dropout, negatives_per_image, sampling)
        if min(temperatures) <= 0:
            raise ValueError(f"temperatures must be positive, got {temperatures}")
        self.temperatures = dict(zip("BLD", temperatures, strict=True))
        self.learns_scale = learnable_temperature
        self.symmetric = symmetric
        self.mask_km = check_km(mask_km)

    def in_batch(self, views: Views) -> Tensor:
        """Loss B, a scalar."""
        assert views.image is not None
        if self.symmetric:
            return symmetric_softmax(views, self._scale(views, "B"), self.mask_km)
        return self._among_all(views.location, views.image, views, "B")

    def random_location(self, views: Views) -> Tensor:
        """Loss L, a scalar."""
        assert views.image is not None
        places, scale = views.extra["random"], self._scale(views, "L")
        true = scale * (views.location * views.image).sum(-1, keepdim=True)
        random = scale * (places.unit * views.image.unsqueeze(1)).sum(-1)
        if self.mask_km:  # after the scale, whose gradient would be 0 * inf otherwise
            near = near_places(views.lonlat, places.lonlat, self.mask_km)
            random = random.masked_fill(near, -torch.inf)
        logits = torch.cat([true, random], dim=1)
        return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))

    def dropout(self, views: Views) -> Tensor:
        """Loss D, a scalar."""
        return self._among_all(views.location, views.extra["again"].unit[:, 0], views, "D")

    def _among_all(self, queries: Tensor, keys: Tensor, views: Views, kind: str) -> Tensor:
        return softmax_pairs(
            queries,
            views.process.gather(keys),
            self._scale(views, kind),
            own=views.first,
            excluded=near_pairs(views, self.mask_km),
        )

    def _scale(self, views: Views, kind: str) -> Tensor | float:
        return views.scale if self.learns_scale else 1 / self.temperatures[kind]
