"""Named ways of training: what the paper states, what its release does, and ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import ArrayLike

from geocsp.data.samplers import Sampler
from geocsp.location.base import LocationEncoder
from geocsp.location.networks import Activation
from geocsp.model import GeoModel, GeoPrior
from geocsp.objectives import NegativeSampling, Objective
from geocsp.registry import create
from geocsp.train.finetune import FinetuneSettings
from geocsp.train.pretrain import PretrainSettings


@dataclass(frozen=True)
class Component:
    """A registered component by name, with the keyword settings of its class."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """Everything that fixes one way of training.

    Attributes:
        location: location encoder.
        objective: pre-training objective, None for supervised training alone.
        pretrain: length, rates and negatives of pre-training.
        finetune: length, rates and negatives of fine-tuning.
        sampler: which images an epoch of pre-training shows; None: all of them.
        temperature: start of the learnable temperature, used if the objective learns one.
        standardise: pre-train on standardised image features.
        aligned_image: train the image head on the pre-trained image embedding, which the places
            have shaped, and not on the raw image features.
    """

    location: Component
    objective: Component | None
    pretrain: PretrainSettings
    finetune: FinetuneSettings
    sampler: Component | None = None
    temperature: float = 0.07
    standardise: bool = False
    aligned_image: bool = False

    def build_location(self, seed: int) -> LocationEncoder:
        """A new location encoder with weights drawn by ``seed``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder: LocationEncoder = create(
                "location", self.location.name, **self.location.settings
            )
        return encoder

    def build_model(self, feature_dim: int, seed: int) -> GeoModel:
        """An untrained model for image features of size ``feature_dim``."""
        location = self.build_location(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return GeoModel(location, feature_dim, temperature=self.temperature)

    def build_objective(self, seed: int) -> Objective:
        """The objective, with weights (if it has any) drawn by ``seed``.

        Raises:
            ValueError: the preset does not pre-train.
        """
        if self.objective is None:
            raise ValueError("this preset trains with labels alone")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            objective: Objective = create(
                "objective", self.objective.name, **self.objective.settings
            )
        return objective

    def build_sampler(self, lonlat: ArrayLike, labels: ArrayLike | None, seed: int) -> Sampler:
        """The sampler, fitted to ``(N, 2)`` places and, if it looks at them, ``(N,)`` labels.

        Raises:
            DataError: what the sampler goes by is missing or out of range.
        """
        component = self.sampler or Component("uniform")
        sampler: Sampler = create("sampler", component.name, seed=seed, **component.settings)
        return sampler.fit(lonlat, labels)

    def build_prior(
        self, classes: tuple[str, ...], seed: int, pretrained: GeoModel | None = None
    ) -> GeoPrior:
        """A prior to fine-tune, its location encoder new or taken from a pre-trained model."""
        location = self.build_location(seed)
        if pretrained is not None:
            location.load_state_dict(pretrained.location.state_dict())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return GeoPrior(location, classes)


def _grid(*, frequencies: int, min_radius: float) -> Component:
    """The paper's encoder for iNat2018, with its output activation as in the release."""
    settings = {
        "dim": 256,
        "frequencies": frequencies,
        "min_radius": min_radius,
        "max_radius": 360.0,
        "hidden": 512,
        "layers": 1,
        "activation": Activation.LEAKY_RELU.value,
        "dropout": 0.5,
        "legacy_output": True,
    }
    return Component("space2vec-grid", settings)


PAPER = Preset(
    location=_grid(frequencies=32, min_radius=0.01),
    objective=Component("csp-mc"),
    pretrain=PretrainSettings(epochs=30, batch_size=1024, learning_rate=2e-4),
    finetune=FinetuneSettings(learning_rate=5e-4),
)
"""iNat2018 as the paper states it (Mai et al., ICML 2023, section A.4): CSP-MC-BLD, all
temperatures and weights 1, smallest radius 0.01 degrees, negatives uniform on the sphere. Epochs
and batch size, which the paper does not state, are those of the release."""

RELEASE = Preset(
    location=_grid(frequencies=32, min_radius=0.1),
    objective=Component("csp-mc", {"temperatures": [20.0, 1.0, 1.0]}),
    pretrain=PretrainSettings(
        epochs=30, batch_size=1024, learning_rate=5e-4, negatives=NegativeSampling.LEGACY_DISC
    ),
    finetune=FinetuneSettings(
        steps=None,
        epochs=200,
        batch_size=1024,
        learning_rate=1e-3,
        cosine=False,
        decay=0.98,
        negatives=NegativeSampling.LEGACY_DISC,
    ),
    sampler=Component("balanced", {"per_class": 100}),
)
"""iNat2018 as the released scripts run it: temperature 20 in the batch, smallest radius 0.1
degrees, negatives on a disc, and at most 100 images of each class in an epoch, for which the
pre-training "without labels" looks at the labels of all training images."""

BEST = Preset(
    location=_grid(frequencies=16, min_radius=5.0),
    objective=Component(
        "csp-mc",
        {
            "random_location": 0.0,
            "dropout": 0.0,
            "learnable_temperature": True,
            "symmetric": True,
            "mask_km": 100.0,
        },
    ),
    pretrain=PretrainSettings(
        epochs=30, batch_size=512, learning_rate=1e-3, warmup=0.05, cosine=True
    ),
    finetune=FinetuneSettings(steps=150, batch_size=256, learning_rate=5e-3, location_rate=0.2),
    temperature=0.2,
    standardise=True,
    aligned_image=True,
)
"""Ours, tuned on the validation fold of ``bluemarble``: in-batch negatives in both directions with
a learnable temperature, near pairs are no negatives, standardised image features, a location
encoder that fine-tuning moves slowly, and an image head on the image embedding that the places
have shaped. Random places and dropout views brought nothing there and are left out."""

PRESETS = {"paper": PAPER, "release": RELEASE, "best": BEST}
"""All presets by name."""
