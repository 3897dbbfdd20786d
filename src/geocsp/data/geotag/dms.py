"""Degrees, minutes and seconds, as EXIF and XMP write them, as one number."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from enum import Enum

from geocsp.errors import DataError


class Axis(Enum):
    """A coordinate, with the letters of its positive and its negative half."""

    LATITUDE = "NS"
    LONGITUDE = "EW"

    @property
    def label(self) -> str:
        """What to call it in a message."""
        return f"GPS {self.name.lower()}"


_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_ANGLE = re.compile(
    rf"\s*([NSEW]?)\s*([+-]?)({_NUMBER})((?:[^\w.+-]+(?:{_NUMBER})){{0,2}})\W*([NSEW]?)\W*",
    re.IGNORECASE,
)


def degrees(parts: Sequence[float], mark: str, axis: Axis) -> float:
    """One signed number of degrees, north and east positive.

    A reference such as "n", "North" or "N" with a NUL behind it is understood. Nothing is taken
    for granted (Exif has no default: CIPA DC-008, GPSLatitudeRef): without a reference a value
    counts only if it is negative, or 0.

    Args:
        parts: degrees; or degrees and minutes; or degrees, minutes and seconds, each with or
            without decimals, the first perhaps negative.
        mark: N, S, E or W; "" if unknown.
        axis: which coordinate.

    Raises:
        DataError: no number, no angle, or no telling which hemisphere.
    """
    if not 1 <= len(parts) <= 3 or not all(math.isfinite(part) for part in parts):
        shown = ", ".join(f"{part:g}" for part in parts) or "nothing"
        raise DataError(f"{axis.label} is no number: {shown}")
    if any(abs(part) > 60 for part in parts[1:]):
        shown = ", ".join(f"{part:g}" for part in parts)
        raise DataError(f"{axis.label} is no angle: {shown}; minutes and seconds end at 60")
    size = sum(abs(part) / unit for part, unit in zip(parts, (1, 60, 3600), strict=False))
    negative = any(math.copysign(1, part) < 0 for part in parts)
    letter = mark.strip(" \0\t\r\n").upper()[:1]
    positive_letter, negative_letter = axis.value
    if not letter:
        if size and not negative:
            raise DataError(
                f"{axis.label} without hemisphere ({positive_letter} or {negative_letter})"
            )
    elif letter not in axis.value:
        raise DataError(f"{axis.label} has the unknown hemisphere {letter!r}")
    elif negative and size and letter == positive_letter:
        raise DataError(f"{axis.label} is negative but its hemisphere is {letter}")
    return -size if negative or letter == negative_letter else size


def parse(text: str, axis: Axis) -> tuple[list[float], str]:
    """Parts and hemisphere of an angle that is written out, such as "47,23.456N" or "-122.4".

    XMP writes "DDD,MM,SSk" or "DDD,MM.mmk" (XMP Specification Part 2, GPSCoordinate).

    Raises:
        DataError: no such text.
    """
    match = _ANGLE.fullmatch(text.strip("\0"))
    if match is None:
        raise DataError(f"{axis.label} is no angle: {text[:40]!r}")
    before, sign, first, rest, after = match.groups()
    parts = [float(first), *(float(part) for part in re.findall(_NUMBER, rest))]
    return [math.copysign(parts[0], -1.0) if sign == "-" else parts[0], *parts[1:]], before or after
