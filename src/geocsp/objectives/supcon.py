"""Supervised contrast: all images of a class suit the places of that class."""

from __future__ import annotations

from torch import Tensor

from geocsp.objectives.base import Views
from geocsp.objectives.soft_positives import symmetric_targets
from geocsp.objectives.temperature import Tempered
from geocsp.registry import register


@register("objective", "supcon")
class SupCon(Tempered):
    """Supervised contrastive loss between places and images (Khosla et al., NeurIPS 2020, eq. 2).

    The form that the paper calls L_out: for a place i, the mean over its positives j of -log of
    the softmax share of pair (i, j) among all images of the batch; positives are the images with
    the same label, its own included. The same for images and places, and the mean of both. Rows
    with label -1 have only their own partner as a positive, as in :class:`Clip`.

    Args:
        temperature: fixed temperature, 0.1 in the paper; if left out, the model's learnable one.

    Raises:
        ValueError: a setting out of range.
    """

    uses_labels = True

    def __init__(self, *, temperature: float | None = None) -> None:
        super().__init__(temperature)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss."""
        assert views.labels is not None
        labels, everybody = views.labels, views.process.gather(views.labels)
        own = views.first

        def targets(rows: slice) -> Tensor:
            some = labels[rows].unsqueeze(1)
            same = (some == everybody) & (some >= 0)
            same.diagonal(own + rows.start).fill_(True)
            return same.to(views.location.dtype) / same.sum(1, keepdim=True)

        return {"loss": symmetric_targets(views, self.scale(views), targets)}
