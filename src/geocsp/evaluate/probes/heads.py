"""What is fitted on an embedding: a linear model or its neighbours."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import MissingExtraError

ALPHAS = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
"""Penalties of the ridge to choose from; features have variance 1."""
NEIGHBOURS = (1, 3, 10, 30, 100)
"""Numbers of neighbours to choose from."""


class Head(StrEnum):
    """What is fitted on an embedding.

    RIDGE: a linear model with a squared penalty, for classes one of +1 and -1 for each, as in RANGE
        (Dhakal et al., CVPR 2025).
    KNN: the mean, or the most frequent class, of the nearest places in the embedding.
    """

    RIDGE = "ridge"
    KNN = "knn"


def search(head: Head, is_number: bool, cv: list[tuple[Any, Any]]) -> Any:
    """An estimator of scikit-learn that scales its input and chooses its one setting on folds.

    Features get mean 0 and variance 1 on the rows that each fit sees. The setting is the one with
    the best mean R2 or accuracy over the folds, of equals the first.

    Args:
        head: what to fit.
        is_number: a number is to be told; otherwise a class.
        cv: rows to fit and to judge on, for each fold.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import Ridge, RidgeClassifier
        from sklearn.model_selection import GridSearchCV
        from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "evaluate") from error
    kinds = {
        Head.RIDGE: (Ridge, RidgeClassifier),
        Head.KNN: (KNeighborsRegressor, KNeighborsClassifier),
    }
    estimator = kinds[head][0 if is_number else 1]()
    fewest = min(len(train) for train, _ in cv)
    grid = {
        Head.RIDGE: {"head__alpha": list(ALPHAS)},
        Head.KNN: {"head__n_neighbors": [k for k in NEIGHBOURS if k <= fewest]},
    }
    return GridSearchCV(
        Pipeline([("scale", StandardScaler()), ("head", estimator)]),
        grid[head],
        scoring="r2" if is_number else "accuracy",
        cv=cv,
        error_score="raise",
    )


def scores_of(
    truth: NDArray[Any], answers: NDArray[Any], mean: float | None = None
) -> dict[str, float]:
    """How good answers are.

    Args:
        truth: ``(N,)`` numbers or class indices.
        answers: ``(N,)`` likewise.
        mean: of the training rows, for numbers; None: these are classes.

    Returns:
        For numbers "r2" (1 - squared error over that of the mean of ``truth``), "mae", and
        "skill" (the same as R2 with the mean of the training rows, which needs no knowledge of the
        test rows). For classes "accuracy", "balanced_accuracy" (mean recall) and "macro_f1", both
        over the classes that occur in ``truth``.
    """
    if mean is not None:
        error = float(np.square(truth - answers).sum())
        own, trained = (float(np.square(truth - m).sum()) for m in (truth.mean(), mean))
        return {
            "r2": 1 - error / own if own else 0.0,
            "skill": 1 - error / trained if trained else 0.0,
            "mae": float(np.abs(truth - answers).mean()),
        }
    occur = np.unique(truth)
    right = np.array([np.count_nonzero((truth == c) & (answers == c)) for c in occur])
    said = np.array([np.count_nonzero(answers == c) for c in occur])
    there = np.array([np.count_nonzero(truth == c) for c in occur])
    return {
        "accuracy": float((truth == answers).mean()),
        "balanced_accuracy": float((right / there).mean()),
        "macro_f1": float((2 * right / (said + there)).mean()),
    }
