"""Places without images, of data sets that say only where something was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import pyarrow as pa

from geocsp.data.images import Bands, Images, Integers, RowTexts
from geocsp.errors import DataError


@dataclass(frozen=True, eq=False)
class NoImages(Images):
    """Rows that have no image: they serve to train and test on places alone.

    Attributes:
        names: ``(N,)`` null.
        bands: without meaning.
    """

    names: pa.ChunkedArray
    bands: Bands = field(default_factory=Bands)

    @classmethod
    def of(cls, count: int) -> NoImages:
        """As many rows."""
        return cls(pa.chunked_array([pa.nulls(count, pa.string())]))

    def load(self, row: int) -> NoReturn:
        """Refuse.

        Raises:
            DataError: always.
        """
        raise DataError("is a place without an image")

    def stamps(self) -> Sequence[str]:
        """The same for every row."""
        return RowTexts(len(self), lambda row: "no image")

    def take(self, rows: Integers) -> NoImages:
        """Some rows."""
        return replace(self, names=self.names.take(pa.array(rows)))
