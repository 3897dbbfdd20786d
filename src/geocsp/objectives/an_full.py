"""AN-full: all classes not seen at a place are taken to be absent, there and at random places."""

from __future__ import annotations

from torch import Tensor

from geocsp.objectives.base import Views
from geocsp.objectives.class_scores import PresenceOnly
from geocsp.objectives.negatives import NegativeSampling
from geocsp.registry import register


@register("objective", "an-full")
class AnFull(PresenceOnly):
    """SINR's loss that assumes negatives everywhere (Cole et al., ICML 2023).

    With p_c = sigmoid(e(x) . T_c) at a place where class y was seen, r_c at a random place, and
    l(p) = -log(p + epsilon): the mean over the places and Q classes of positive_weight * l(p_y)
    and l(1 - p_c) for c != y (part ``seen``), plus the mean over random places, one per row, and
    classes of l(1 - r_c) (part ``random``).

    Args:
        dim: D, size of the location embedding.
        classes: Q, number of classes.
        positive_weight: lambda, weight of the one class seen against the many others.
        epsilon: added inside the logarithm; 1e-5 in the released code, none in the paper.
        sampling: where random places are drawn, a :class:`NegativeSampling` or its value.
    """

    def __init__(
        self,
        *,
        dim: int,
        classes: int,
        positive_weight: float = 2048.0,
        epsilon: float = 1e-5,
        sampling: NegativeSampling | str = NegativeSampling.SPHERE,
    ) -> None:
        super().__init__(dim=dim, classes=classes, epsilon=epsilon, sampling=sampling)
        self.positive_weight = positive_weight

    def terms(self, views: Views) -> dict[str, Tensor]:
        """``seen`` and ``random``."""
        random = views.extra["random"].raw.flatten(0, 1)
        return {
            "seen": self.mean_of_labelled(views, self._seen, views.raw_location),
            "random": self.by_parts(self._unseen, random).mean(),
        }

    def _seen(self, raw: Tensor, labels: Tensor) -> Tensor:
        return self.one_present(self.scores(raw), labels)

    def _unseen(self, raw: Tensor) -> Tensor:
        return self.absent(self.scores(raw)).mean(1)

    def one_present(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Mean over classes of scores ``(n, Q)`` where one class is there, ``(n,)``."""
        own = scores.gather(1, labels.unsqueeze(1))
        instead = self.positive_weight * self.present(own) - self.absent(own)
        return (self.absent(scores).sum(1) + instead.squeeze(1)) / scores.shape[1]
