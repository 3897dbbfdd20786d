"""Numbers that sum up what a classifier said.

Counts per class are made here and not by torchmetrics, which makes a table of Q x Q: half a GiB for
the 8,142 classes of iNaturalist 2018. The results are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError
from geocsp.evaluate.answers import Answers, Ties
from geocsp.evaluate.reliability import reliability

METRICS = ("top1", "top3", "top5", "top10", "mrr", "macro_f1", "balanced_accuracy", "nll", "ece")
"""Names of the metrics, in the order of tables."""

_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class PerClass:
    """How well each of Q classes is told from the others, ``(Q,)`` each.

    Attributes:
        support: int64 test rows of the class.
        recall: share of its rows that are predicted as it; NaN without rows.
        precision: share of the rows predicted as it that are its; NaN where it is never predicted.
        f1: harmonic mean of both, 0 if no prediction of it is right; NaN where it neither occurs
            nor is predicted.
        truth: mean probability of it over its rows; NaN without rows.
    """

    support: NDArray[np.int64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    f1: NDArray[np.float64]
    truth: NDArray[np.float64]


def classification_metrics(answers: Answers, ties: Ties = Ties.MEAN) -> dict[str, float]:
    """All metrics of :data:`METRICS`, shares in [0, 1] but for nll.

    * ``top1`` to ``top10``: share of rows with the right class among the first k. Of fewer than k
      classes it always is.
    * ``mrr``: mean of 1 / rank of the right class.
    * ``macro_f1``: mean F1 over the classes that occur or are predicted, as in torchmetrics and
      scikit-learn.
    * ``balanced_accuracy``: mean recall over the classes that occur (Brodersen et al., ICPR 2010).
    * ``nll``: mean negative logarithm of the probability of the right class, nats; a probability
      below the smallest normal float32 counts as that, which is 87.3 nats.
    * ``ece``: expected calibration error with 15 bins of equal width, see
      :func:`geocsp.evaluate.reliability.reliability`.

    A row without an answer counts as wrong in all shares; its reciprocal rank is 0, it is of no
    predicted class, its probabilities are 1 / Q. Classes that do not occur and are not predicted
    count nowhere.

    Args:
        answers: of N rows.
        ties: where the right class stands among equals, for top-k and mrr. Of several classes with
            the highest probability the first is the predicted one; ece takes the mean over orders.

    Raises:
        DataError: no rows.
    """
    if len(answers) == 0:
        raise DataError("no test rows: metrics need at least one")
    classes = per_class(answers)
    shares = {f"top{count}": answers.hits(count, ties).mean() for count in (1, 3, 5, 10)}
    found = shares | {
        "mrr": (1.0 / answers.rank(ties)).mean(),
        "macro_f1": np.nanmean(classes.f1),
        "balanced_accuracy": np.nanmean(classes.recall),
        "nll": -np.log(np.maximum(answers.truth, _SMALLEST), dtype=np.float64).mean(),
        "ece": reliability(answers).ece,
    }
    return {name: float(found[name]) for name in METRICS}


def per_class(answers: Answers) -> PerClass:
    """Recall, precision, F1 and mean probability of the truth by class.

    A row without an answer is missed by its class and predicted as none.
    """
    labels, classes = answers.labels, answers.classes
    support = np.bincount(labels, minlength=classes)
    predicted = np.bincount(answers.predicted[answers.answered], minlength=classes)
    right = np.bincount(labels[labels == answers.predicted], minlength=classes)
    truth = np.bincount(labels, weights=answers.truth, minlength=classes)
    return PerClass(
        support=support,
        recall=_ratio(right, support),
        precision=_ratio(right, predicted),
        f1=_ratio(2 * right, support + predicted),
        truth=_ratio(truth, support),
    )


def _ratio(part: NDArray[np.generic], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Quotients, NaN for a whole of 0."""
    nothing = np.full(len(whole), np.nan)
    ratio: NDArray[np.float64] = np.divide(part, whole, out=nothing, where=whole > 0)
    return ratio
