"""SimCSE: two views of a place agree, against the views of other places."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.objectives.base import Views
from geocsp.objectives.moves import jitter
from geocsp.objectives.pairs import softmax_pairs
from geocsp.objectives.temperature import Tempered
from geocsp.registry import register


@register("objective", "simcse")
class SimCse(Tempered):
    """Contrastive loss between two views of the same places (Gao et al., EMNLP 2021; SimCSE).

    The cross-entropy, over cosine similarities divided by a temperature, of a place picking its
    own second view among those of the batch. The views differ by their dropout masks, as in the
    paper and in part D of CSP, and by ``jitter_km``, which asks that places so close be alike.
    Images are not used. A location encoder without dropout needs the jitter.

    Args:
        jitter_km: standard deviation of Gaussian noise on the place of the second view, kilometres.
        temperature: fixed temperature, 0.05 in the paper; if None, the model's learnable one.

    Raises:
        ValueError: a setting out of range.
    """

    uses_images = False

    def __init__(self, *, jitter_km: float = 0.0, temperature: float | None = 0.05) -> None:
        super().__init__(temperature)
        if jitter_km < 0:
            raise ValueError(f"jitter_km must be >= 0, got {jitter_km}")
        self.jitter_km = jitter_km

    def places(self, lonlat: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The second view of each place."""
        return {"again": jitter(lonlat, self.jitter_km, generator).unsqueeze(1)}

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss."""
        again = views.process.gather(views.extra["again"].unit[:, 0])
        own = views.first
        return {"loss": softmax_pairs(views.location, again, self.scale(views), own=own)}
