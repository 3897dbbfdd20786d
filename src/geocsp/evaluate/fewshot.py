"""Few-shot protocol: how many labels, and the numbers every row is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geocsp.data.splits import few_shot
from geocsp.errors import DataError


@dataclass(frozen=True)
class Shot:
    """How many labels a run may see: a share of every class or a number per class.

    Attributes:
        ratio: share of each class, in (0, 1], or None to count per class.
        per_class: labels of each class, at least 1, or None to take a share.
    """

    ratio: float | None = None
    per_class: int | None = None

    def __post_init__(self) -> None:
        few_shot(np.empty(0, dtype=np.int64), ratio=self.ratio, per_class=self.per_class, seed=0)

    @property
    def label(self) -> str:
        """Short name, "5 %" or "3 per class"."""
        return (
            f"{100 * self.ratio:g} %" if self.ratio is not None else f"{self.per_class} per class"
        )

    @classmethod
    def parse(cls, text: str) -> Shot:
        """Read "5%" as a share of every class and "3" as labels per class.

        Raises:
            DataError: neither, or out of range.
        """
        number = text.strip().removesuffix("%")
        shares = number != text.strip()
        try:
            amount = float(number) / 100 if shares else int(number)
        except ValueError:
            raise DataError(
                f"{text!r} is no amount of labels; write 3 for labels per class or 5% for a share"
            ) from None
        return cls(ratio=amount) if shares else cls(per_class=int(amount))

    def rows(self, labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        """Rows of the labelled subset of a training set with these labels."""
        return few_shot(labels, ratio=self.ratio, per_class=self.per_class, seed=seed)


SHOTS = (
    Shot(per_class=1),
    Shot(per_class=3),
    Shot(per_class=10),
    Shot(ratio=0.01),
    Shot(ratio=0.05),
    Shot(ratio=0.1),
    Shot(ratio=0.2),
    Shot(ratio=1.0),
)
"""1, 3 and 10 labels per class; 1, 5, 10, 20 and 100 % of all labels."""


def top1(scores: Tensor, labels: Tensor) -> float:
    """Share of rows whose highest score is that of the label; the first class wins a tie.

    Args:
        scores: ``(N, Q)``, any monotone score.
        labels: ``(N,)`` classes.
    """
    return float((scores.argmax(dim=1) == labels).double().mean())
