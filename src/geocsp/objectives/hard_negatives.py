"""Geographic hard negatives: an image picks its place among places not far from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.coords import EARTH_RADIUS_KM
from geocsp.objectives.base import Views
from geocsp.objectives.moves import ring
from geocsp.objectives.temperature import Tempered
from geocsp.registry import register


@register("objective", "hard-negatives")
class HardNegatives(Tempered):
    """Contrastive loss against places in a ring around each image.

    The cross-entropy, over cosine similarities divided by a temperature, of an image picking its
    place among itself and places around it, drawn anew in every step and uniform by area at a
    distance of ``near_km`` to ``far_km``. Part L of CSP-MC (Mai et al., ICML 2023, eq. 4) with
    near places instead of places anywhere: it teaches what differs within a region, of which
    random places, mostly oceans away, say little.

    Args:
        near_km: least distance, kilometres; within it, images are taken to look alike.
        far_km: largest distance, kilometres.
        negatives_per_image: places around each image.
        temperature: fixed temperature; if left out, the model's learnable one is used.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        *,
        near_km: float = 25.0,
        far_km: float = 500.0,
        negatives_per_image: int = 16,
        temperature: float | None = None,
    ) -> None:
        super().__init__(temperature)
        furthest = math.pi * EARTH_RADIUS_KM
        if not 0 <= near_km < far_km <= furthest:
            raise ValueError(
                f"need 0 <= near_km < far_km <= {furthest:.0f}, got {near_km} and {far_km}"
            )
        if negatives_per_image < 1:
            raise ValueError(f"negatives_per_image must be >= 1, got {negatives_per_image}")
        self.near_km, self.far_km = near_km, far_km
        self.negatives_per_image = negatives_per_image

    def places(self, lonlat: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Places in the ring around each image."""
        return {
            "ring": ring(lonlat, self.near_km, self.far_km, self.negatives_per_image, generator)
        }

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss."""
        assert views.image is not None
        candidates = torch.cat([views.location.unsqueeze(1), views.extra["ring"].unit], dim=1)
        logits = self.scale(views) * (candidates * views.image.unsqueeze(1)).sum(-1)
        own = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return {"loss": F.cross_entropy(logits, own)}
