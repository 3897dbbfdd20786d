"""The two models: GeoModel (images and places in one space) and GeoPrior (P(class | place))."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.features import Features
from geocsp.images.unfrozen import is_frozen, set_training, unfreeze
from geocsp.location.base import LocationEncoder
from geocsp.passes import in_passes
from geocsp.registry import create
from geocsp.saved import Saved

_IMAGES_PER_PASS = 64
LOG_LIMIT = math.log(100.0)
"""Logarithm of the largest inverse temperature."""


class GeoModel(Saved):
    """Images and places in one embedding space.

    The image side is one linear projection of frozen image features, as in the released code
    (Mai et al., ICML 2023), or a perceptron as in GeoCLIP; the location side is any location
    encoder. A model that is given an image encoder takes images, too, of which the encoder makes
    the features; its weights are frozen until :meth:`train_image` lets some of them move.

    Wherever ``images`` are asked for, these are image features ``(B, F)`` or, for a model with an
    image encoder, also images ``(B, channels, pixels, pixels)`` out of ``image.transform``.

    Args:
        location: location encoder with embeddings of size D.
        feature_dim: F, size of the image features.
        temperature: start of the learnable temperature.
        image: image encoder with features of size F.
        hidden: width of a hidden layer with ReLU in the projection of image features; None: none.

    Raises:
        ValueError: the image encoder's features are of another size, or a hidden layer below one.
    """

    kind = "GeoModel"

    def __init__(
        self,
        location: LocationEncoder,
        feature_dim: int,
        *,
        temperature: float = 0.07,
        image: ImageEncoder | None = None,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        if image is not None and image.dim != feature_dim:
            raise ValueError(f"feature_dim is {feature_dim}, but the encoder gives {image.dim}")
        if hidden is not None and hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        self.location = location
        self.image = image
        self.hidden = None if hidden is None else nn.Linear(feature_dim, hidden)
        self.projection = nn.Linear(hidden or feature_dim, location.dim)
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_deviation", torch.ones(feature_dim))
        self.feature_mean: Tensor
        self.feature_deviation: Tensor
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        if image is not None:
            self.train_image()

    def train_image(self, *patterns: str) -> tuple[str, ...]:
        """Let weights of the image encoder be trained along; all others are frozen.

        Norms over the batch keep the statistics that they came with, also where their weights are
        trained. Which weights are trained is not saved with the model.

        Args:
            *patterns: of names of weights, with ``*`` for anything: "layer4.*", or "*" for all;
                none to freeze the encoder.

        Returns:
            Names of the weights that are trained.

        Raises:
            DataError: a pattern matches nothing, or there is no image encoder.
        """
        if self.image is None:
            raise DataError("the model has no image encoder; create it as GeoModel(..., image=...)")
        names = unfreeze(self.image, patterns)
        set_training(self.image, self.training)
        return names

    def with_image(self, image: ImageEncoder) -> GeoModel:
        """The same model with the image encoder that its features came from, so it takes images.

        Args:
            image: encoder with features of size F; all weights but its own are shared.

        Raises:
            ValueError: the encoder's features are of another size.
        """
        hidden = None if self.hidden is None else self.hidden.out_features
        model = GeoModel(self.location, len(self.feature_mean), image=image, hidden=hidden)
        model.load_state_dict(self.state_dict(), strict=False, assign=True)
        return model.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode, or evaluation mode; frozen parts of the image encoder know the latter."""
        super().train(mode)
        if self.image is not None:
            set_training(self.image, mode)
        return self

    def scale(self) -> Tensor:
        """Inverse temperature, at most 100 (as in CLIP), a scalar."""
        return self.log_scale.clamp(max=LOG_LIMIT).exp()

    @torch.no_grad()
    def limit_scale(self) -> None:
        """Bring the temperature back to where it can be learned, after a step too far."""
        self.log_scale.clamp_(max=LOG_LIMIT)

    def standardise_by(self, features: Tensor | Features) -> None:
        """Centre and scale image features by the mean and deviation of these, ``(N, F)``.

        The published method does not; without it the largest features rule the similarity. A model
        with an image encoder treats the encoder's features the same way, so these are to be
        features of that encoder; they stay what they are when the encoder is trained.
        """
        if isinstance(features, Tensor):
            mean, deviation = features.mean(0), features.std(0, correction=0)
        else:
            mean, deviation = features.moments()
        self.feature_mean.copy_(mean)
        self.feature_deviation.copy_(deviation.clamp_min(1e-6))

    def standardised(self, images: Tensor) -> Tensor:
        """Features of images as the projection gets them, ``(B, F)``, for use as a target."""
        features = self.features(images).detach()
        return (features - self.feature_mean) / self.feature_deviation

    def project_image(self, images: Tensor) -> Tensor:
        """Project images to embeddings ``(B, D)`` of any length.

        Standardising is folded into the weights, which are fewer than the features.
        """
        first = self.projection if self.hidden is None else self.hidden
        weight = first.weight / self.feature_deviation
        bias = first.bias - weight @ self.feature_mean
        projected = F.linear(self.features(images).to(weight.dtype), weight, bias)
        return projected if self.hidden is None else self.projection(projected.relu())

    def features(self, images: Tensor) -> Tensor:
        """Image features of ``images``, ``(B, F)``: as they are, or made by the encoder.

        Raises:
            ValueError: these are images, and the model has no encoder.
        """
        if images.ndim == 2:
            return images
        if self.image is None:
            raise ValueError(
                f"images must be features (B, {len(self.feature_mean)}) for a model without "
                f"image encoder, got {tuple(images.shape)}"
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not is_frozen(self.image)):
            features: Tensor = self.image(images)
        return features

    def encode_image(self, images: Tensor) -> Tensor:
        """Project images to unit length embeddings ``(B, D)``."""
        return F.normalize(self.project_image(images), dim=-1)

    def encode_location(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Embed places ``(B, 2)``, degrees, as unit length embeddings ``(B, D)``."""
        return F.normalize(self.location(lonlat, time), dim=-1)

    def forward(
        self, images: Tensor, lonlat: Tensor, time: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``{"image": (B, D), "location": (B, D), "scale": ()}``."""
        return {
            "image": self.encode_image(images),
            "location": self.encode_location(lonlat, time),
            "scale": self.scale(),
        }

    def embed(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Raw location embeddings without gradient or dropout: ``(N, 2)`` to ``(N, D)``."""
        return self.location.embed(lonlat, time)

    def embed_images(self, images: Tensor) -> Tensor:
        """Image embeddings without gradient, unit length, ``(N, D)``, in bounded memory."""
        rows = 65_536 if images.ndim == 2 else _IMAGES_PER_PASS
        return in_passes(self, self.encode_image, images, rows=rows)

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the model.

        Raises:
            DataError: an encoder was not made by :func:`geocsp.create`.
        """
        config = self.location.config() | {"feature_dim": len(self.feature_mean)}
        if self.hidden is not None:
            config |= {"hidden": self.hidden.out_features}
        return config if self.image is None else config | {"image": _recipe(self.image)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an untrained model from its settings.

        Files of weights that the settings of the image encoder name have to be where they were.
        """
        recipe = config.get("image")
        image = None if recipe is None else create("image", recipe["name"], **_local(recipe))
        location, hidden = LocationEncoder.from_config(config), config.get("hidden")
        return cls(location, config["feature_dim"], image=image, hidden=hidden)


def _local(recipe: dict[str, Any]) -> dict[str, Any]:
    """Settings of an encoder without leave to download: a folder may come from anybody."""
    return {name: v for name, v in recipe["settings"].items() if name != "allow_download"}


def _recipe(encoder: ImageEncoder) -> dict[str, Any]:
    """Name and settings of an encoder; paths as text, made absolute."""
    recipe: dict[str, Any] | None = getattr(encoder, "recipe", None)
    if recipe is None:
        raise DataError(
            f"{type(encoder).__name__} was not made by geocsp.create('image', name, ...), so a "
            "folder could not rebuild it"
        )
    settings = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in recipe["settings"].items()
    }
    return {"name": recipe["name"], "settings": settings}


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
