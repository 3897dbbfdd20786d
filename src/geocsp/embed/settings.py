"""How embeddings are written."""

from __future__ import annotations

from dataclasses import dataclass

from geocsp.embed.vectors import NAME, Dtype


@dataclass(frozen=True)
class EmbedSettings:
    """How embeddings are written.

    Attributes:
        normalise: scale every embedding to unit length.
        dtype: its numbers.
        as_list: one column of lists, not a column for each number.
        name: what the column is called, or the columns before their number.
    """

    normalise: bool = False
    dtype: Dtype = Dtype.FLOAT32
    as_list: bool = False
    name: str = NAME
