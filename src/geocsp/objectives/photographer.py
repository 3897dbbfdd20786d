"""Photographers: who took the images tells where they go and what they look for."""

from __future__ import annotations

from torch import Tensor, nn

from geocsp.errors import DataError
from geocsp.objectives.base import Views
from geocsp.objectives.class_scores import mean_over_processes
from geocsp.objectives.geo_prior import PresenceAbsence
from geocsp.objectives.negatives import NegativeSampling
from geocsp.registry import register


@register("objective", "photographer")
class Photographer(PresenceAbsence):
    """Presence-absence loss with photographers (Mac Aodha et al., ICCV 2019).

    To the parts of :class:`PresenceAbsence` it adds, with a vector u for each photographer,
    l(p) = -log(p + epsilon) and Q classes: the mean over images of l(sigmoid(u . e(x))) at the
    image's place x (``there``), of l(1 - sigmoid(u . e(x'))) at a random place x' (``elsewhere``),
    and the mean over images and classes of Q l(sigmoid(u . T_y)) for the class y of the image
    and l(1 - sigmoid(u . T_c)) for the others (``likes``).

    Images with group -1 are left out of the three, those with label -1 of the last.

    Args:
        dim: D, size of the location embedding.
        classes: Q, number of classes.
        photographers: number of photographers, the groups of the images.
        epsilon: added inside the logarithm; 1e-5 in the released code, none in the paper.
        sampling: where random places are drawn, a :class:`NegativeSampling` or its value.

    Attributes:
        photographer_matrix: a linear layer from D to the photographers without bias.

    Raises:
        ValueError: no class or no photographer.
    """

    uses_groups = True

    def __init__(
        self,
        *,
        dim: int,
        classes: int,
        photographers: int,
        epsilon: float = 1e-5,
        sampling: NegativeSampling | str = NegativeSampling.SPHERE,
    ) -> None:
        super().__init__(dim=dim, classes=classes, epsilon=epsilon, sampling=sampling)
        if photographers < 1:
            raise ValueError(f"photographers must be at least 1, got {photographers}")
        self.photographer_matrix = nn.Linear(dim, photographers, bias=False)

    def terms(self, views: Views) -> dict[str, Tensor]:
        """``seen``, ``random``, ``there``, ``elsewhere`` and ``likes``."""
        assert views.labels is not None
        groups = self._checked_groups(views.groups)
        known, labelled = groups >= 0, (groups >= 0) & (views.labels >= 0)
        person = self.photographer_matrix.weight[groups[known]]
        there = (person * views.raw_location[known]).sum(1)
        elsewhere = (person * views.extra["random"].raw[known, 0]).sum(1)
        likes = self.by_parts(self._likes, groups[labelled], views.labels[labelled])
        losses = {
            "there": self.present(there),
            "elsewhere": self.absent(elsewhere),
            "likes": likes,
        }
        means = {name: mean_over_processes(loss, views.process) for name, loss in losses.items()}
        return super().terms(views) | means

    def _likes(self, groups: Tensor, labels: Tensor) -> Tensor:
        return self.one_present(self.scores(self.photographer_matrix.weight[groups]), labels)

    def _checked_groups(self, groups: Tensor | None) -> Tensor:
        assert groups is not None
        known = self.photographer_matrix.out_features
        wrong = groups >= known
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise DataError(
                f"group of row {row} of the batch is {int(groups[row])}; the objective has "
                f"{known} photographers, 0..{known - 1}"
            )
        return groups
