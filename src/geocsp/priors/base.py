"""What every prior without weights shares: labelled places in, P(class | place) out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from torch import Tensor

from geocsp.checks import check_labels
from geocsp.coords import check_lonlat, unit_vectors
from geocsp.data.splitters.base import Floats, Integers
from geocsp.errors import DataError

_SMALLEST = 1e-12
"""Probabilities keep at least this distance from 0 and 1, so that scores are finite."""
CELLS = 2**19
"""Numbers in memory at once: 4 MiB in float64, so that they stay in a processor's cache."""


class PlacePrior(ABC):
    """P(class | place) from labelled places, counted and not trained.

    Such priors are the baselines of location encoders in Mac Aodha et al. (ICCV 2019) and in
    TorchSpatial (Wu et al., NeurIPS 2024).

    The overall frequency of a class c is ``(n_c + 1) / (N + Q)``: one label of each class is added
    to those seen. A prior that finds m labels near a place, m_c of them of class c, says
    ``(m_c + smoothing * frequency_c) / (m + smoothing)``: a Dirichlet prior with as many labels as
    ``smoothing`` says. Where there is no label near, that is the overall frequency.

    Nothing depends on the order of the labelled places, and nothing is drawn at random.

    Subclasses are dataclasses of their settings and write :meth:`_keep` and
    :meth:`_probabilities`.

    Attributes:
        grid: settings to choose from (see :func:`geocsp.priors.fit_prior`).
        class_names: what the columns of the answers mean; set by :meth:`fit`.
        frequency: ``(Q,)`` float64 overall frequency of each class; set by :meth:`fit`.
    """

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    class_names: tuple[str, ...]
    frequency: Floats

    def fit(
        self, lonlat: Tensor | ArrayLike, labels: Tensor | ArrayLike, class_names: Sequence[str]
    ) -> Self:
        """Learn from labelled places.

        Args:
            lonlat: ``(N, 2)`` floating point degrees.
            labels: ``(N,)`` int64 classes.
            class_names: what the Q classes mean.

        Raises:
            DataError: no labels, a label out of range, or lengths that differ.
            ValueError: a place is missing or out of range.
        """
        places = check_lonlat(torch.as_tensor(lonlat)).cpu().double().numpy()
        numbers = torch.as_tensor(labels).cpu()
        check_labels(numbers, len(places), len(class_names))
        classes = numbers.numpy()
        order = np.lexsort((classes, places[:, 0], places[:, 1]))
        counts = np.bincount(classes, minlength=len(class_names))
        self.frequency = (counts + 1.0) / (len(classes) + len(class_names))
        self.class_names = tuple(class_names)
        self._keep(places[order], classes[order])
        return self

    def class_scores(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Logit of P(class | place), always finite: ``(N, 2)`` degrees to ``(N, Q)`` float32.

        The sigmoid of a score is the probability, and its logarithm the logsigmoid. Takes the time
        as :meth:`geocsp.GeoPrior.class_scores` does, and makes no use of it.

        Raises:
            DataError: the prior is not fitted.
            ValueError: a place is missing or out of range.
        """
        if not hasattr(self, "class_names"):
            raise DataError(f"fit {type(self).__name__} to labelled places first")
        places = check_lonlat(lonlat).detach().cpu().double().numpy()
        scores = torch.empty(len(places), len(self.class_names))
        rows = max(1, CELLS // self._width)
        for start in range(0, len(places), rows):
            part = slice(start, start + rows)
            likely = self._probabilities(places[part]).clip(_SMALLEST, 1 - _SMALLEST)
            scores[part] = torch.from_numpy(np.log(likely) - np.log1p(-likely))
        return scores.to(lonlat.device)

    def class_probabilities(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """P(class | place), each row summing to one: ``(N, 2)`` degrees to ``(N, Q)`` float32."""
        return self.class_scores(lonlat, time).sigmoid()

    @property
    def parameters_stored(self) -> int:
        """How many numbers a fitted prior keeps: places, classes, counts and frequencies."""
        return len(self.frequency)

    @property
    def _width(self) -> int:
        """Numbers that a row of a query needs at once."""
        return len(self.frequency)

    @abstractmethod
    def _keep(self, places: Floats, labels: Integers) -> None:
        """Keep what is needed of labelled places, which are in order of place and class."""

    @abstractmethod
    def _probabilities(self, places: Floats) -> Floats:
        """P(class | place), ``(n, Q)``."""


def smoothed(votes: Floats, frequency: Floats, smoothing: float) -> Floats:
    """Shares of ``(n, Q)`` votes with as many further ones, at the overall frequency."""
    total = votes.sum(axis=1, keepdims=True)
    return np.asarray((votes + smoothing * frequency) / (total + smoothing))


def check_positive(**settings: float) -> None:
    """Raise a ValueError unless all settings are positive and finite."""
    for name, value in settings.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")


def on_sphere(places: Floats) -> Floats:
    """Unit vectors of places, ``(N, 3)``."""
    return np.asarray(unit_vectors(torch.from_numpy(places)).numpy())


def label_counts(groups: Integers, labels: Integers, shape: tuple[int, int]) -> csr_array:
    """How many labels of each class are in each group, sparse."""
    ones = np.ones(len(labels))
    counts = csr_array((ones, (groups, labels)), shape=shape)
    counts.sum_duplicates()
    return counts
