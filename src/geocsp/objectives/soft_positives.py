"""Soft positives: images taken close to a place suit it too, the closer the more."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM, unit_vectors
from geocsp.objectives.base import Views
from geocsp.objectives.pairs import softmax_pairs
from geocsp.objectives.temperature import Tempered
from geocsp.registry import register

WIDTHS = 3
"""Beyond so many widths, the weight of a pair is zero."""


@register("objective", "soft-positives")
class SoftPositives(Tempered):
    """Symmetric contrastive loss whose targets are spread over the neighbourhood.

    As in :class:`Clip`, places pick images and images places by a cross-entropy over cosine
    similarities divided by a temperature, but with a target of weights in place of the one true
    partner: w_ij is proportional to exp(-(d_ij / width)^2 / 2) for the great-circle distance d_ij
    of images i and j, zero beyond 3 widths, and sums to one over j. Such smoothing of the target
    by distance is due to PIGEON (Haas et al., CVPR 2024), there over cells. The least value
    of the loss is the mean entropy of the targets, not zero.

    Args:
        width_km: width of the neighbourhood, kilometres.
        temperature: fixed temperature; if left out, the model's learnable one is used.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(self, *, width_km: float = 25.0, temperature: float | None = None) -> None:
        super().__init__(temperature)
        if width_km <= 0:
            raise ValueError(f"width_km must be positive, got {width_km}")
        self.width_km = width_km

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss."""
        vectors = unit_vectors(views.lonlat.double())
        everybody = views.process.gather(vectors)

        def targets(rows: slice) -> Tensor:
            exact = "donot_use_mm_for_euclid_dist"
            chord = torch.cdist(vectors[rows], everybody, compute_mode=exact)
            widths = 2 * EARTH_RADIUS_KM / self.width_km * (chord / 2).clamp(max=1).asin()
            weights = (-widths.square() / 2).exp().masked_fill(widths > WIDTHS, 0)
            return (weights / weights.sum(1, keepdim=True)).to(views.location.dtype)

        return {"loss": symmetric_targets(views, self.scale(views), targets)}


def symmetric_targets(
    views: Views, scale: Tensor | float, targets: Callable[[slice], Tensor]
) -> Tensor:
    """Mean of the cross-entropies of places with images and of images with places, a scalar.

    Args:
        views: the embeddings; needs ``image``.
        scale: inverse temperature.
        targets: for a slice of the own rows, c long, the weights ``(c, B)`` over all rows of the
            batch, which sum to one and are the same in both directions.
    """
    assert views.image is not None
    gather = views.process.gather
    to_images = softmax_pairs(views.location, gather(views.image), scale, targets=targets)
    to_places = softmax_pairs(views.image, gather(views.location), scale, targets=targets)
    return (to_images + to_places) / 2
