"""Modules with the inputs and outputs of an ONNX file.

They say what the model says, for input that the model takes. A graph cannot refuse a row, so a
place that the model would refuse gives NaN in that row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geocsp.classifier import GeoClassifier
from geocsp.coords import EARTH_RADIUS_KM, unit_vectors
from geocsp.errors import DataError
from geocsp.fusion import GuardedFusion
from geocsp.fusion.guard import backed_off
from geocsp.linear_prior import LinearPrior
from geocsp.location import LocationEncoder
from geocsp.location.angles import arcsine
from geocsp.model import GeoModel, GeoPrior

_LEAST = 1e-12
_NEIGHBOURS = 10
MOST_SUPPORT = 50_000
"""So many places of a guarded fusion's support fit into a file: 24 bytes each, all looked at for
every row."""


class LocationGraph(nn.Module):
    """``(N, 2)`` degrees to ``(N, D)`` embeddings."""

    def __init__(self, location: LocationEncoder) -> None:
        super().__init__()
        self.location = location

    def forward(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """The embedding, NaN where the place is missing or out of range."""
        valid = in_range(lonlat)
        embedding = self.location(torch.where(valid, lonlat, 0.0), time)
        return torch.where(valid, embedding, torch.nan)


class PriorGraph(nn.Module):
    """``(N, 2)`` degrees to scores and probabilities of Q classes."""

    def __init__(self, prior: GeoPrior | LinearPrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, lonlat: Tensor, time: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores and their sigmoids, NaN where the place is missing or out of range."""
        valid = in_range(lonlat)
        scores = self.scores(torch.where(valid, lonlat, 0.0), time)
        scores = torch.where(valid, scores, torch.nan)
        return scores, scores.sigmoid()

    def scores(self, lonlat: Tensor, time: Tensor | None) -> Tensor:
        """As ``class_scores`` of the prior, of places in range."""
        said: Tensor = self.prior(lonlat, time)
        if isinstance(self.prior, GeoPrior):
            return said
        logs = said.double().log_softmax(dim=1)
        others = torch.log1p(-logs.exp()).clamp_min(-36.0)
        return (logs - others).to(said.dtype)


class ImageGraph(nn.Module):
    """Images or their features to logits and probabilities, or to embeddings."""

    def __init__(self, model: GeoModel | GeoClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Unit length embeddings of a model; logits and probabilities of a classifier."""
        if isinstance(self.model, GeoModel):
            return self.model.encode_image(images)
        logits = self.model._image_logits(images)
        return logits, logits.softmax(dim=1)


class ClassifierGraph(nn.Module):
    """Images or their features, and places, to probabilities of Q classes.

    Raises:
        DataError: the fusion goes by more places than a file should hold.
    """

    def __init__(self, model: GeoClassifier) -> None:
        super().__init__()
        self.model = model
        self.prior = PriorGraph(model.prior)
        fusion = model.fusion
        asks = isinstance(fusion, GuardedFusion) and fusion.evidence.enough
        self.near = Near(model.support) if asks else None

    def forward(self, images: Tensor, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """The image's answer where a place is NaN; NaN where it is out of range."""
        image = self.model._image_logits(images).softmax(dim=1)
        log_image = image.clamp_min(_LEAST).log()
        unknown = lonlat.isnan().any(dim=1, keepdim=True)
        valid = in_range(lonlat)
        places = torch.where(valid, lonlat, 0.0)
        fused = self._logits(log_image, places, time).softmax(dim=1).to(image.dtype)
        alone = image / image.sum(dim=1, keepdim=True)
        answer = torch.where(unknown, alone, fused)
        return torch.where(unknown | valid, answer, torch.nan)

    def _logits(self, log_image: Tensor, places: Tensor, time: Tensor | None) -> Tensor:
        fusion = self.model.fusion
        scores = self.prior.scores(places, time).to(log_image.dtype)
        if not isinstance(fusion, GuardedFusion):
            return fusion.logits(log_image, scores)
        if self.near is None:
            return log_image.double() / fusion.image_temperature
        trust = fusion.guard.of(self.near(places))
        return backed_off(
            fusion.fusion, fusion.image_temperature, trust, log_image.double(), scores.double()
        )


class Near(nn.Module):
    """What a guarded fusion goes by: how near and how dense its support is around places.

    Looks at all places of the support, where :class:`geocsp.fusion.Support` has a tree.
    """

    def __init__(self, support: Tensor) -> None:
        super().__init__()
        if len(support) > MOST_SUPPORT:
            raise DataError(
                f"the guarded fusion goes by {len(support):,} places, and a file holds up to "
                f"{MOST_SUPPORT:,}; export the parts image and prior, and join their answers with "
                "geocsp.fuse"
            )
        self.register_buffer("vectors", unit_vectors(support.double()).T.contiguous())
        self.vectors: Tensor

    def forward(self, lonlat: Tensor) -> Tensor:
        """``(N, 2)`` float64 signals, as :func:`geocsp.fusion.trust.signals_of` has them."""
        count = min(_NEIGHBOURS, self.vectors.shape[1])
        cosines = (unit_vectors(lonlat.double()) @ self.vectors).topk(count, dim=1).values
        chords = (2 - 2 * cosines).clamp(0, 4).sqrt()
        angles = 2 * arcsine(chords / 2)
        nearest = EARTH_RADIUS_KM * angles[:, 0]
        reach = angles[:, -1].clamp_min(1 / EARTH_RADIUS_KM)
        area = 4e-6 * torch.pi * (EARTH_RADIUS_KM * (reach / 2).sin()).square()
        return torch.stack([nearest, (area / count).sqrt()], dim=1)


def in_range(lonlat: Tensor) -> Tensor:
    """Which places the model takes, ``(N, 1)``."""
    within: Tensor = (lonlat.abs() <= lonlat.new_tensor([180.0, 90.0])).all(dim=1, keepdim=True)
    return within
