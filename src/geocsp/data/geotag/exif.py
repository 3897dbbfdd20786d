"""Place and time of a photo, as its camera or a photo manager wrote them into it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from geocsp.data.geotag.clock import Moment, gps_moment, moment_of
from geocsp.data.geotag.dms import Axis, degrees, parse
from geocsp.data.geotag.xmp import xmp_fields
from geocsp.errors import DataError

_LATE = 2**24
"""Bytes of a chunk behind the pixels of a PNG file that are read at most."""
_XMP_CHUNK = b"XML:com.adobe.xmp\0\0\0"


@dataclass(frozen=True)
class Geotag:
    """Where and when a photo was taken.

    Attributes:
        lon: degrees as they are written, which may be out of range; NaN if unknown.
        lat: the same.
        moment: None if unknown.
        reason: why coordinates that are there cannot be used; None if they can, or if there are
            none.
    """

    lon: float = math.nan
    lat: float = math.nan
    moment: Moment = None
    reason: str | None = None

    @property
    def placed(self) -> bool:
        """Whether there are coordinates."""
        return not (math.isnan(self.lon) or math.isnan(self.lat))

    @property
    def plausible(self) -> bool:
        """Whether there is no reason to look for other coordinates."""
        return abs(self.lon) <= 360 and abs(self.lat) <= 90 and (self.lon, self.lat) != (0, 0)


def geotag(picture: Image.Image, sidecar: bytes | None = None) -> Geotag:
    """Find place and time: in EXIF, else in the XMP inside the picture, else in XMP beside it.

    What is no place on Earth, or exactly (0, 0), counts only where there is nothing better.

    The time of the satellites comes first, which is UTC; then DateTimeOriginal, in UTC too if its
    offset is known (Exif 3.0, CIPA DC-008; XMP Specification Part 2). No pixels are decoded.
    Metadata that are damaged never raise: the answer says so.

    Args:
        picture: as opened, of any format.
        sidecar: content of an XMP file beside it.
    """
    tags: list[Geotag] = []
    for tag in _tags(picture, sidecar):
        tags.append(tag)
        if any(tag.plausible for tag in tags) and any(tag.moment for tag in tags):
            break
    place = max(tags, key=lambda tag: (tag.plausible, tag.placed, tag.reason is not None))
    return replace(place, moment=next((tag.moment for tag in tags if tag.moment), None))


def _tags(picture: Image.Image, sidecar: bytes | None) -> Iterator[Geotag]:
    late_exif, late_xmp = _late_chunks(picture)
    yield _from_exif(picture, late_exif)
    packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or late_xmp
    for xmp in (packet, sidecar):
        if xmp:
            yield _from_xmp(xmp.encode() if isinstance(xmp, str) else bytes(xmp))


def _from_exif(picture: Image.Image, late: bytes) -> Geotag:
    try:
        if late:
            exif = Image.Exif()
            exif.load(late)
        else:
            exif = Image.Image.getexif(picture)  # of a PNG file without decoding it
        gps, camera = exif.get_ifd(IFD.GPSInfo), exif.get_ifd(IFD.Exif)
        moment = _moment(gps, camera)
    except Exception:  # damaged EXIF makes Pillow raise nearly anything
        return Geotag(reason="EXIF is damaged, so that no GPS coordinates can be read from it")
    try:
        lat = _coordinate(gps, GPS.GPSLatitude, GPS.GPSLatitudeRef, Axis.LATITUDE)
        lon = _coordinate(gps, GPS.GPSLongitude, GPS.GPSLongitudeRef, Axis.LONGITUDE)
    except DataError as error:
        return Geotag(moment=moment, reason=str(error))
    return _complete(lon, lat, moment)


def _from_xmp(packet: bytes) -> Geotag:
    try:
        fields = xmp_fields(packet)
    except DataError as error:
        return Geotag(reason=str(error))
    moment = moment_of(fields.get("GPSTimeStamp", ""), "+00:00")
    moment = moment or moment_of(fields.get("DateTimeOriginal", ""))
    try:
        lat = _written(fields, "GPSLatitude", Axis.LATITUDE)
        lon = _written(fields, "GPSLongitude", Axis.LONGITUDE)
    except DataError as error:
        return Geotag(moment=moment, reason=f"{error} in XMP")
    return _complete(lon, lat, moment)


def _complete(lon: float | None, lat: float | None, moment: Moment) -> Geotag:
    if lon is None and lat is None:
        return Geotag(moment=moment)
    if lon is None or lat is None:
        known, missing = ("latitude", "longitude") if lon is None else ("longitude", "latitude")
        return Geotag(moment=moment, reason=f"has a GPS {known} but no {missing}")
    return Geotag(lon, lat, moment)


def _coordinate(gps: Mapping[int, Any], tag: int, reference: int, axis: Axis) -> float | None:
    value, mark = gps.get(tag), _text(gps.get(reference))
    if value is None or value == "" or value == ():
        return None
    if isinstance(value, (str, bytes)):
        parts, own = parse(_text(value), axis)
        return degrees(parts, mark or own, axis)
    return degrees(_numbers(value, axis.label), mark, axis)


def _written(fields: Mapping[str, str], name: str, axis: Axis) -> float | None:
    if name not in fields:
        return None
    parts, mark = parse(fields[name], axis)
    mark = mark or fields.get(f"{name}Ref", "")
    return parts[0] if len(parts) == 1 and not mark else degrees(parts, mark, axis)


def _numbers(value: Any, label: str) -> list[float]:
    """Rationals, floats, integers, or pairs of numerator and denominator; NaN for x / 0."""
    try:
        return [_number(part) for part in (value if isinstance(value, (tuple, list)) else [value])]
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{label} is no number: {value!r}") from error


def _number(part: Any) -> float:
    try:
        if isinstance(part, (tuple, list)):
            over, under = part
            return float(over) / float(under)
        return float(part)
    except ZeroDivisionError:
        return math.nan


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip("\0 ") if isinstance(value, str) else ""


def _moment(gps: Mapping[int, Any], camera: Mapping[int, Any]) -> Moment:
    try:
        clock = _numbers(gps.get(GPS.GPSTimeStamp), "GPS time")
    except DataError:
        clock = []
    taken, offset = camera.get(Base.DateTimeOriginal), camera.get(Base.OffsetTimeOriginal)
    return gps_moment(_text(gps.get(GPS.GPSDateStamp)), clock) or moment_of(
        _text(taken), _text(offset)
    )


def _late_chunks(picture: Image.Image) -> tuple[bytes, bytes]:
    """EXIF and XMP behind the pixels of a PNG file, where libpng and others may write them."""
    exif, xmp = b"", b""
    file = getattr(picture, "fp", None)
    if picture.format != "PNG" or file is None or file.closed:
        return exif, xmp
    place = file.tell()
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind not in (b"eXIf", b"iTXt") or length > _LATE:
            file.seek(length + 4, 1)
            continue
        content = file.read(length)
        file.seek(4, 1)
        if kind == b"eXIf":
            exif = content
        elif content.startswith(_XMP_CHUNK):  # two texts that end in NUL, then the packet
            xmp = content[len(_XMP_CHUNK) :].split(b"\0", 2)[-1]
    file.seek(place)
    return exif, xmp
