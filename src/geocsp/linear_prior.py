"""P(class | place) as a linear classifier of a location embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.location.base import LocationEncoder
from geocsp.passes import in_passes
from geocsp.saved import Saved


class LinearPrior(Saved):
    """P(class | place): softmax over a linear map of the unit length location embedding.

    The classes share one probability, so it is the model of a place that shows one class, where
    :class:`geocsp.GeoPrior` says of each class on its own whether it is present. Train it with
    :func:`geocsp.train.linear.fit_linear_prior`.

    Args:
        location: location encoder with embeddings of size D, as a rule pre-trained.
        classes: Q class names, or how many there are.
    """

    kind = "LinearPrior"

    def __init__(self, location: LocationEncoder, classes: Sequence[str] | int) -> None:
        super().__init__()
        names = [str(i) for i in range(classes)] if isinstance(classes, int) else list(classes)
        self.location = location
        self.class_names = tuple(names)
        self.class_matrix = nn.Linear(location.dim, len(names))

    def forward(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Class logits: ``(N, 2)`` degrees to ``(N, Q)``, before the softmax."""
        logits: Tensor = self.class_matrix(F.normalize(self.location(lonlat, time), dim=-1))
        return logits

    def class_scores(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Logits of the probabilities, ``(N, Q)``: their sigmoid is P(class | place).

        The form in which fusion takes the scores of any prior.
        """
        self.location.check(lonlat, time)
        logs = in_passes(self, self, lonlat, time, rows=self.location.rows_per_pass)
        logs = logs.double().log_softmax(dim=1)
        others = torch.log1p(-logs.exp()).clamp_min(-36.0)  # no class is certain beyond rounding
        return (logs - others).to(self.class_matrix.weight.dtype)

    def class_probabilities(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """P(class | place): ``(N, 2)`` to ``(N, Q)``; a row sums to one."""
        return self.class_scores(lonlat, time).sigmoid()

    def embed(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Raw location embeddings without gradient or dropout: ``(N, 2)`` to ``(N, D)``."""
        return self.location.embed(lonlat, time)

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the model."""
        return self.location.config() | {"classes": list(self.class_names)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an untrained model from its settings."""
        return cls(LocationEncoder.from_config(config), config["classes"])
