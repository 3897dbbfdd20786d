import math

import pytest

from geocsp.data.geotag.dms import Axis, degrees, parse
from geocsp.errors import DataError

LAT, LON = Axis.LATITUDE, Axis.LONGITUDE


@pytest.mark.parametrize(
    ("parts", "mark", "axis", "expected"),
    [
        ([47.5], "N", LAT, 47.5),
        ([47, 30], "N", LAT, 47.5),
        ([47, 23, 27], "N", LAT, 47 + 23 / 60 + 27 / 3600),
        ([47, 23.456, 0], "S", LAT, -(47 + 23.456 / 60)),
        ([0, 30, 0], "W", LON, -0.5),
        ([122.4], "W\0", LON, -122.4),
        ([122.4], " west ", LON, -122.4),
        ([8.5], "e", LON, 8.5),
        ([47, 59, 60], "N", LAT, 48.0),
        ([-122.4], "", LON, -122.4),
        ([-122.4], "W", LON, -122.4),
        ([-122, 24, 0], "", LON, -122.4),
        ([-0.0, 30], "", LAT, -0.5),
        ([0, -30], "", LAT, -0.5),
        ([0, 0, 0], "", LAT, 0.0),
        ([95], "N", LAT, 95.0),
        ([370], "E", LON, 370.0),
    ],
)
def test_parts_and_hemisphere_make_one_number(parts, mark, axis, expected):
    assert degrees(parts, mark, axis) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("parts", "mark", "axis", "reason"),
    [
        ([47.5], "", LAT, "GPS latitude without hemisphere (N or S)"),
        ([8, 30, 0], "\0", LON, "GPS longitude without hemisphere (E or W)"),
        ([47.5], "E", LAT, "GPS latitude has the unknown hemisphere 'E'"),
        ([8.5], "O", LON, "GPS longitude has the unknown hemisphere 'O'"),
        ([-47.5], "N", LAT, "GPS latitude is negative but its hemisphere is N"),
        ([math.nan, 0, 0], "N", LAT, "GPS latitude is no number: nan, 0, 0"),
        ([math.inf], "N", LAT, "GPS latitude is no number: inf"),
        ([], "N", LAT, "GPS latitude is no number: nothing"),
        ([1, 2, 3, 4], "N", LAT, "GPS latitude is no number: 1, 2, 3, 4"),
        ([47, 61, 0], "N", LAT, "GPS latitude is no angle: 47, 61, 0; minutes and seconds end"),
        ([47, 0, 3000], "N", LAT, "GPS latitude is no angle: 47, 0, 3000; minutes and seconds"),
    ],
)
def test_what_is_no_angle_is_told(parts, mark, axis, reason):
    with pytest.raises(DataError) as caught:
        degrees(parts, mark, axis)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("47,23.456N", ([47.0, 23.456], "N")),
        ("47,23,27W", ([47.0, 23.0, 27.0], "W")),
        ("-122.4", ([-122.4], "")),
        ("+8.5", ([8.5], "")),
        ("47.5 n", ([47.5], "n")),
        ("N 47.5", ([47.5], "N")),
        ("47° 23' 27.5\" N", ([47.0, 23.0, 27.5], "N")),
        ("34°36′13″S", ([34.0, 36.0, 13.0], "S")),
        ("47,23", ([47.0, 23.0], "")),
        (".5", ([0.5], "")),
        ("47.\0", ([47.0], "")),
    ],
)
def test_written_angles_are_read(text, expected):
    assert parse(text, LAT) == expected


@pytest.mark.parametrize("text", ["", "N", "north", "47,23,27,5N", "1e3", "NaN", "4-7", "9" * 0])
def test_other_texts_are_no_angle(text):
    with pytest.raises(DataError, match="GPS latitude is no angle"):
        parse(text, LAT)


def test_a_long_text_takes_no_time():
    with pytest.raises(DataError):
        parse("1," * 200_000, LAT)
