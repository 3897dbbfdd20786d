"""The two models: GeoModel (images and places in one space) and GeoPrior (P(class | place))."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.images.features import Features
from geocsp.location.base import LocationEncoder
from geocsp.passes import in_passes
from geocsp.saved import Saved


class GeoModel(Saved):
    """Image features and places in one embedding space.

    The image side is one linear projection of frozen image features, as in the released code
    (Mai et al., ICML 2023); the location side is any location encoder.

    Args:
        location: location encoder with embeddings of size D.
        feature_dim: F, size of the image features.
        temperature: start of the learnable temperature.
    """

    kind = "GeoModel"

    def __init__(
        self, location: LocationEncoder, feature_dim: int, *, temperature: float = 0.07
    ) -> None:
        super().__init__()
        self.location = location
        self.projection = nn.Linear(feature_dim, location.dim)
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_deviation", torch.ones(feature_dim))
        self.feature_mean: Tensor
        self.feature_deviation: Tensor
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def scale(self) -> Tensor:
        """Inverse temperature, at most 100 (as in CLIP), a scalar."""
        return self.log_scale.clamp(max=math.log(100.0)).exp()

    def standardise_by(self, features: Tensor | Features) -> None:
        """Centre and scale image features by the mean and deviation of these, ``(N, F)``.

        The published method does not; without it the largest features rule the similarity.
        """
        if isinstance(features, Tensor):
            mean, deviation = features.mean(0), features.std(0, correction=0)
        else:
            mean, deviation = features.moments()
        self.feature_mean.copy_(mean)
        self.feature_deviation.copy_(deviation.clamp_min(1e-6))

    def standardised(self, features: Tensor) -> Tensor:
        """Image features as the projection gets them: ``(B, F)`` to ``(B, F)``."""
        return (features - self.feature_mean) / self.feature_deviation

    def encode_image(self, features: Tensor) -> Tensor:
        """Project image features ``(B, F)`` to unit length embeddings ``(B, D)``."""
        return F.normalize(self.projection(self.standardised(features)), dim=-1)

    def encode_location(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Embed places ``(B, 2)``, degrees, as unit length embeddings ``(B, D)``."""
        return F.normalize(self.location(lonlat, time), dim=-1)

    def forward(
        self, features: Tensor, lonlat: Tensor, time: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``{"image": (B, D), "location": (B, D), "scale": ()}``."""
        return {
            "image": self.encode_image(features),
            "location": self.encode_location(lonlat, time),
            "scale": self.scale(),
        }

    def embed(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Raw location embeddings without gradient or dropout: ``(N, 2)`` to ``(N, D)``."""
        return self.location.embed(lonlat, time)

    def embed_images(self, features: Tensor) -> Tensor:
        """Image embeddings without gradient, unit length: ``(N, F)`` to ``(N, D)``."""
        return in_passes(self, self.encode_image, features)

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the model."""
        return self.location.config() | {"feature_dim": self.projection.in_features}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an untrained model from its settings."""
        return cls(LocationEncoder.from_config(config), config["feature_dim"])


class GeoPrior(Saved):
    """P(class is present | place): a location encoder and one vector per class.

    Args:
        location: location encoder with embeddings of size D.
        classes: Q class names, or how many there are.
    """

    kind = "GeoPrior"

    def __init__(self, location: LocationEncoder, classes: Sequence[str] | int) -> None:
        super().__init__()
        names = [str(i) for i in range(classes)] if isinstance(classes, int) else list(classes)
        self.location = location
        self.class_names = tuple(names)
        self.class_matrix = nn.Linear(location.dim, len(names), bias=False)

    def forward(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Class scores e(x) . T_c: ``(N, 2)`` degrees to ``(N, Q)``, before the sigmoid."""
        scores: Tensor = self.class_matrix(self.location(lonlat, time))
        return scores

    def class_scores(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Scores without gradient or dropout: ``(N, 2)`` to ``(N, Q)``."""
        self.location.check(lonlat, time)
        return in_passes(self, self, lonlat, time, rows=self.location.rows_per_pass)

    def class_probabilities(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Presence of each class on its own, sigmoid of its score: ``(N, 2)`` to ``(N, Q)``."""
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
