"""AN-SSDL: same species, different location."""

from __future__ import annotations

from torch import Tensor

from geocsp.objectives.base import Views
from geocsp.objectives.class_scores import PresenceOnly
from geocsp.registry import register


@register("objective", "an-ssdl")
class AnSsdl(PresenceOnly):
    """SINR's loss that assumes negatives at a different location (Cole et al., ICML 2023).

    With p_y = sigmoid(e(x) . T_y) at a place where class y was seen, r_y at a random place, and
    l(p) = -log(p + epsilon): the mean over places of l(p_y) (part ``seen``) plus the mean over
    places of l(1 - r_y) (part ``random``).

    Args:
        dim: D, size of the location embedding.
        classes: Q, number of classes.
        epsilon: added inside the logarithm; 1e-5 in the released code, none in the paper.
        sampling: where random places are drawn, a :class:`NegativeSampling` or its value.
    """

    def terms(self, views: Views) -> dict[str, Tensor]:
        """``seen`` and ``random``."""
        random = views.extra["random"].raw[:, 0]
        return {
            "seen": self.mean_of_labelled(views, self._seen, views.raw_location),
            "random": self.mean_of_labelled(views, self._unseen, random),
        }

    def _seen(self, raw: Tensor, labels: Tensor) -> Tensor:
        return self.present(self.scores_of(raw, labels))

    def _unseen(self, raw: Tensor, labels: Tensor) -> Tensor:
        return self.absent(self.scores_of(raw, labels))
