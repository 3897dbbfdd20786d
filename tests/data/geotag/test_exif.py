import io
import struct
import time
from datetime import UTC, date, datetime

import pytest
from hostile import (
    BOMB,
    XMP,
    dms,
    encoded,
    exif,
    gps,
    picture,
    png_chunk,
    typed_exif,
    with_late_exif,
    xmp,
)
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from geocsp.data.geotag.exif import geotag

LON, LAT = 8.5, -47.25


def tag_of(content, sidecar=None):
    with Image.open(io.BytesIO(content)) as image:
        return geotag(image, sidecar)


def photo(lon=LON, lat=LAT, kind="JPEG", base=None, **changes):
    block = exif(gps(lon, lat, **changes), **(base or {}))
    return encoded(picture(size=(8, 8)), kind, exif=block.tobytes())


def place(tag):
    assert tag.reason is None
    assert tag.placed
    return pytest.approx((tag.lon, tag.lat), abs=1e-7)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("lon", "lat"), [(8.5, 47.25), (-122.4194, 37.7749), (-58.4, -34.6)])
def test_places_are_read_from_every_format(kind, lon, lat):
    assert (lon, lat) == place(tag_of(photo(lon, lat, kind)))


def test_places_are_read_from_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    block = exif(gps(LON, LAT)).tobytes()
    assert place(tag_of(encoded(picture(size=(64, 64)), "HEIF", exif=block))) == (LON, LAT)


@pytest.mark.parametrize(
    "latitude",
    [
        dms(47.25),
        (47.0, 15.0, 0.0),
        (47, 15, 0),
        (IFDRational(189, 4), IFDRational(0), IFDRational(0)),
        (IFDRational(47), IFDRational(15), IFDRational(0)),
        (IFDRational(47), IFDRational(15)),
        (47.25,),
        47.25,
        IFDRational(4725, 100),
        "47.25",
        "47,15",
        "47,15,0S",
    ],
)
def test_angles_of_every_form_are_read(latitude):
    class Block(Image.Exif):  # what EXIF cannot hold, but older readers give
        def get_ifd(self, tag):
            return gps(LON, LAT, GPSLatitude=latitude) if tag == 0x8825 else {}

    image = picture(size=(8, 8))
    image._exif = Block()
    image._exif._loaded = True
    assert place(geotag(image)) == (LON, LAT)


def test_pairs_of_numbers_are_rationals():
    image = picture(size=(8, 8))
    image._exif = exif(gps(LON, LAT, GPSLatitude=((47, 1), (15, 1), (0, 7))))
    image._exif._loaded = True
    assert place(geotag(image)) == (LON, LAT)


@pytest.mark.parametrize("mark", ["S", "s", "South", b"S", b"s\0", "S\0", " S "])
def test_references_of_every_form_are_read(mark):
    assert place(tag_of(photo(GPSLatitudeRef=mark))) == (LON, LAT)


@pytest.mark.parametrize(
    ("kind", "angle", "mark"),
    [
        (2, [b"47.25\0"], "S"),
        (2, [b"-47.25\0"], ""),
        (3, [47, 15, 0], "S"),
        (4, [47, 15, 0], "S"),
        (5, [(4725, 100)], "S"),
        (5, [(47, 1), (15, 1)], "S"),
        (5, [(47, 1), (1500, 100), (0, 1)], "S"),
        (9, [-47, 15, 0], ""),
        (10, [(-4725, 100), (0, 1), (0, 1)], ""),
        (10, [(-47, 1), (15, 1), (0, 1)], "S"),
        (11, [47.25], "S"),
        (12, [-47.25], ""),
        (12, [47.0, 15.0, 0.0], "S"),
    ],
)
@pytest.mark.parametrize("mark_kind", [2, 7, 1])
def test_tags_of_every_type_are_read(kind, angle, mark, mark_kind):
    text = mark.encode() + b"\0"
    tags = {2: (kind, angle), 3: (2, [b"E\0"]), 4: (5, [(8, 1), (30, 1), (0, 1)])}
    if mark:
        tags[1] = (mark_kind, list(text) if mark_kind == 1 else [text])
    assert place(tag_of(encoded(picture(), exif=typed_exif(tags)))) == (LON, LAT)


def test_out_of_range_is_read_as_it_is():
    assert place(tag_of(photo(200.5, 95))) == (200.5, 95.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"GPSLatitudeRef": None}, "GPS latitude without hemisphere (N or S)"),
        ({"GPSLongitudeRef": "\0"}, "GPS longitude without hemisphere (E or W)"),
        ({"GPSLongitudeRef": "S"}, "GPS longitude has the unknown hemisphere 'S'"),
        ({"GPSLongitude": None}, "has a GPS latitude but no longitude"),
        ({"GPSLatitude": None}, "has a GPS longitude but no latitude"),
        ({"GPSLatitude": (IFDRational(0, 0),) * 3}, "GPS latitude is no number: nan, nan, nan"),
        ({"GPSLatitude": (IFDRational(5, 0),) * 3}, "GPS latitude is no number: nan, nan, nan"),
    ],
)
def test_what_is_wrong_with_coordinates_is_told(changes, reason):
    tag = tag_of(photo(**changes))
    assert not tag.placed
    assert tag.reason == reason


