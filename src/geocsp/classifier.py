"""P(class | image, place): a model, an image head, a location prior and what joins them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from geocsp.fusion import Calibration, GuardedFusion, Mixture, Support
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoModel, GeoPrior
from geocsp.passes import in_passes
from geocsp.predict import fuse
from geocsp.saved import Saved
from geocsp.train.finetune import ImageHead

_PRIORS: dict[str, type[GeoPrior] | type[LinearPrior]] = {
    prior.kind: prior for prior in (GeoPrior, LinearPrior)
}


class GeoClassifier(Saved):
    """Classifies images by what they show and where they were taken.

    Wherever ``images`` are asked for, these are image features ``(N, F)`` or, if the model has an
    image encoder, also images ``(N, channels, pixels, pixels)`` out of its transform.
    :func:`geocsp.train.classifier.train_classifier` makes one.

    Args:
        model: images and places in one space.
        prior: P(class | place) over Q classes.
        head: P(class | image), of image features or of image embeddings.
        aligned: whether the head takes the embeddings of ``model`` and not the features.
        fusion: joins image and place; the plain product if left out.
        support: ``(M, 2)`` places that the prior was trained on, degrees; a guarded fusion needs
            them, and they are saved with it.

    Raises:
        ValueError: head and prior have different classes.
    """

    kind = "GeoClassifier"

    def __init__(
        self,
        model: GeoModel,
        prior: GeoPrior | LinearPrior,
        head: ImageHead,
        *,
        aligned: bool = False,
        fusion: Calibration | Mixture | GuardedFusion | None = None,
        support: Tensor | None = None,
    ) -> None:
        super().__init__()
        if head.linear.out_features != len(prior.class_names):
            raise ValueError(
                f"the image head has {head.linear.out_features} classes, the prior "
                f"{len(prior.class_names)}"
            )
        shared = prior.location is model.location  # a folder holds every weight under one name
        self.model, self.prior = model, copy.deepcopy(prior) if shared else prior
        self.aligned = aligned
        self.head = head.linear
        self.register_buffer("head_mean", head.mean)
        self.register_buffer("head_deviation", head.deviation)
        places = torch.zeros(0, 2) if support is None else support.double()
        self.register_buffer("support", places)
        self.head_mean: Tensor
        self.head_deviation: Tensor
        self.support: Tensor
        self._fusion = fusion or Calibration()
        if isinstance(self._fusion, GuardedFusion) and not len(places):
            raise ValueError("a guarded fusion needs the places that the prior was trained on")

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the Q classes mean."""
        return self.prior.class_names

    @property
    def fusion(self) -> Calibration | Mixture | GuardedFusion:
        """What joins image and place."""
        return self._fusion

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights, and with them the places by which a guarded fusion goes."""
        result = super().load_state_dict(state_dict, strict, assign)
        if isinstance(self._fusion, GuardedFusion):
            self._fusion = replace(self._fusion, support=Support(self.support))
        return result

    def image_logits(self, images: Tensor) -> Tensor:
        """Class logits of images alone, without gradient, ``(N, Q)``."""
        return in_passes(self, self._image_logits, images, rows=65_536 if images.ndim == 2 else 64)

    def _image_logits(self, images: Tensor) -> Tensor:
        encode = self.model.encode_image if self.aligned else self.model.features
        standard = (encode(images).to(self.head_mean) - self.head_mean) / self.head_deviation
        logits: Tensor = self.head(standard)
        return logits

    def image_probabilities(self, images: Tensor) -> Tensor:
        """P(class | image), ``(N, Q)``."""
        return self.image_logits(images).softmax(dim=1)

    def class_scores(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Presence scores of places before the sigmoid: ``(N, 2)`` degrees to ``(N, Q)``."""
        return self.prior.class_scores(lonlat, time)

    def class_probabilities(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """P(class | place), ``(N, Q)``, as the prior says it."""
        return self.prior.class_probabilities(lonlat, time)

    def probabilities(self, images: Tensor, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """P(class | image, place), ``(N, Q)``, each row summing to one.

        Args:
            images: N images or their features.
            lonlat: ``(N, 2)`` degrees; a row with NaN has no place and keeps the image's answer.
            time: ``(N, 2)`` date and hour, for priors that take them.
        """
        return fuse(self.image_probabilities(images), self.prior, lonlat, self.fusion, time)

    def embed(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Raw location embeddings: ``(N, 2)`` degrees to ``(N, D)``."""
        return self.model.embed(lonlat, time)

    def embed_images(self, images: Tensor) -> Tensor:
        """Image embeddings of unit length, ``(N, D)``."""
        return self.model.embed_images(images)

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the classifier."""
        joins = self._fusion
        fusion = joins.to_dict() if isinstance(joins, GuardedFusion) else asdict(joins)
        return {
            "geo_model": self.model.config(),
            "prior": {"model": self.prior.kind} | self.prior.config(),
            "aligned": self.aligned,
            "fusion": fusion,
            "support": len(self.support),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an untrained classifier from its settings."""
        model = GeoModel.from_config(config["geo_model"])
        prior = _PRIORS[config["prior"]["model"]].from_config(config["prior"])
        aligned = bool(config["aligned"])
        size = model.location.dim if aligned else len(model.feature_mean)
        linear = nn.Linear(size, len(prior.class_names))
        head = ImageHead(torch.zeros(size), torch.ones(size), linear)
        support = torch.zeros(config["support"], 2, dtype=torch.float64)
        fusion = _fusion_of(config["fusion"], support)
        return cls(model, prior, head, aligned=aligned, fusion=fusion, support=support)


def _fusion_of(values: dict[str, Any], support: Tensor) -> Calibration | Mixture | GuardedFusion:
    if "guard" in values:
        return GuardedFusion.from_dict(values, Support(support))
    return Mixture(**values) if "place_weight" in values else Calibration(**values)
