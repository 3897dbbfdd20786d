"""Columns of numbers, also where they are written as text."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geocsp.data.table import Floats
from geocsp.errors import DataError

_MISSING = pa.array(["", "-", "na", "n/a", "nan", "null", "none", "unknown"])
_NUMBER = r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)$"
_COMMA = r"^[+-]?\d+,\d+$"
_SHOWN = 40


@dataclass(frozen=True)
class Numerals:
    """Numbers of a column.

    Attributes:
        values: ``(N,)`` float64, NaN where there is none.
        unreadable: what stands there, by row, where it is no number.
        commas: how many were written with a decimal comma.
    """

    values: Floats
    unreadable: dict[int, str] = field(default_factory=dict)
    commas: int = 0


def numerals(column: pa.Array, name: str, *, commas: bool = True) -> Numerals:
    """Numbers of a column of numbers or of texts; null, "", "NA" and the like are none.

    Args:
        column: N numbers or texts.
        name: name of the column, for error messages.
        commas: read "12,5" as 12.5.

    Raises:
        DataError: a column of something else.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return numerals(column.dictionary_decode(), name, commas=commas)
    if pa.types.is_null(kind):
        return Numerals(np.full(len(column), np.nan))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Numerals(_floats(column.cast(pa.float64(), safe=False)))
    if is_text(kind):
        return _of_texts(column.cast(pa.string()), commas)
    raise DataError(f"column {name!r} holds {kind}, not numbers")


def is_text(kind: pa.DataType) -> bool:
    """Whether a column is of text, however it is stored."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _of_texts(text: pa.Array, commas: bool) -> Numerals:
    try:
        return Numerals(_floats(pc.if_else(pc.equal(text, ""), None, text).cast(pa.float64())))
    except pa.ArrowInvalid:  # some text is no plain number: the slow way
        pass
    trimmed = pc.utf8_trim_whitespace(text)
    missing = pc.is_in(pc.utf8_lower(trimmed), _MISSING)
    with_comma = pc.and_(pc.match_substring_regex(trimmed, _COMMA), commas)
    pointed = pc.if_else(with_comma, pc.replace_substring(trimmed, ",", "."), trimmed)
    good = pc.match_substring_regex(pointed, _NUMBER)
    values = pc.if_else(good, pointed, None).cast(pa.float64())
    bad = pc.and_(pc.invert(good), pc.invert(missing)).fill_null(False)
    rows = np.flatnonzero(bad.to_numpy(zero_copy_only=False))
    shown = text.take(pa.array(rows)).to_pylist()
    unreadable = {int(row): shorten(cell) for row, cell in zip(rows, shown, strict=True)}
    return Numerals(_floats(values), unreadable, pc.sum(with_comma).as_py() or 0)


def shorten(cell: str) -> str:
    """A cell of a table, quoted for a message in forty characters."""
    return repr(cell if len(cell) <= _SHOWN else f"{cell[: _SHOWN - 1]}…")


def _floats(column: pa.Array) -> Floats:
    values: Floats = column.to_numpy(zero_copy_only=False)
    return values
