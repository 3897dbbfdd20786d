"""What a classifier said about test images, in little memory: all metrics are computed from it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.checks import check_finite_rows
from geocsp.errors import DataError

_CELLS = 2**22
"""Scores looked at together: 32 MiB in float64."""


class Ties(StrEnum):
    """Where the right class stands among classes with the same score.

    ``MEAN``: the mean over all orders, so that scores that are all equal are worth a guess
    (McSherry and Najork, ECIR 2008); ``OPTIMISTIC``: first; ``PESSIMISTIC``: last; ``LEGACY``:
    classes with higher numbers first, as in the released code of CSP (Mai et al., ICML 2023),
    whose sparse predictions hold many zeros.
    """

    MEAN = "mean"
    OPTIMISTIC = "optimistic"
    PESSIMISTIC = "pessimistic"
    LEGACY = "legacy"


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier of Q classes said about N test rows.

    Attributes:
        labels: ``(N,)`` int64 right classes.
        predicted: ``(N,)`` int64 class with the highest probability, the first of several; -1
            where there was no answer.
        confidence: ``(N,)`` float32 its probability.
        truth: ``(N,)`` float32 probability of the right class.
        above: ``(N,)`` int64 classes with a higher probability than the right one.
        level: ``(N,)`` int64 other classes with the same probability.
        level_higher: ``(N,)`` int64 those of them with a higher number.
        classes: Q.

    Raises:
        DataError: arrays of different lengths. Other integer and float types, as stored, are
            converted.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    truth: NDArray[np.float32]
    above: NDArray[np.int64]
    level: NDArray[np.int64]
    level_higher: NDArray[np.int64]
    classes: int

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.arrays().items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"arrays of answers must be of one length, got {lengths}")
        for name, array in self.arrays().items():
            dtype = np.float32 if name in ("confidence", "truth") else np.int64
            object.__setattr__(self, name, array.astype(dtype, copy=False))

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, answered: Tensor | None = None) -> Answers:
        """Answers from logits or log-probabilities.

        Args:
            logits: ``(N, Q)``; a softmax makes probabilities of them. Minus infinity is zero.
            labels: ``(N,)`` int64 right classes.
            answered: ``(N,)`` bool, False where there is no answer, as of a place alone for a row
                without coordinates: every class has probability 1 / Q there and none is
                predicted, so that the row counts as wrong, as in the released code of CSP. All
                rows if left out.

        Raises:
            DataError: shapes that do not fit, a label out of range, or logits that are NaN or
                plus infinity in a row with an answer.
        """
        _check(logits, labels, answered)
        given = torch.ones(len(labels), dtype=torch.bool) if answered is None else answered.cpu()
        size = max(1, _CELLS // logits.shape[1])
        chunks = (logits.split(size), labels.cpu().long().split(size), given.split(size))
        parts = [_part(*chunk) for chunk in zip(*chunks, strict=True)]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return cls(**joined, classes=logits.shape[1])

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Rows with an answer, ``(N,)``."""
        return np.asarray(self.predicted >= 0)

    def rank(self, ties: Ties = Ties.MEAN) -> NDArray[np.float64]:
        """Rank of the right class, ``(N,)``, 1 = first, infinity without an answer."""
        shares = {Ties.MEAN: 0.5, Ties.OPTIMISTIC: 0.0, Ties.PESSIMISTIC: 1.0}
        behind = self.level_higher if ties is Ties.LEGACY else self.level * shares[ties]
        return np.where(self.answered, 1.0 + self.above + behind, np.inf)

    def hits(self, count: int, ties: Ties = Ties.MEAN) -> NDArray[np.float64]:
        """Whether the right class is among the first ``count``, ``(N,)`` in [0, 1].

        With ``Ties.MEAN`` the share of orders in which it is. Without an answer 0 for any count.
        """
        if ties is not Ties.MEAN:
            return (self.rank(ties) <= count).astype(np.float64)
        share = ((count - self.above) / (1.0 + self.level)).clip(0.0, 1.0)
        return np.where(self.answered, share, 0.0)

    def rows(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Answers:
        """Some of the rows, by number or mask."""
        return Answers(**{n: a[rows] for n, a in self.arrays().items()}, classes=self.classes)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        names = [field.name for field in fields(self) if field.name != "classes"]
        return {name: getattr(self, name) for name in names}


def join(parts: list[Answers]) -> Answers:
    """Answers to the rows of several parts, one after the other.

    Raises:
        ValueError: no parts, or of different numbers of classes.
    """
    if len({part.classes for part in parts}) != 1:
        raise ValueError("need answers, all of the same number of classes")
    arrays = [part.arrays() for part in parts]
    joined = {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}
    return Answers(**joined, classes=parts[0].classes)


def _check(logits: Tensor, labels: Tensor, answered: Tensor | None) -> None:
    rows = labels.shape
    if logits.ndim != 2 or logits.shape[:1] != rows or 0 in logits.shape:
        raise DataError(
            f"logits and labels must be (N, Q) and (N,), N and Q at least 1, got "
            f"{tuple(logits.shape)} and {tuple(rows)}"
        )
    if answered is not None and answered.shape != rows:
        raise DataError(f"answered must be {tuple(rows)}, got {tuple(answered.shape)}")
    wrong = (labels < 0) | (labels >= logits.shape[1])
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"label of row {row} is {int(labels[row])}, not in 0..{logits.shape[1] - 1}"
        )
    highest = logits.amax(dim=1, keepdim=True)  # NaN if any is
    if answered is not None:
        highest = highest.masked_fill(~answered.to(highest.device)[:, None], 0.0)
    check_finite_rows(highest, "highest logits")


def _part(logits: Tensor, labels: Tensor, answered: Tensor) -> dict[str, NDArray[Any]]:
    """The arrays of some rows."""
    classes = logits.shape[1]
    shown = torch.where(answered[:, None], logits.detach().cpu().double(), 0.0)
    own = shown.gather(1, labels[:, None])
    equal = shown == own
    higher = torch.arange(classes) > labels[:, None]
    probabilities = shown.softmax(dim=1)
    predicted = shown.argmax(dim=1)
    confidence = probabilities.gather(1, predicted[:, None])[:, 0]
    truth = probabilities.gather(1, labels[:, None])[:, 0]
    none = torch.tensor(0)
    return {
        "labels": labels.numpy(),
        "predicted": torch.where(answered, predicted, -1).numpy(),
        "confidence": confidence.float().numpy(),
        "truth": truth.float().numpy(),
        "above": torch.where(answered, (shown > own).sum(1), classes - 1).numpy(),
        "level": torch.where(answered, equal.sum(1) - 1, none).numpy(),
        "level_higher": torch.where(answered, (equal & higher).sum(1), none).numpy(),
    }
