"""Everything that fixes one way of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch
from numpy.typing import ArrayLike

from geocsp import registry
from geocsp.data.samplers import Sampler
from geocsp.images.base import ImageEncoder
from geocsp.location.base import LocationEncoder
from geocsp.model import GeoModel, GeoPrior
from geocsp.objectives import Objective
from geocsp.presets.parts import Component, HoldOut, ImageTower, Sizes
from geocsp.presets.ranges import Range
from geocsp.train.finetune import FinetuneSettings
from geocsp.train.linear import LinearSettings
from geocsp.train.settings import PretrainSettings

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Preset:
    """One way of training.

    Attributes:
        location: location encoder.
        objective: pre-training objective, None for supervised training alone.
        pretrain: length and rates of pre-training.
        finetune: length, rates and negatives of fine-tuning.
        linear: in place of fine-tuning, a linear head on the pre-trained location encoder, which
            stays as it is.
        sampler: which images an epoch of pre-training shows; None: all of them.
        temperature: start of the learnable temperature, used if the objective learns one.
        standardise: pre-train on standardised image features.
        aligned_image: train the image head on the pre-trained image embedding, which the places
            have shaped, and not on the raw image features.
        image: image encoder, where the source holds images and not features.
        image_hidden: width of a hidden layer in the projection of image features; None: none.
        per_class: train on at most so many images of each class, chosen once; None: on all.
        hold_out: which images are held out to look at while training.
        tune: what a search may try, by the path of a setting such as ``pretrain.learning_rate``
            or ``location.settings.min_radius``.
        seed: of weights, batches, random places, dropout and what is held out.
    """

    location: Component
    objective: Component | None = None
    pretrain: PretrainSettings = field(default_factory=PretrainSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    linear: LinearSettings | None = None
    sampler: Component | None = None
    temperature: float = 0.07
    standardise: bool = False
    aligned_image: bool = False
    image: ImageTower = field(default_factory=ImageTower)
    image_hidden: int | None = None
    per_class: int | None = None
    hold_out: HoldOut = field(default_factory=HoldOut)
    tune: dict[str, Range] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if self.image_hidden is not None and self.image_hidden < 1:
            raise ValueError(f"image_hidden must be at least 1, got {self.image_hidden}")
        if self.per_class is not None and self.per_class < 1:
            raise ValueError(f"per_class must be at least 1, got {self.per_class}")

    def check(self) -> None:
        """Build all parts once, to find what cannot be built.

        Raises:
            ValueError: there is no such component, or it does not take its settings.
        """
        location = _built(self.location, lambda: self.build_location(0))
        sizes = Sizes(location.dim, classes=2)
        if self.objective is not None:
            _built(self.objective, lambda: self.build_objective(0, sizes))
        if self.sampler is not None:
            name, settings = self.sampler.name, self.sampler.settings
            _built(self.sampler, lambda: registry.create("sampler", name, **settings))

    def build_location(self, seed: int) -> LocationEncoder:
        """A new location encoder with weights drawn by ``seed``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder: LocationEncoder = registry.create(
                "location", self.location.name, **self.location.settings
            )
        return encoder

    def build_model(
        self, feature_dim: int, seed: int, image: ImageEncoder | None = None
    ) -> GeoModel:
        """An untrained model for image features of size ``feature_dim``, or for images.

        Raises:
            DataError: the image encoder has no weights of the names that are to be trained.
        """
        location = self.build_location(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = GeoModel(
                location,
                feature_dim,
                temperature=self.temperature,
                image=image,
                hidden=self.image_hidden,
            )
        if image is not None:
            model.train_image(*self.image.train)
        return model

    def build_objective(self, seed: int, sizes: Sizes | None = None) -> Objective:
        """The objective, with weights (if it has any) drawn by ``seed``.

        Args:
            seed: of the weights.
            sizes: fill in for settings that the preset leaves out, such as the number of classes.

        Raises:
            ValueError: the preset does not pre-train, or a size is left out here and there.
        """
        if self.objective is None:
            raise ValueError("this preset trains with labels alone")
        known = {} if sizes is None else asdict(sizes)
        settings = _filled(self.objective.name, self.objective.settings, known)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            objective: Objective = registry.create("objective", self.objective.name, **settings)
        return objective

    def build_sampler(self, lonlat: ArrayLike, labels: ArrayLike | None, seed: int) -> Sampler:
        """The sampler, fitted to ``(N, 2)`` places and, if it looks at them, ``(N,)`` labels.

        Raises:
            DataError: what the sampler goes by is missing or out of range.
        """
        component = self.sampler or Component("uniform")
        settings = {"seed": seed} | component.settings
        sampler: Sampler = registry.create("sampler", component.name, **settings)
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


def _built(component: Component, build: Callable[[], _Part]) -> _Part:
    try:
        return build()
    except TypeError as error:
        settings = ", ".join(f"{name}={value!r}" for name, value in component.settings.items())
        raise ValueError(f"{component.name}({settings}) cannot be built: {error}") from error


def _filled(name: str, settings: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """Settings of an objective with the sizes that it takes and they leave out."""
    if name == "weighted" and isinstance(settings.get("members"), list):
        return settings | {"members": [_filled_member(m, sizes) for m in settings["members"]]}
    takes = _parameters(name)
    return {size: value for size, value in sizes.items() if size in takes} | settings


def _filled_member(member: Any, sizes: dict[str, int]) -> Any:
    if not isinstance(member, dict) or not isinstance(member.get("name"), str):
        return member  # for the objective to refuse
    return member | {"settings": _filled(member["name"], member.get("settings") or {}, sizes)}


def _parameters(name: str) -> frozenset[str]:
    """Names of the settings that an objective takes; none if there is no such objective."""
    known = name in registry.available("objective")
    return registry.settings_of("objective", name) if known else frozenset()
