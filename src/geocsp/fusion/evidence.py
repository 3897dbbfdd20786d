"""Does the place help at all? Judged on held-out rows that the fusion was not fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geocsp.fusion.blocks import equal_blocks
from geocsp.fusion.guard import Guard, Rows, fit_guard
from geocsp.fusion.variants import Variant

_FOLDS = 4
_MOST_HALVINGS = 5
_ROWS_PER_BLOCK = 4


@dataclass(frozen=True)
class Evidence:
    """How much likelier the place makes held-out labels.

    Attributes:
        gain: mean over blocks of what guarded fusion takes off the negative log-likelihood of the
            calibrated image alone, in nats per row.
        error: its standard error over blocks.
    """

    gain: float
    error: float

    @property
    def enough(self) -> bool:
        """Whether the gain is above its standard error.

        The rule by which Breiman et al. (Classification and Regression Trees, 1984) take the
        simplest of all models that are as good within one standard error.
        """
        return self.gain > self.error


def can_judge(rows: int) -> bool:
    """Whether so many rows make a block for each fold."""
    return rows >= _FOLDS * _ROWS_PER_BLOCK


def evidence_of(rows: Rows, lonlat: Tensor, variant: Variant, guard: Guard) -> Evidence:
    """Judge by cross-fitting over spatial blocks.

    There are up to 32 blocks of equally many rows; neighbours fall into different ones of 4 folds.
    Each fold is judged by what is fitted to the others.

    Args:
        rows: held-out rows; as many as :func:`can_judge` takes.
        lonlat: ``(V, 2)`` their places, degrees.
        variant: of the fusion.
        guard: fitted to all of them, where the search in each fold starts.
    """
    halvings = min(_MOST_HALVINGS, int(math.log2(len(rows) / _ROWS_PER_BLOCK)))
    block = equal_blocks(lonlat, halvings)
    gain = torch.empty(len(rows), dtype=torch.float64)
    for fold in range(_FOLDS):
        judged = block % _FOLDS == fold
        fitted = fit_guard(rows[~judged], variant, guard.point)
        gain[judged] = fitted.losses_alone(rows[judged]) - fitted.losses(rows[judged])
    means = torch.zeros(2**halvings, dtype=torch.float64).index_add(0, block, gain)
    means /= torch.bincount(block)
    return Evidence(float(means.mean()), float(means.std()) / math.sqrt(len(means)))
