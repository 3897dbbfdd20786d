"""CSP-NCE: the binary noise-contrastive objective of Contrastive Spatial Pre-Training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.objectives.base import ThreeNegatives, Views
from geocsp.registry import register


@register("objective", "csp-nce")
class CspNce(ThreeNegatives):
    """Binary contrastive loss over three kinds of negatives (Mai et al., ICML 2023, eq. 3).

    With cosine s and l(p) = -log(p + epsilon): B is the mean over places i of
    l(sigmoid(s_ii)) plus the mean over images j != i of l(1 - sigmoid(s_ij)); L is the mean of
    l(1 - sigmoid(s)) over images and their C random places; D is B's form on two dropout views
    of the places. There is no temperature.

    ``loss = in_batch * B + random_location * L + dropout * D``; a weight of zero switches a kind
    off and saves its forward passes.

    Args:
        in_batch: weight of B.
        random_location: weight of L.
        dropout: weight of D.
        negatives_per_image: C, random places per image.
        epsilon: added inside the logarithm; the released code has 1e-5, the paper none.
    """

    def __init__(
        self,
        *,
        in_batch: float = 1.0,
        random_location: float = 1.0,
        dropout: float = 1.0,
        negatives_per_image: int = 1,
        epsilon: float = 0.0,
    ) -> None:
        super().__init__(in_batch, random_location, dropout, negatives_per_image)
        self.epsilon = epsilon

    def in_batch(self, views: Views) -> Tensor:
        """Loss B, a scalar."""
        return self._pairs(views.location @ views.image.T)

    def random_location(self, views: Views) -> Tensor:
        """Loss L, a scalar."""
        assert views.negatives is not None
        similarity = torch.einsum("bcd,bd->bc", views.negatives, views.image)
        return binary_nll(-similarity, self.epsilon).mean()

    def dropout(self, views: Views) -> Tensor:
        """Loss D, a scalar."""
        assert views.location_again is not None
        return self._pairs(views.location @ views.location_again.T)

    def _pairs(self, similarity: Tensor) -> Tensor:
        count = len(similarity)
        if count < 2:
            raise ValueError("CSP-NCE needs at least 2 pairs in a batch, got 1")
        off_diagonal = ~torch.eye(count, dtype=torch.bool, device=similarity.device)
        positive = binary_nll(similarity.diagonal(), self.epsilon).mean()
        return positive + binary_nll(-similarity[off_diagonal], self.epsilon).mean()


def binary_nll(logit: Tensor, epsilon: float) -> Tensor:
    """-log(sigmoid(logit) + epsilon), element by element, stable where epsilon is zero."""
    if epsilon == 0:
        return -F.logsigmoid(logit)
    return -(logit.sigmoid() + epsilon).log()
