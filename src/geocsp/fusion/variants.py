"""Ways of joining P(y | I) and P(y | x), each with a few numbers fitted on held-out labels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F


class Variant(StrEnum):
    """How to join image and place, and what is fitted.

    ``PRODUCT``: their plain product, nothing fitted (Mai et al., ICML 2023, section 3.4);
    ``TEMPERATURES``: the product with a temperature each (Guo et al., ICML 2017);
    ``POWER``: these, and a power of the place's part: a logarithmic opinion pool;
    ``ADDITIVE``: their weighted mean: a linear opinion pool (Stone, Annals of Mathematical
    Statistics 1961; both pools are compared by Genest and Zidek, Statistical Science 1986), the
    sum rule of Kittler et al. (PAMI 1998) with weights.
    """

    PRODUCT = "product"
    TEMPERATURES = "temperatures"
    POWER = "power"
    ADDITIVE = "additive"


class Fusion(Protocol):
    """Joins what an image and a place say, row by row."""

    def logits(self, log_image: Tensor, scores: Tensor) -> Tensor:
        """Unnormalised log P(y | I, x), ``(N, Q)``.

        Args:
            log_image: ``(N, Q)`` log P(y | I).
            scores: ``(N, Q)`` presence scores before the sigmoid.
        """


@dataclass(frozen=True)
class Calibration:
    """How much to trust each side of the product; ones give the plain product.

    ``P(y|I,x)`` is proportional to ``P(y|I)^(1/image_temperature)`` times
    ``sigmoid(score / prior_temperature)^prior_power``.

    Attributes:
        image_temperature: above 1 softens the image classifier.
        prior_temperature: above 1 softens the presence scores, which the presence-absence loss
            drives into saturation.
        prior_power: 0 ignores the place.
    """

    image_temperature: float = 1.0
    prior_temperature: float = 1.0
    prior_power: float = 1.0

    def __post_init__(self) -> None:
        if not (self.image_temperature > 0 and self.prior_temperature > 0 <= self.prior_power):
            raise ValueError(f"temperatures must be > 0 and the power >= 0, got {self}")

    def logits(self, log_image: Tensor, scores: Tensor) -> Tensor:
        """Unnormalised log P(y | I, x); see :class:`Fusion`."""
        prior = F.logsigmoid(scores / self.prior_temperature)
        return log_image / self.image_temperature + self.prior_power * prior


@dataclass(frozen=True)
class Mixture:
    """How much of the answer is the image's and how much the place's.

    ``P(y|I,x)`` is ``1 - place_weight`` times ``P(y|I)^(1/image_temperature)`` plus
    ``place_weight`` times ``sigmoid(score / prior_temperature)``, both scaled to sum to one over
    the classes.

    Attributes:
        image_temperature: above 1 softens the image classifier.
        prior_temperature: above 1 softens the presence scores.
        place_weight: from 0, the image alone, to 1, the place alone.
    """

    image_temperature: float = 1.0
    prior_temperature: float = 1.0
    place_weight: float = 0.5

    def __post_init__(self) -> None:
        if not (min(self.image_temperature, self.prior_temperature) > 0 <= self.place_weight <= 1):
            raise ValueError(f"temperatures must be > 0 and the weight in [0, 1], got {self}")

    def logits(self, log_image: Tensor, scores: Tensor) -> Tensor:
        """Log P(y | I, x); see :class:`Fusion`."""
        image = (log_image / self.image_temperature).log_softmax(dim=1)
        place = F.logsigmoid(scores / self.prior_temperature).log_softmax(dim=1)
        weight = scores.new_ones(1) * self.place_weight
        return ((1 - weight).log() + image).logaddexp(weight.log() + place)
