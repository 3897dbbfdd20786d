"""AN-SLDS: same location, different species."""

from __future__ import annotations

from torch import Tensor

from geocsp.objectives.base import Views
from geocsp.objectives.class_scores import PresenceOnly
from geocsp.registry import register


@register("objective", "an-slds")
class AnSlds(PresenceOnly):
    """SINR's loss that assumes negatives at the same location (Cole et al., ICML 2023).

    With p_c = sigmoid(e(x) . T_c) at a place where class y was seen and l(p) = -log(p + epsilon):
    the mean over places of l(p_y) (part ``seen``) plus the mean over places of l(1 - p_c) for one
    other class c (part ``other``). The released code draws that class at random; here the mean over
    all Q - 1 others takes its place, which is what the draw is on average, without its noise.

    Args:
        dim: D, size of the location embedding.
        classes: Q, number of classes, at least 2.
        epsilon: added inside the logarithm; 1e-5 in the released code, none in the paper.

    Raises:
        ValueError: fewer than 2 classes.
    """

    random_places = False

    def __init__(self, *, dim: int, classes: int, epsilon: float = 1e-5) -> None:
        super().__init__(dim=dim, classes=classes, epsilon=epsilon)
        if classes < 2:
            raise ValueError(f"classes must be at least 2, got {classes}")

    def terms(self, views: Views) -> dict[str, Tensor]:
        """``seen`` and ``other``."""
        return {
            "seen": self.mean_of_labelled(views, self._seen, views.raw_location),
            "other": self.mean_of_labelled(views, self._other, views.raw_location),
        }

    def _seen(self, raw: Tensor, labels: Tensor) -> Tensor:
        return self.present(self.scores_of(raw, labels))

    def _other(self, raw: Tensor, labels: Tensor) -> Tensor:
        absent = self.absent(self.scores(raw))
        own = absent.gather(1, labels.unsqueeze(1)).squeeze(1)
        return (absent.sum(1) - own) / (absent.shape[1] - 1)
