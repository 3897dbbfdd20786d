"""Frequency: how common each class is, wherever the place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocsp.data.splitters.base import Floats, Integers
from geocsp.priors.base import PlacePrior
from geocsp.registry import register


@register("prior", "frequency")
@dataclass(eq=False)
class Frequency(PlacePrior):
    """Overall frequency of each class, the same everywhere ("train frequency" in the literature).

    What a prior gains over it, it gains from the place.
    """

    def _keep(self, places: Floats, labels: Integers) -> None:
        pass

    def _probabilities(self, places: Floats) -> Floats:
        return np.broadcast_to(self.frequency, (len(places), len(self.frequency)))
