"""Nearest neighbours: the labels nearest to a place vote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from geocsp.coords import EARTH_RADIUS_KM
from geocsp.data.splitters.base import Floats, Integers
from geocsp.priors.base import (
    CELLS,
    PlacePrior,
    check_positive,
    label_counts,
    on_sphere,
    smoothed,
)
from geocsp.registry import register

_ROUNDING = 1e-12
"""Distances that differ by less, in Earth radii, are equal: 6 micrometres."""


@register("prior", "knn")
@dataclass(eq=False)
class NearestNeighbours(PlacePrior):
    """Votes of the nearest labels.

    Labels at the same distance as the last one that counts share what is left of the votes, so it
    does not matter in which order they come.

    Unlike with a kernel density, labels vote from any distance.

    Attributes:
        neighbours: how many labels vote; all of them if there are fewer.
        smoothing: votes added at the overall frequency.
        weighted: let a vote count ``(d_1 + 1) / (d + 1)``, with d its distance and d_1 that of
            the nearest label in kilometres; otherwise each counts one.

    Raises:
        ValueError: a setting out of range.
    """

    neighbours: int = 10
    smoothing: float = 1.0
    weighted: bool = False

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"neighbours": neighbours, "smoothing": smoothing, "weighted": weighted}
        for neighbours, smoothing, weighted in product(
            (1, 2, 5, 10, 20, 50, 100), (0.1, 1.0), (False, True)
        )
    )

    def __post_init__(self) -> None:
        check_positive(neighbours=self.neighbours, smoothing=self.smoothing)

    @property
    def parameters_stored(self) -> int:
        """Unit vector of each place, classes and numbers of its labels, and frequencies."""
        return super().parameters_stored + int(self._tree.data.size + 2 * self._counts.nnz)

    @property
    def _width(self) -> int:
        return len(self.frequency) + self.neighbours

    def _keep(self, places: Floats, labels: Integers) -> None:
        found, member = np.unique(places, axis=0, return_inverse=True)
        shape = len(found), len(self.frequency)
        self._tree = cKDTree(on_sphere(found))
        self._counts = label_counts(member.reshape(-1), labels, shape)
        self._sizes = np.asarray(self._counts.sum(axis=1))

    def _probabilities(self, places: Floats) -> Floats:
        votes = self._votes(on_sphere(places), self.neighbours + 1)
        return smoothed(votes, self.frequency, self.smoothing)

    def _votes(self, vectors: Floats, count: int) -> Floats:
        """Votes for each class, ``(n, Q)``, after a look at so many places around each vector.

        Where places beyond may be level with the last that counts, it looks at twice as many.
        """
        count = min(count, self._tree.n)
        chords, near = self._tree.query(vectors, k=np.arange(1, count + 1))
        shares, last = self._shares(chords, self._sizes[near])
        if self.weighted:
            km = 2 * EARTH_RADIUS_KM * np.arcsin((chords / 2).clip(max=1))
            shares *= (km[:, :1] + 1) / (km + 1)
        starts = np.arange(len(vectors) + 1) * count
        weights = csr_array((shares.ravel(), near.ravel(), starts), (len(vectors), self._tree.n))
        votes: Floats = (weights @ self._counts).toarray()
        if count < self._tree.n:
            more = np.flatnonzero(chords[:, -1] <= last + _ROUNDING)
            rows = max(1, CELLS // (2 * count))
            for some in np.split(more, range(rows, len(more), rows)):
                if len(some):
                    votes[some] = self._votes(vectors[some], 2 * count)
        return votes

    def _shares(self, chords: Floats, sizes: Floats) -> tuple[Floats, Floats]:
        """Share of the labels of each place that counts, and chord to the last that does.

        Args:
            chords: ``(n, K)`` distances of places, rising.
            sizes: ``(n, K)`` their numbers of labels.
        """
        enough = sizes.cumsum(axis=1) >= self.neighbours
        enough[:, -1] = True
        last = np.take_along_axis(chords, enough.argmax(axis=1)[:, None], axis=1)
        closer, level = chords < last - _ROUNDING, np.abs(chords - last) <= _ROUNDING
        left = self.neighbours - (sizes * closer).sum(axis=1, keepdims=True)
        share = (left / (sizes * level).sum(axis=1, keepdims=True)).clip(max=1)
        return closer + share * level, last[:, 0]