@pytest.mark.parametrize(
    ("kind", "angle", "reason"),
    [
        (2, [b"somewhere"], "GPS latitude is no angle: 'somewhere'"),
        (12, [float("nan")], "GPS latitude is no number: nan"),
        (12, [float("inf")], "GPS latitude is no number: inf"),
        (5, [(47, 1), (23, 1), (0, 0)], "GPS latitude is no number: 47, 23, nan"),
        (5, [(1, 1)] * 7, "GPS latitude is no number: 1, 1, 1, 1, 1, 1, 1"),
        (10, [(-47, 1)], "GPS latitude is negative but its hemisphere is N"),
    ],
)
def test_what_is_no_angle_is_told(kind, angle, reason):
    tags = {1: (2, [b"N\0"]), 2: (kind, angle), 3: (2, [b"E\0"]), 4: (5, [(8, 1)])}
    assert tag_of(encoded(picture(), exif=typed_exif(tags))).reason == reason


def test_xmp_supplies_what_exif_lacks():
    broken = exif(gps(LON, LAT, GPSLatitudeRef=None))
    packet = xmp("8,30.5E", "47,23,27S")
    found = (8 + 30.5 / 60, -(47 + 23 / 60 + 27 / 3600))
    small = picture(size=(8, 8))
    for content in (
        encoded(small, exif=broken, xmp=packet),
        encoded(small, xmp=packet),
        encoded(small, "WEBP", xmp=packet),
        encoded(small, "TIFF", tiffinfo={700: packet}),
    ):
        assert found == place(tag_of(content))
    assert found == place(tag_of(encoded(small), packet))
    assert found == place(tag_of(encoded(small, exif=broken), packet))


def test_exif_comes_before_xmp_and_that_before_the_sidecar():
    block, inside, beside = exif(gps(1, 1)), xmp("2.0", "2.0"), xmp("3.0", "3.0")
    small = picture(size=(8, 8))
    assert place(tag_of(encoded(small, exif=block, xmp=inside), beside)) == (1, 1)
    assert place(tag_of(encoded(small, xmp=inside), beside)) == (2, 2)
    assert place(tag_of(encoded(small), beside)) == (3, 3)


def test_what_is_no_place_counts_only_where_there_is_nothing_better():
    small, good = picture(size=(8, 8)), xmp("2.0", "2.0")
    for lon, lat in ((0, 0), (8, 95)):
        content = encoded(small, exif=exif(gps(lon, lat)))
        assert place(tag_of(content)) == (lon, lat)
        assert place(tag_of(content, good)) == (2, 2)
        assert place(tag_of(content, xmp("0.0", "0.0"))) == (lon, lat)
        assert place(tag_of(content, b"<a")) == (lon, lat)
        assert place(tag_of(encoded(small, xmp=b"<a"), good)) == (2, 2)


@pytest.mark.parametrize(
    ("lon", "lat", "expected"),
    [
        ("-122.4", "47.5", (-122.4, 47.5)),
        ("122,24.0W", "47,30N", (-122.4, 47.5)),
        ("122,24,0w", "47,30,0n", (-122.4, 47.5)),
    ],
)
def test_xmp_writes_angles_in_its_own_ways(lon, lat, expected):
    assert expected == place(tag_of(encoded(picture()), xmp(lon, lat)))


def test_a_separate_reference_in_xmp_counts():
    fields = 'exif:GPSLatitude="47.5" exif:GPSLatitudeRef="S" exif:GPSLongitude="8.5"'
    assert place(tag_of(encoded(picture()), XMP.format(fields).encode())) == (8.5, -47.5)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (xmp("8,30E", "47,23"), "GPS latitude without hemisphere (N or S) in XMP"),
        (xmp("here", "47,23N"), "GPS longitude is no angle: 'here' in XMP"),
        (BOMB.encode(), "XMP defines entities, which is not safe to read"),
        (b"<a", "XMP is damaged: unclosed token: line 1, column 0"),
    ],
)
def test_what_is_wrong_with_xmp_is_told(packet, reason):
    small = picture(size=(8, 8))
    started = time.perf_counter()
    assert tag_of(encoded(small), packet).reason == reason
    assert tag_of(encoded(small, xmp=packet)).reason == reason
    assert tag_of(encoded(small, exif=exif(gps(1, 1)), xmp=packet)).placed
    assert time.perf_counter() - started < 2


