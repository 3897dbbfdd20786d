"""MSE: regress the image feature from the place, the paper's non-contrastive baseline."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.objectives.base import Objective, Views
from geocsp.registry import register


@register("objective", "mse")
class MeanSquaredError(Objective):
    """Mean squared error between image features and a linear map of the location embedding.

    The baseline "MSE" of Mai et al. (ICML 2023, section 4.1). The raw, not normalised, location
    embedding is mapped to the image features; the model's image projection is not used.

    Args:
        dim: size of the location embedding.
        feature_dim: size of the image features.
    """

    uses_images = False
    uses_features = True

    def __init__(self, *, dim: int, feature_dim: int) -> None:
        super().__init__()
        self.decoder = nn.Linear(dim, feature_dim)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss, averaged over images and feature dimensions."""
        assert views.features is not None
        return {"loss": F.mse_loss(self.decoder(views.raw_location), views.features)}
