import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geocsp.data.geotag.inside import look


def photo(place=None):
    buffer, exif = io.BytesIO(), Image.Exif()
    if place is not None:
        exif[0x8825] = {1: "N", 2: (place[1], 0, 0), 3: "E", 4: (place[0], 0, 0)}
    Image.new("RGB", (4, 4)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def chip(transform, crs="EPSG:4326"):
    rasterio = pytest.importorskip("rasterio")
    facts = {"driver": "GTiff", "width": 4, "height": 4, "count": 5, "dtype": "uint16"}
    with rasterio.io.MemoryFile() as file:
        with file.open(**facts, crs=crs, transform=rasterio.Affine(*transform)) as raster:
            raster.write(np.ones((5, 4, 4), np.uint16))
        return file.read()


def test_photos_in_any_form(tmp_path):
    content = photo((5, 6))
    (tmp_path / "a.jpg").write_bytes(content)
    for raw in (content, tmp_path / "a.jpg", Image.open(io.BytesIO(content))):
        tag = look(raw)
        assert (tag.lon, tag.lat) == (5, 6)


def test_the_middle_of_chips(tmp_path):
    content = chip((0.5, 0, 10, 0, -0.5, 50))
    (tmp_path / "a.tif").write_bytes(content)
    for raw in (content, tmp_path / "a.tif"):
        tag = look(raw)
        assert (tag.lon, tag.lat) == (11, 49)
    without = chip((10, 0, 500_000, 0, -10, 5_400_000), crs=None)
    assert look(without).reason.startswith("has coordinates but names no reference system")
    assert look(without, "EPSG:32631").lon == pytest.approx(3.000272, abs=1e-6)


@pytest.mark.parametrize("raw", [photo(), np.zeros((4, 4, 3), np.uint8), Image.new("RGB", (4, 4))])
def test_no_place(raw):
    tag = look(raw)
    assert not tag.placed
    assert tag.reason is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"", "is empty (0 bytes)"), (b"<html>", "is a web page, not an image")],
)
def test_what_is_no_image_says_so(raw, reason):
    assert look(raw).reason == reason


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        look(Path("/nowhere/a.jpg"))
