"""Which kind of file an output is, by the ending of its name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from geocsp.errors import DataError


class Format(StrEnum):
    """Kinds of tables that are written."""

    CSV = ".csv"
    TSV = ".tsv"
    PARQUET = ".parquet"
    GEOPARQUET = ".geoparquet"
    """Parquet with a column of geometries, added if the input has none."""
    GEOJSON = ".geojson"

    @classmethod
    def of(cls, output: Path) -> Format:
        """The format that a file name asks for.

        Raises:
            DataError: its ending is of none.
        """
        try:
            return cls(output.suffix.lower())
        except ValueError:
            raise DataError(
                f"{output}: the ending of the name says how to write it, one of {', '.join(cls)}"
            ) from None

    @property
    def is_text(self) -> bool:
        """Whether it is lines of text, which know no types."""
        return self in (Format.CSV, Format.TSV)

    @property
    def is_parquet(self) -> bool:
        """Whether it is some kind of Parquet."""
        return self in (Format.PARQUET, Format.GEOPARQUET)

    @property
    def needs_geometry(self) -> bool:
        """Whether a row has to be a feature with a geometry."""
        return self in (Format.GEOPARQUET, Format.GEOJSON)