def test_png_files_may_have_them_behind_the_pixels_which_are_not_decoded():
    small = encoded(picture(size=(8, 8)), "PNG")
    block = exif(gps(LON, LAT)).tobytes()[6:]
    assert place(tag_of(with_late_exif(small, block))) == (LON, LAT)
    text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp("8,30E", "47,15S"))
    other = png_chunk(b"iTXt", b"Comment\0\0\0\0\0a lake")
    assert place(tag_of(small[:-12] + text + other + small[-12:])) == (LON, LAT)
    with Image.open(io.BytesIO(with_late_exif(small, block))) as image:
        image.load = None  # to decode would be to call this
        assert geotag(image).placed


def test_a_png_file_decodes_as_before_after_its_tags_were_read():
    content = with_late_exif(encoded(picture(), "PNG"), exif(gps(1, 1)).tobytes()[6:])
    with Image.open(io.BytesIO(content)) as image:
        geotag(image)
        assert image.tobytes() == picture().tobytes()


def test_png_files_with_damaged_chunks_have_no_place():
    small = encoded(picture(size=(8, 8)), "PNG")
    endless = struct.pack(">I4s", 2**31, b"eXIf") + b"II*\0"
    tag = tag_of(small[:-12] + endless)
    assert not tag.placed
    assert tag.reason is None


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0" + bytes(range(64)),
        b"Exif\0\0" + b"\xff" * 200,
        b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 500,
        exif(gps(LON, LAT)).tobytes()[:60],
        b"garbage",
    ],
)
def test_damaged_exif_gives_no_place_and_never_raises(block, recwarn):
    tag = tag_of(encoded(picture(), exif=block))
    assert not tag.placed
    assert tag.moment is None
    assert tag_of(encoded(picture(), exif=block), xmp("8.5", "-47.25")).placed


def test_exif_cut_anywhere_never_raises(recwarn):
    block = exif(gps(LON, LAT), DateTimeOriginal="2026:01:31 12:00:05").tobytes()
    places = [
        tag_of(encoded(picture(size=(8, 8)), exif=block[:end])) for end in range(6, len(block))
    ]
    assert not places[0].placed
    assert {(tag.lon, tag.lat) for tag in places if tag.placed} <= {(LON, LAT)}


def test_exif_with_any_byte_changed_never_raises(recwarn):
    block = exif(gps(LON, LAT), DateTimeOriginal="2026:01:31 12:00:05").tobytes()
    small = picture(size=(8, 8))
    for position in range(6, len(block)):
        for byte in (0, 255):
            changed = bytes([*block[:position], byte, *block[position + 1 :]])
            tag_of(encoded(small, exif=changed))


def test_the_time_of_satellites_comes_first():
    base = {"DateTimeOriginal": "2020:05:05 05:05:05", "OffsetTimeOriginal": "+09:00"}
    clock = (IFDRational(12), IFDRational(0), IFDRational(5))
    content = photo(base=base, GPSDateStamp="2026:01:31", GPSTimeStamp=clock)
    assert tag_of(content).moment == datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)


def test_the_time_of_the_camera_is_utc_where_its_offset_is_known():
    base = {"DateTimeOriginal": "2026:01:31 12:00:05"}
    assert tag_of(photo(base=base)).moment == datetime(2026, 1, 31, 12, 0, 5)
    zoned = tag_of(photo(base=base | {"OffsetTimeOriginal": "-08:00"})).moment
    assert zoned == datetime(2026, 1, 31, 20, 0, 5, tzinfo=UTC)
    nothing = (IFDRational(0, 0),) * 3
    half = photo(base=base, GPSDateStamp="2026:02:01", GPSTimeStamp=nothing)
    assert tag_of(half).moment == datetime(2026, 1, 31, 12, 0, 5)
    assert tag_of(photo(base={"DateTime": "2026:01:31 12:00:05"})).moment is None


def test_the_time_in_xmp_counts_last():
    fields = 'exif:DateTimeOriginal="{}" exif:GPSLatitude="1.0" exif:GPSLongitude="1.0"'
    packet = XMP.format(fields.format("2026-01-31")).encode()
    assert tag_of(encoded(picture()), packet).moment == date(2026, 1, 31)
    stamped = packet.replace(b"DateTimeOriginal", b"GPSTimeStamp")
    stamped = stamped.replace(b"2026-01-31", b"2026-01-31T12:00:05")
    assert tag_of(encoded(picture()), stamped).moment == datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
    base = {"DateTimeOriginal": "2020:05:05 05:05:05"}
    assert tag_of(photo(base=base), packet).moment == datetime(2020, 5, 5, 5, 5, 5)


def test_a_photo_without_a_place_may_have_a_time():
    block = exif(None, DateTimeOriginal="2026:01:31 12:00:05")
    tag = tag_of(encoded(picture(), exif=block))
    assert (tag.placed, tag.reason) == (False, None)
    assert tag.moment == datetime(2026, 1, 31, 12, 0, 5)


def test_a_picture_in_memory_has_no_place():
    tag = geotag(picture())
    assert (tag.placed, tag.reason, tag.moment) == (False, None, None)
