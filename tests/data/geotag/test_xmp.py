import pytest
from hostile import BOMB, xmp

from geocsp.data.geotag.xmp import xmp_fields
from geocsp.errors import DataError

ELEMENTS = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<r:Description xmlns:e="http://ns.adobe.com/exif/1.0/" xmlns:o="http://other/">
<o:GPSLatitude>1,0N</o:GPSLatitude>
<e:GPSLatitude> 47,23.456N </e:GPSLatitude><e:GPSLongitude>8,30E</e:GPSLongitude>
<e:DateTimeOriginal>2026-01-31T12:00:05+01:00</e:DateTimeOriginal><e:ISO>100</e:ISO>
</r:Description></r:RDF></x:xmpmeta><?xpacket end="w"?>   """


def test_attributes_and_elements_are_read():
    assert xmp_fields(xmp("8,30E", "47,23N")) == {"GPSLongitude": "8,30E", "GPSLatitude": "47,23N"}
    assert xmp_fields(ELEMENTS + bytes(100)) == {
        "GPSLatitude": "47,23.456N",
        "GPSLongitude": "8,30E",
        "DateTimeOriginal": "2026-01-31T12:00:05+01:00",
    }


def test_packets_in_utf_16_are_read():
    text = xmp("8,30E", "47,23N").decode()
    assert xmp_fields(('<?xml version="1.0" encoding="UTF-16"?>' + text).encode("utf-16"))


@pytest.mark.parametrize(
    "bomb",
    [
        BOMB,
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><a/>',
    ],
)
def test_entities_are_refused(bomb):
    with pytest.raises(DataError, match="XMP defines entities, which is not safe to read"):
        xmp_fields(bomb.encode())


@pytest.mark.parametrize(
    "packet", [b"", b"\0\0", b"no xml", b"<a><b></a>", b"\xff\xfe\xfd", b'<?xml encoding="x"?><a/>']
)
def test_what_is_no_xml_is_told(packet):
    with pytest.raises(DataError, match="XMP is damaged: "):
        xmp_fields(packet)


def test_an_unknown_encoding_is_told():
    with pytest.raises(DataError, match="XMP is damaged: "):
        xmp_fields(b'<?xml version="1.0" encoding="klingon"?><a/>')


def test_deep_nesting_does_no_harm():
    assert xmp_fields(b"<a>" * 100_000 + b"</a>" * 100_000) == {}
