"""Checks of input that several stages share."""

from __future__ import annotations

from torch import Tensor

from geocsp.errors import DataError


def check_finite_rows(rows: Tensor, name: str) -> None:
    """Raise a DataError that names the first row of ``(N, D)`` with a value that is not finite."""
    finite = rows.isfinite().all(dim=1)
    if not bool(finite.all()):
        raise DataError(f"{name} of row {int((~finite).nonzero()[0])} are not finite")
