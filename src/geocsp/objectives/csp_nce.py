"""CSP-NCE: the binary noise-contrastive objective of Contrastive Spatial Pre-Training."""

from __future__ import annotations

from torch import Tensor

from geocsp.objectives.base import Views
from geocsp.objectives.negatives import NegativeSampling
from geocsp.objectives.pairs import binary_nll, sigmoid_pairs
from geocsp.objectives.three_negatives import ThreeNegatives
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
        sampling: where random places are drawn, a :class:`NegativeSampling` or its value.
        epsilon: added inside the logarithm; the released code has 1e-5, the paper none.
    """

    def __init__(
        self,
        *,
        in_batch: float = 1.0,
        random_location: float = 1.0,
        dropout: float = 1.0,
        negatives_per_image: int = 1,
        sampling: NegativeSampling | str = NegativeSampling.SPHERE,
        epsilon: float = 0.0,
    ) -> None:
        super().__init__(in_batch, random_location, dropout, negatives_per_image, sampling)
        self.epsilon = epsilon

    def in_batch(self, views: Views) -> Tensor:
        """Loss B, a scalar."""
        assert views.image is not None
        return self._pairs(views.location, views.image, views)

    def random_location(self, views: Views) -> Tensor:
        """Loss L, a scalar."""
        assert views.image is not None
        similarity = (views.extra["random"].unit * views.image.unsqueeze(1)).sum(-1)
        return binary_nll(-similarity, self.epsilon).mean()

    def dropout(self, views: Views) -> Tensor:
        """Loss D, a scalar."""
        return self._pairs(views.location, views.extra["again"].unit[:, 0], views)

    def _pairs(self, queries: Tensor, keys: Tensor, views: Views) -> Tensor:
        own, keys = views.first, views.process.gather(keys)
        if len(keys) < 2:
            raise ValueError("CSP-NCE needs at least 2 pairs in a batch, got 1")
        others = 1 / (len(keys) - 1)
        return sigmoid_pairs(queries, keys, 1.0, 0.0, own=own, others=others, epsilon=self.epsilon)
