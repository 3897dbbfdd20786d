"""Colours that show embeddings: their principal components as red, green and blue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_CHANNELS = 3
_PERCENTILES = (2, 98)


@dataclass(frozen=True, eq=False)
class PrincipalColours:
    """The first three principal components of some embeddings, as RGB in [0, 1].

    Each component is stretched between its 2nd and 98th percentile. Its sign, which is arbitrary,
    is set so that the largest loading is positive. A channel without a component, for embeddings
    of fewer than three numbers, or whose component does not vary, is 0.

    Attributes:
        mean: ``(D,)`` middle of the embeddings.
        axes: ``(3, D)`` directions.
        low: ``(3,)`` scores that are dark.
        spread: ``(3,)`` from there to the scores that are bright.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    low: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def fit(cls, embedding: NDArray[np.floating[Any]]) -> Self:
        """Find the components of ``(N, D)`` embeddings, by the eigenvectors of their covariance."""
        values = np.asarray(embedding, dtype=np.float64)
        mean = values.mean(axis=0)
        centred = values - mean
        _, vectors = np.linalg.eigh(centred.T @ centred)
        axes = np.zeros((_CHANNELS, values.shape[1]))
        found = vectors.T[::-1][:_CHANNELS]
        largest = np.abs(found).argmax(axis=1)
        axes[: len(found)] = found * np.sign(found[np.arange(len(found)), largest])[:, None]
        low, high = np.percentile(centred @ axes.T, _PERCENTILES, axis=0)
        varies = high - low > 1e-9 * max(1.0, float(np.abs(values).max()))
        return cls(mean, axes, low, np.where(varies, high - low, np.inf))

    def of(self, embedding: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Colours of ``(N, D)`` embeddings, ``(N, 3)``."""
        scores = (embedding - self.mean) @ self.axes.T
        return np.asarray(np.clip((scores - self.low) / self.spread, 0.0, 1.0))
