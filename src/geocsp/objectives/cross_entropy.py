"""Cross-entropy: which class is it that was seen at this place?"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from geocsp.objectives.base import Views
from geocsp.objectives.class_scores import ClassScores
from geocsp.registry import register


@register("objective", "cross-entropy")
class CrossEntropy(ClassScores):
    """Softmax cross-entropy over class scores of places.

    The mean over labelled places of -log softmax(e(x) . T)_y. It models which class a sighting is
    of, so that its scores follow how often a class was reported; take their softmax, not sigmoids.

    Args:
        dim: D, size of the location embedding.
        classes: Q, number of classes.
    """

    def terms(self, views: Views) -> dict[str, Tensor]:
        """``seen``, which is all of the loss."""
        return {"seen": self.mean_of_labelled(views, self._seen, views.raw_location)}

    def _seen(self, raw: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.scores(raw), labels, reduction="none")
