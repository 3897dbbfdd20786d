"""Presence-absence: the loss of geo priors, as an objective."""

from __future__ import annotations

from geocsp.objectives.an_full import AnFull
from geocsp.objectives.negatives import NegativeSampling
from geocsp.registry import register


@register("objective", "presence-absence")
class PresenceAbsence(AnFull):
    """Presence-absence loss of geo priors (Mac Aodha et al., ICCV 2019; CSP's eq. 5).

    :class:`AnFull` in which the class seen weighs as much as there are classes: with
    l(p) = -log(p + epsilon), the mean over labelled places and Q classes of Q l(p_y) for the class
    seen and l(1 - p_c) for the others, plus the mean over random places and classes of
    l(1 - r_c). See :func:`geocsp.objectives.presence_absence` for the same over given scores.

    Args:
        dim: D, size of the location embedding.
        classes: Q, number of classes.
        epsilon: added inside the logarithm; 1e-5 in the released code, none in the papers.
        sampling: where random places are drawn, a :class:`NegativeSampling` or its value.
    """

    def __init__(
        self,
        *,
        dim: int,
        classes: int,
        epsilon: float = 1e-5,
        sampling: NegativeSampling | str = NegativeSampling.SPHERE,
    ) -> None:
        super().__init__(
            dim=dim,
            classes=classes,
            positive_weight=float(classes),
            epsilon=epsilon,
            sampling=sampling,
        )
