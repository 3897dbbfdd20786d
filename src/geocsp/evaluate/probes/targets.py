"""What a probe has to tell from an embedding: a number or a class for each place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.errors import DataError


@dataclass(frozen=True, eq=False)
class Target:
    """One label of N places.

    Attributes:
        name: short name.
        values: ``(N,)`` float64 numbers, NaN where unknown, or int64 indices into ``class_names``,
            -1 where a place has no class.
        class_names: names of the classes; None for a number.
        unit: of the number; empty for classes.
        attribution: whom a report has to credit; empty if nobody.
    """

    name: str
    values: NDArray[Any]
    class_names: tuple[str, ...] | None = None
    unit: str = ""
    attribution: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 1:
            raise DataError(f"{self.name} must be one value a place, got {self.values.shape}")
        if self.class_names is None:
            object.__setattr__(self, "values", self.values.astype(np.float64))
            infinite = np.isinf(self.values)
            if infinite.any():
                raise DataError(f"{self.name} of row {int(infinite.argmax())} is not finite")
            return
        if not np.issubdtype(self.values.dtype, np.integer):
            raise DataError(f"classes of {self.name} must be integers, got {self.values.dtype}")
        wrong = (self.values < -1) | (self.values >= len(self.class_names))
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{self.name} of row {row} is class {self.values[row]}; classes are 0 to "
                f"{len(self.class_names) - 1}, and -1 for none"
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_number(self) -> bool:
        """Whether it is a number; otherwise a class."""
        return self.class_names is None

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which places have a label, ``(N,)``."""
        known = np.isfinite(self.values) if self.is_number else self.values >= 0
        return np.asarray(known)
