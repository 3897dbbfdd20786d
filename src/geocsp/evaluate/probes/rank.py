"""How many directions an embedding uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocsp.errors import DataError

_RANKME_EPSILON = 1e-7


def effective_rank(embedding: ArrayLike) -> float:
    """Effective rank of the centred embedding, 0 if all rows are equal, at most D.

    exp(H(p)) with p the singular values divided by their sum (Roy and Vetterli, EUSIPCO 2007).
    Columns are centred, since a constant says nothing about places.

    Args:
        embedding: ``(N, D)``.

    Raises:
        DataError: not a matrix with rows, or not finite.
    """
    matrix = _matrix(embedding)
    values = _singular(matrix - matrix.mean(axis=0))
    largest_row = np.abs(matrix).max(initial=0.0) * np.sqrt(matrix.size)
    values = values[values > largest_row * np.finfo(np.float64).eps]
    if len(values) == 0:
        return 0.0
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def rankme(embedding: ArrayLike) -> float:
    """RankMe of the embedding as it is (Garrido et al., ICML 2023).

    The same entropy of the singular values, not centred, with 1e-7 added to each share; 0 for an
    embedding of zeros.

    Args:
        embedding: ``(N, D)``.

    Raises:
        DataError: not a matrix with rows, or not finite.
    """
    values = _singular(_matrix(embedding))
    if not values.any():
        return 0.0
    share = values / values.sum() + _RANKME_EPSILON
    return float(np.exp(-(share * np.log(share)).sum()))


def _matrix(embedding: ArrayLike) -> NDArray[np.float64]:
    matrix = np.asarray(embedding, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise DataError(f"need an embedding (N, D) with rows, got {matrix.shape}")
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise DataError(f"embedding of row {int(np.argmin(finite))} is not finite")
    return matrix


def _singular(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.svd(matrix, compute_uv=False))
