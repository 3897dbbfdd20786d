"""CLIP: images and places pick each other in the batch."""

from __future__ import annotations

from torch import Tensor

from geocsp.objectives.base import Views
from geocsp.objectives.near import check_km, near_pairs
from geocsp.objectives.pairs import softmax_pairs
from geocsp.objectives.temperature import Tempered
from geocsp.registry import register


@register("objective", "clip")
class Clip(Tempered):
    """Symmetric InfoNCE (Radford et al., ICML 2021; for places SatCLIP, Klemmer et al., AAAI 2025).

    The mean of two cross-entropies over cosine similarities divided by a temperature: a place
    picks its image among the images of the batch, and an image its place among the places.

    Args:
        temperature: fixed temperature; if left out, the model's learnable one is used.
        mask_km: pairs closer than this are not negatives; 0 keeps all.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(self, *, temperature: float | None = None, mask_km: float = 0.0) -> None:
        super().__init__(temperature)
        self.mask_km = check_km(mask_km)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss."""
        return {"loss": symmetric_softmax(views, self.scale(views), self.mask_km)}


def symmetric_softmax(views: Views, scale: Tensor | float, mask_km: float) -> Tensor:
    """Mean of both directions of InfoNCE between places and images of the batch, a scalar.

    Args:
        views: the embeddings; needs ``image``.
        scale: inverse temperature.
        mask_km: pairs closer than this are not negatives; 0 keeps all.
    """
    assert views.image is not None
    near = near_pairs(views, mask_km)
    if views.process.world == 1:
        return softmax_pairs(views.location, views.image, scale, excluded=near, both_ways=True)
    own, gather = views.first, views.process.gather
    images, places = gather(views.image), gather(views.location)
    to_images = softmax_pairs(views.location, images, scale, own=own, excluded=near)
    to_places = softmax_pairs(views.image, places, scale, own=own, excluded=near)
    return (to_images + to_places) / 2
