"""Place and time in XMP: a packet inside a photo, or a file beside it."""

from __future__ import annotations

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from geocsp.errors import DataError

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_WANTED = (
    "GPSLatitude",
    "GPSLatitudeRef",
    "GPSLongitude",
    "GPSLongitudeRef",
    "GPSTimeStamp",
    "DateTimeOriginal",
)


def xmp_fields(packet: bytes) -> dict[str, str]:
    """Texts of the properties of Exif in XMP, as GPSLatitude, that say where and when.

    A packet that defines entities is refused, since they can grow without end.

    Raises:
        DataError: it is no XMP.
    """
    if not packet.startswith(_UTF_16):
        packet = packet.strip(b"\0 \t\r\n")
    try:
        root = fromstring(packet, forbid_dtd=True)
    except DefusedXmlException as error:
        raise DataError("XMP defines entities, which is not safe to read") from error
    except (ParseError, ValueError, LookupError) as error:
        raise DataError(f"XMP is damaged: {error}") from error
    found: dict[str, str] = {}
    for element in root.iter():
        for name, value in [*element.attrib.items(), (element.tag, element.text)]:
            field = str(name).removeprefix(_EXIF)
            if field in _WANTED and field != name and value and value.strip():
                found.setdefault(field, value.strip())
    return found
