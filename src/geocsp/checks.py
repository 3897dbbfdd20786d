"""Checks of input that several stages share."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.errors import DataError


def check_finite_rows(rows: Tensor, name: str) -> None:
    """Raise a DataError that names the first row of ``(N, D)`` with a value that is not finite."""
    finite = rows.isfinite().all(dim=1)
    if not bool(finite.all()):
        raise DataError(f"{name} of row {int((~finite).nonzero()[0])} are not finite")


def check_labels(labels: Tensor, rows: int, classes: int) -> None:
    """Raise a DataError unless there are ``rows`` > 0 integer labels in [0, classes)."""
    if len(labels) != rows or rows == 0:
        raise DataError(f"need one label per row, at least one: {len(labels)} labels, {rows} rows")
    if labels.dtype != torch.int64:
        raise DataError(f"labels must be int64 class numbers, got {labels.dtype}")
    wrong = (labels < 0) | (labels >= classes)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(f"label of row {row} is {int(labels[row])}, not in 0..{classes - 1}")
