"""Maximum entropy: where nothing is known about a class, its probability should be undecided."""

from __future__ import annotations

from torch import Tensor

from geocsp.objectives.an_full import AnFull
from geocsp.objectives.class_scores import PresenceOnly
from geocsp.objectives.pairs import binary_nll
from geocsp.objectives.slds import AnSlds
from geocsp.objectives.ssdl import AnSsdl
from geocsp.registry import register


class MaximumEntropy(PresenceOnly):
    """SINR's losses with -H(p) in place of l(1 - p) (Cole et al., ICML 2023).

    H(p) = p l(p) + (1 - p) l(1 - p) with l(p) = -log(p + epsilon) is the entropy of the presence
    of one class, largest at p = 1/2: instead of taking a class of which nothing is known to be
    absent, the loss asks that its probability be undecided.
    """

    def absent(self, scores: Tensor) -> Tensor:
        """Loss of classes of which nothing is known, element by element: -H(p)."""
        present, absent = scores.sigmoid(), (-scores).sigmoid()
        return -(
            present * binary_nll(scores, self.epsilon) + absent * binary_nll(-scores, self.epsilon)
        )


@register("objective", "me-full")
class MeFull(MaximumEntropy, AnFull):
    """:class:`AnFull` with maximum entropy; same arguments."""


@register("objective", "me-slds")
class MeSlds(MaximumEntropy, AnSlds):
    """:class:`AnSlds` with maximum entropy; same arguments."""


@register("objective", "me-ssdl")
class MeSsdl(MaximumEntropy, AnSsdl):
    """:class:`AnSsdl` with maximum entropy; same arguments."""
