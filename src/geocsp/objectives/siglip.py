"""SigLIP: of every image and place, whether they belong together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geocsp.objectives.base import Views
from geocsp.objectives.near import check_km, near_pairs
from geocsp.objectives.pairs import sigmoid_pairs
from geocsp.objectives.temperature import Tempered
from geocsp.registry import register


@register("objective", "siglip")
class SigLip(Tempered):
    """Pairwise sigmoid loss (Zhai et al., ICCV 2023, section 3.2).

    With logits z_ij = s_ij / temperature + bias of the cosines s: -log sigmoid(z_ii) for the true
    pairs and -log sigmoid(-z_ij) for all others, summed over pairs and divided by the batch size.
    As the many others outweigh the true pairs at first, the paper starts with a bias of -10, and
    with a temperature of 0.1, which the model is made with.

    Args:
        temperature: fixed temperature; if left out, the model's learnable one is used.
        bias: fixed bias, or the start of a learnable one.
        learnable_bias: learn the bias.
        mask_km: pairs closer than this do not count; 0 keeps all.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        *,
        temperature: float | None = None,
        bias: float = -10.0,
        learnable_bias: bool = True,
        mask_km: float = 0.0,
    ) -> None:
        super().__init__(temperature)
        self.bias = nn.Parameter(torch.tensor(float(bias)), requires_grad=learnable_bias)
        self.mask_km = check_km(mask_km)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss."""
        assert views.image is not None
        loss = sigmoid_pairs(
            views.location,
            views.process.gather(views.image),
            self.scale(views),
            self.bias,
            own=views.first,
            excluded=near_pairs(views, self.mask_km),
        )
        return {"loss": loss}
