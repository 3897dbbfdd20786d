"""The two models: GeoModel (images and places in one space) and GeoPrior (P(class | place))."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.coords import check_lonlat
from geocsp.errors import DataError
from geocsp.files import write_atomically
from geocsp.location.base import LocationEncoder
from geocsp.registry import create

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_ROWS_PER_PASS = 65_536


class _Saved(nn.Module):
    """A module that lives in a folder: config.json and model.safetensors."""

    def config(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors`` into a folder, made if needed.

        Raises:
            DataError: the location encoder was not made by :func:`geocsp.create`.
        """
        config = {"format": 1, "model": type(self).__name__} | self.config()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: t.detach().contiguous() for name, t in self.state_dict().items()}
        write_atomically(folder / WEIGHTS_FILE, save(weights))
        write_atomically(folder / CONFIG_FILE, json.dumps(config, indent=2).encode())
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Rebuild a saved model, in evaluation mode.

        Raises:
            DataError: a file is missing, damaged, or belongs to another model.
        """
        folder = Path(folder)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise DataError(f"{folder / name} is missing; save_pretrained writes it")
        try:
            config = json.loads((folder / CONFIG_FILE).read_text())
            kind = config["model"]
            model = cls.from_config(config) if kind == cls.__name__ else None
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{folder / CONFIG_FILE} is damaged: {error!r}") from error
        if model is None:
            raise DataError(f"{folder} holds a {kind}, not a {cls.__name__}")
        try:
            model.load_state_dict(load((folder / WEIGHTS_FILE).read_bytes()), assign=True)
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{folder / WEIGHTS_FILE} does not fit its config: {reason}") from error
        return model.eval()


def _recipe(encoder: LocationEncoder) -> dict[str, Any]:
    recipe: dict[str, Any] | None = getattr(encoder, "recipe", None)
    if recipe is None:
        raise DataError(
            f"{type(encoder).__name__} was not made by geocsp.create('location', name, ...), so a "
            "folder could not rebuild it"
        )
    return recipe


class GeoModel(_Saved):
    """Image features and places in one embedding space.

    The image side is one linear projection of frozen image features, as in the released code
    (Mai et al., ICML 2023); the location side is any location encoder.

    Args:
        location: location encoder with embeddings of size D.
        feature_dim: F, size of the image features.
        temperature: start of the learnable temperature.
    """

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

    def standardise_by(self, features: Tensor) -> None:
        """Centre and scale image features by the mean and deviation of these, ``(N, F)``.

        The published method does not; without it the largest features rule the similarity.
        """
        self.feature_mean.copy_(features.mean(0))
        self.feature_deviation.copy_(features.std(0, correction=0).clamp_min(1e-6))

    def standardised(self, features: Tensor) -> Tensor:
        """Image features as the projection gets them: ``(B, F)`` to ``(B, F)``."""
        return (features - self.feature_mean) / self.feature_deviation

    def encode_image(self, features: Tensor) -> Tensor:
        """Project image features ``(B, F)`` to unit length embeddings ``(B, D)``."""
        return F.normalize(self.projection(self.standardised(features)), dim=-1)

    def encode_location(self, lonlat: Tensor) -> Tensor:
        """Embed places ``(B, 2)``, degrees, as unit length embeddings ``(B, D)``."""
        return F.normalize(self.location(lonlat), dim=-1)

    def forward(self, features: Tensor, lonlat: Tensor) -> dict[str, Tensor]:
        """Return ``{"image": (B, D), "location": (B, D), "scale": ()}``."""
        return {
            "image": self.encode_image(features),
            "location": self.encode_location(lonlat),
            "scale": self.scale(),
        }

    def embed(self, lonlat: Tensor) -> Tensor:
        """Raw location embeddings without gradient or dropout: ``(N, 2)`` to ``(N, D)``."""
        return in_passes(self, self.location, check_lonlat(lonlat))

    def embed_images(self, features: Tensor) -> Tensor:
        """Image embeddings without gradient, unit length: ``(N, F)`` to ``(N, D)``."""
        return in_passes(self, self.encode_image, features)

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the model."""
        return {"location": _recipe(self.location), "feature_dim": self.projection.in_features}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an untrained model from its settings."""
        return cls(_build_location(config), config["feature_dim"])


class GeoPrior(_Saved):
    """P(class is present | place): a location encoder and one vector per class.

    Args:
        location: location encoder with embeddings of size D.
        classes: Q class names, or how many there are.
    """

    def __init__(self, location: LocationEncoder, classes: Sequence[str] | int) -> None:
        super().__init__()
        names = [str(i) for i in range(classes)] if isinstance(classes, int) else list(classes)
        self.location = location
        self.class_names = tuple(names)
        self.class_matrix = nn.Linear(location.dim, len(names), bias=False)

    def forward(self, lonlat: Tensor) -> Tensor:
        """Class scores e(x) . T_c: ``(N, 2)`` degrees to ``(N, Q)``, before the sigmoid."""
        scores: Tensor = self.class_matrix(self.location(lonlat))
        return scores

    def class_scores(self, lonlat: Tensor) -> Tensor:
        """Scores without gradient or dropout: ``(N, 2)`` to ``(N, Q)``."""
        return in_passes(self, self, check_lonlat(lonlat))

    def class_probabilities(self, lonlat: Tensor) -> Tensor:
        """Presence of each class on its own, sigmoid of its score: ``(N, 2)`` to ``(N, Q)``."""
        return self.class_scores(lonlat).sigmoid()

    def embed(self, lonlat: Tensor) -> Tensor:
        """Raw location embeddings without gradient or dropout: ``(N, 2)`` to ``(N, D)``."""
        return in_passes(self, self.location, check_lonlat(lonlat))

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the model."""
        return {"location": _recipe(self.location), "classes": list(self.class_names)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an untrained model from its settings."""
        return cls(_build_location(config), config["classes"])


def _build_location(config: dict[str, Any]) -> LocationEncoder:
    recipe = config["location"]
    encoder: LocationEncoder = create("location", recipe["name"], **recipe["settings"])
    return encoder


@torch.no_grad()
def in_passes(model: nn.Module, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Apply a part of ``model`` to many rows in bounded memory, in evaluation mode."""
    with evaluating(model):
        return torch.cat([function(part) for part in rows.split(_ROWS_PER_PASS)])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, the former mode of every part after it."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
