"""Columns of dates and moments, however they are written, as times of year and day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geocsp.data.table import Floats
from geocsp.errors import DataError
from geocsp.times import times_of

_ZEROS = ["0000:00:00 00:00:00", "0000-00-00 00:00:00", "0000-00-00"]
_UNKNOWN = pa.array(["", "na", "n/a", "nan", "nat", "none", "null", "unknown", *_ZEROS])
_ANY_DAY = r"\d{4}-\d\d-\d\d"
_DAY = r"[1-9]\d{3}-\d\d-\d\d"
_CLOCK = r"[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?"
_ZONE = r"(Z|[+-]\d\d(:?\d\d)?)"
_FORMS = (
    (rf"^{_DAY}{_CLOCK}$", pa.timestamp("us")),
    (rf"^{_DAY}{_CLOCK}{_ZONE}$", pa.timestamp("us", "UTC")),
    (rf"^{_DAY}$", pa.date32()),
)
_EXIF = r"^\d{4}:\d\d:\d\d[T ][\d:.]+$"
_REWRITTEN = (
    (rf"^({_ANY_DAY}{_CLOCK}) ?(UTC|GMT)$", r"\1Z"),
    (r"^(\d{4})[:/](\d\d)[:/](\d\d)($|[T ])", r"\1-\2-\3\4"),
    (r"^(\d{4})(\d\d)(\d\d)T?(\d\d)(\d\d)(\d\d)(Z?)$", r"\1-\2-\3T\4:\5:\6\7"),
    (r"^([1-9]\d{3}-\d\d)$", r"\1-01"),
    (rf"^({_ANY_DAY}[^/]*)/.*$", r"\1"),
)
_EPOCHS = ((r"^\d{9,10}$", "s"), (r"^\d{12,13}$", "ms"), (r"^\d{15,16}$", "us"))


def times_from(column: pa.ChunkedArray, lon: Floats) -> tuple[Floats, int]:
    """Date and hour of a column of moments, as :func:`geocsp.times.times_of` gives them.

    Understood are Arrow's timestamps and dates, and texts in ISO 8601, UTC where they name no
    time zone; a month counts as its first day, and of an interval "a/b" the start counts. Moments
    with colons in the date, "2026:01:31 12:00:00", are what cameras write: their hour is local
    already and stays as it is (Exif 3.0, CIPA DC-008, DateTimeOriginal). Whole numbers of 9 or 10
    digits are seconds since 1970, of 12 or 13 milliseconds, of 15 or 16 microseconds; of 14
    digits a moment such as 20260131120000, of 8 a day, of 4 a year. A year alone tells no date.

    Args:
        column: N moments; null, "", "NaN" and the like where unknown.
        lon: ``(N,)`` degrees, by which the hour of UTC becomes that of the local mean sun; NaN
            where unknown, which makes the hour unknown.

    Returns:
        ``(N, 2)`` date as a fraction of the year and hour of the day, NaN where unknown; and the
        number of moments that cannot be read.

    Raises:
        DataError: not as many longitudes as moments.
    """
    if len(lon) != len(column):
        raise DataError(f"{len(column)} moments but {len(lon)} longitudes")
    start, parts, unreadable = 0, [np.empty((0, 2))], 0
    for chunk in column.chunks:
        time, failed = _times(chunk, lon[start : start + len(chunk)])
        start, unreadable = start + len(chunk), unreadable + failed
        parts.append(time)
    return np.concatenate(parts), unreadable


def _times(chunk: pa.Array, lon: Floats) -> tuple[Floats, int]:
    kind = chunk.type
    if pa.types.is_dictionary(kind):
        return _times(chunk.dictionary_decode(), lon)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        instant = chunk.to_numpy(zero_copy_only=False)
        return _local(_date_and_hour(instant, days=pa.types.is_date(kind)), lon), 0
    text = _as_text(chunk)
    if text is None:
        return np.full((len(chunk), 2), np.nan), len(chunk) - chunk.null_count
    reading = _Reading(text)
    reading.read()
    return np.where(reading.local[:, None], reading.time, _local(reading.time, lon)), reading.failed


def _as_text(chunk: pa.Array) -> pa.Array | None:
    """Texts and whole numbers as texts; None for columns that hold no moments."""
    kind = chunk.type
    if pa.types.is_floating(kind):
        whole = pc.is_finite(chunk.cast(pa.float64()))
        within = pc.less(pc.abs(chunk.cast(pa.float64())), 2.0**62)
        chunk = pc.if_else(pc.and_(whole, within), chunk, None).cast(pa.int64(), safe=False)
    if pa.types.is_integer(chunk.type) or pa.types.is_null(kind):
        return chunk.cast(pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return chunk.cast(pa.string())
    return None


@dataclass
class _Reading:
    """Texts of one chunk and what has been made of them so far.

    Attributes:
        text: N texts.
        time: ``(N, 2)`` date and hour in UTC, NaN where unknown or not read yet.
        local: ``(N,)`` whether the hour is local already.
        open: numbers of the texts that have not been read.
    """

    text: pa.Array

    def __post_init__(self) -> None:
        self.text = pc.utf8_trim_whitespace(self.text)
        self.time = np.full((len(self.text), 2), np.nan)
        self.local = np.zeros(len(self.text), dtype=np.bool_)
        known = pc.invert(pc.is_in(pc.utf8_lower(self.text), _UNKNOWN))
        self.open = np.flatnonzero(pc.and_(known, self.text.is_valid()).to_numpy(False))

    @property
    def failed(self) -> int:
        """How many texts could not be read."""
        return len(self.open)

    def read(self) -> None:
        """Read all texts, the usual forms first."""
        self._by_forms()
        if len(self.open):
            self._rewritten()
        if len(self.open):
            self._by_number()
        if len(self.open):
            self._by_hand()

    def _by_forms(self) -> None:
        for pattern, kind in _FORMS:
            rows = self._matching(pattern)
            try:
                instant = self.text.take(pa.array(rows)).cast(kind).to_numpy(zero_copy_only=False)
            except pa.ArrowInvalid:  # some 31 February among them: all by hand, later
                continue
            self._settle(rows, _date_and_hour(instant, days=pa.types.is_date(kind)))

    def _rewritten(self) -> None:
        self.local[self._matching(_EXIF)] = True
        for pattern, replacement in _REWRITTEN:
            self.text = pc.replace_substring_regex(self.text, pattern, replacement)
        self._by_forms()

    def _by_number(self) -> None:
        for pattern, unit in _EPOCHS:
            rows = self._matching(pattern)
            count = self.text.take(pa.array(rows)).cast(pa.int64()).to_numpy()
            self._settle(rows, _date_and_hour(count.astype(f"datetime64[{unit}]"), days=False))
        years = self._matching(r"^\d{4}$")
        self._settle(years, np.full((len(years), 2), np.nan))

    def _by_hand(self) -> None:
        texts = self.text.take(pa.array(self.open)).to_pylist()
        known = {text: _one(text) for text in set(texts)}
        rows = [
            (row, time) for row, text in zip(self.open, texts, strict=True) if (time := known[text])
        ]
        found = np.array([time for _, time in rows], dtype=np.float64).reshape(-1, 2)
        self._settle(np.array([row for row, _ in rows], dtype=np.int64), found)

    def _matching(self, pattern: str) -> NDArray[np.int64]:
        whole = len(self.open) == len(self.text)
        candidates = self.text if whole else self.text.take(pa.array(self.open))
        matching = pc.match_substring_regex(candidates, pattern).to_numpy(zero_copy_only=False)
        return np.asarray(self.open[matching.astype(np.bool_)])

    def _settle(self, rows: NDArray[np.int64], time: Floats) -> None:
        self.time[rows] = time
        settled = np.zeros(len(self.text), dtype=np.bool_)
        settled[rows] = True
        self.open = self.open[~settled[self.open]]


def _one(text: str) -> tuple[float, float] | None:
    """Date and hour of a text in any form that Python knows, None if it cannot be read."""
    try:
        date, hour = times_of([text])[0].tolist()
    except DataError:
        return None
    return date, hour


def _date_and_hour(instant: NDArray[Any], *, days: bool) -> Floats:
    """The same arithmetic as in :mod:`geocsp.times`, on ``(N,)`` datetime64 at once."""
    second = instant.astype("datetime64[s]")
    year, day = second.astype("datetime64[Y]"), second.astype("datetime64[D]")
    length = (year + 1).astype("datetime64[s]") - year.astype("datetime64[s]")
    hour = (second - day) / np.timedelta64(1, "h")
    return np.stack(
        [(second - year) / length, np.full(len(hour), np.nan) if days else hour], axis=1
    )


def _local(time: Floats, lon: Floats) -> Floats:
    """Hours of UTC as local mean solar time."""
    hour = np.remainder(time[:, 1] + lon / 15, 24)
    return np.stack([time[:, 0], np.where(hour >= 24, 0.0, hour)], axis=1)
