"""GeoCLIP: images pick their places among those of the batch and a queue of earlier ones."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.objectives.base import Views
from geocsp.objectives.moves import jitter
from geocsp.objectives.pairs import softmax_pairs
from geocsp.objectives.temperature import Tempered
from geocsp.registry import register


@register("objective", "geoclip")
class GeoClip(Tempered):
    """Contrastive loss with a queue of places (Vivanco Cepeda et al., NeurIPS 2023; GeoCLIP).

    The cross-entropy, over cosine similarities divided by a temperature, of an image picking its
    place among the places of the batch and of a queue. The queue keeps the places, not their
    embeddings, of the last batches, first in, first out; they are embedded anew in every step, so
    that none is stale. The queue is the same in every process.

    The released code starts with a queue of random coordinates, needs the queue to be a multiple
    of the batch and adds no noise to it; here the queue starts empty, and takes any batch.

    Args:
        queue: most places in the queue; 4096 as published.
        noise_km: standard deviation of Gaussian noise on the queue's places, kilometres, drawn
            anew in every step, as the paper describes.
        temperature: fixed temperature; if left out, the model's learnable one is used.

    Attributes:
        queued: ``(queue, 2)`` degrees, of which the first ``filled`` rows count.
        filled: ``()`` how many places are in the queue.
        position: ``()`` row that the next place goes to.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self, *, queue: int = 4096, noise_km: float = 0.0, temperature: float | None = None
    ) -> None:
        super().__init__(temperature)
        if queue < 1 or noise_km < 0:
            raise ValueError(f"need queue >= 1 and noise_km >= 0, got {queue} and {noise_km}")
        self.noise_km = noise_km
        self.register_buffer("queued", torch.zeros(queue, 2))
        self.register_buffer("filled", torch.tensor(0))
        self.register_buffer("position", torch.tensor(0))
        self.queued: Tensor
        self.filled: Tensor
        self.position: Tensor

    def places(self, lonlat: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The queue, ``(n, 2)``, unless it is empty."""
        known = self.queued[: int(self.filled)].clone()
        return {"queue": jitter(known, self.noise_km, generator)} if len(known) else {}

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss."""
        assert views.image is not None
        keys = views.process.gather(views.location)
        if "queue" in views.extra:
            keys = torch.cat([keys, views.extra["queue"].unit])
        own = views.first
        return {"loss": softmax_pairs(views.image, keys, self.scale(views), own=own)}

    @torch.no_grad()
    def remember(self, lonlat: Tensor) -> None:
        """Put the places of the batch in the queue, the oldest ones out."""
        size, count = len(self.queued), len(lonlat)
        rows = (self.position + torch.arange(count, device=self.queued.device)) % size
        self.queued[rows[-size:]] = lonlat[-size:].to(self.queued)
        self.filled.add_(count).clamp_(max=size)
        self.position.add_(count).remainder_(size)
