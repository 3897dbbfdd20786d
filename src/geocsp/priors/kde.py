"""Kernel density: labels count the more, the nearer they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from geocsp.coords import EARTH_RADIUS_KM
from geocsp.data.splitters.base import Floats, Integers
from geocsp.priors.base import PlacePrior, check_positive, label_counts, on_sphere, smoothed
from geocsp.registry import register

_NOTHING = -700.0
"""Smallest exponent: powers below would have no normal float64, which takes ten times as long."""


@register("prior", "kde")
@dataclass(eq=False)
class KernelDensity(PlacePrior):
    """Frequency of a class times its density at the place, by Bayes' rule.

    The kernel is von Mises-Fisher, ``exp((cos(angle) - 1) / (bandwidth / Earth radius)^2)``, which
    over distances that are small on the globe is a Gaussian with that standard deviation. It is one
    at zero distance, so the sum of a class is the number of its labels that are near, and far from
    all labels, where there are none, the answer is the overall frequency.

    Berg et al. (CVPR 2014) weigh bird species with a kernel density over places and days.

    Attributes:
        bandwidth_km: width of the kernel, kilometres.
        smoothing: labels at the overall frequency added to those near.

    Raises:
        ValueError: a setting out of range.
    """

    bandwidth_km: float = 200.0
    smoothing: float = 1.0

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"bandwidth_km": km, "smoothing": smoothing}
        for km, smoothing in product((50.0, 100.0, 200.0, 400.0, 800.0, 2000.0), (0.1, 1.0))
    )

    def __post_init__(self) -> None:
        check_positive(bandwidth_km=self.bandwidth_km, smoothing=self.smoothing)

    @property
    def parameters_stored(self) -> int:
        """Unit vector and class of each label, and frequencies."""
        return super().parameters_stored + self._vectors.size + len(self._vectors)

    @property
    def _width(self) -> int:
        return len(self.frequency) + len(self._vectors)

    def _keep(self, places: Floats, labels: Integers) -> None:
        shape = len(labels), len(self.frequency)
        self._vectors = on_sphere(places)
        self._member: csr_array = label_counts(np.arange(len(labels)), labels, shape).T.tocsr()

    def _probabilities(self, places: Floats) -> Floats:
        steepness = (EARTH_RADIUS_KM / self.bandwidth_km) ** 2
        kernel = self._vectors @ on_sphere(places).T
        kernel -= 1.0
        kernel *= steepness
        np.exp(kernel.clip(_NOTHING, 0, out=kernel), out=kernel)
        return smoothed((self._member @ kernel).T, self.frequency, self.smoothing)
