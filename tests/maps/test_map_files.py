from pathlib import Path

import pytest

from geocsp.errors import DataError
from geocsp.maps.files import MapFormat, format_of, safe_names


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.png", MapFormat.PNG),
        ("A.PNG", MapFormat.PNG),
        ("a.b.tif", MapFormat.TIF),
        ("a.tiff", MapFormat.TIF),
        ("a.geojson", MapFormat.GEOJSON),
        ("a.gpkg", MapFormat.GPKG),
    ],
)
def test_the_end_of_a_name_is_the_format(name, format_):
    assert format_of(Path(name)) is format_


@pytest.mark.parametrize("name", ["map.jpg", "map", "map.json", ".png"])
def test_other_names_are_refused(name):
    with pytest.raises(DataError, match="names no map"):
        format_of(Path(name))


def test_names_of_files_are_safe_and_different():
    names = [
        "Parus major",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "A-B",
        "",
        "..",
        "CON:*?",
        "狐",
        "é" * 200,
    ]
    safe = safe_names(names)
    assert safe[:3] == ["Parus-major", "etc-passwd", "a-b"]
    assert safe[3:7] == ["a-b-2", "A-B-3", "class", "class-2"]
    assert safe[8] == "狐"
    assert len({name.casefold() for name in safe}) == len(names)
    for name in safe:
        assert not set(name) & set('/\\:*?"<>|.\0 ')
        assert len(name.encode()) <= 125
