import sys
import threading
import time
import warnings

import numpy as np
import pytest
from hostile import dms, encoded, exif, geotiff, gps, picture, xmp
from PIL import Image

from geocsp.data.images import Bands
from geocsp.data.options import ReadOptions
from geocsp.data.read import read
from geocsp.data.readers.photos import read_photos
from geocsp.errors import DataError
from geocsp.times import times_of


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def photo(lon=8.5, lat=47.25, **base):
    return encoded(picture(size=(8, 8)), exif=exif(gps(lon, lat), **base))


def names(table):
    return table.images.names.to_pylist()


def reasons(table):
    return {problem.file: problem.reason for problem in table.problems}


def test_photos_are_read_with_place_and_label(tmp_path):
    write(tmp_path, "b/2.jpg", photo(-122.4, 37.75))
    write(tmp_path, "a/x/1.jpg", photo())
    write(tmp_path, "0.jpg", photo(1, 2))
    table = read_photos(tmp_path, ReadOptions())
    assert names(table) == ["0.jpg", "a/x/1.jpg", "b/2.jpg"]
    assert table.lonlat == pytest.approx(np.array([[1, 2], [8.5, 47.25], [-122.4, 37.75]]))
    assert table.class_names == ("a", "b")
    assert table.labels.tolist() == [-1, 0, 1]
    assert table.time is None
    assert table.problems == ()
    assert table.notes == ()
    assert table.images.folder == str(tmp_path)
    assert table.images.load(1) == tmp_path / "a/x/1.jpg"


def test_photos_in_no_folder_have_no_labels(tmp_path):
    write(tmp_path, "0.jpg", photo())
    write(tmp_path, "1.jpg", photo())
    assert read_photos(tmp_path, ReadOptions()).label is None


def test_the_time_is_local(tmp_path):
    clock = {"GPSDateStamp": "2026:01:31", "GPSTimeStamp": dms(12.5)}
    small = picture(size=(8, 8))
    write(tmp_path, "a.jpg", encoded(small, exif=exif(gps(30, 1, **clock))))
    write(tmp_path, "b.jpg", photo(90, 1, DateTimeOriginal="2026:01:31 12:30:00"))
    write(tmp_path, "c.jpg", photo())
    zoned = {"DateTimeOriginal": "2026:01:31 23:30:00", "OffsetTimeOriginal": "+01:00"}
    write(tmp_path, "d.jpg", photo(60, 1, **zoned))
    table = read_photos(tmp_path, ReadOptions())
    assert table.time[:, 1] == pytest.approx([14.5, 12.5, np.nan, 2.5], nan_ok=True)
    dates = times_of(["2026-01-31T12:30:00", "2026-01-31T12:30", "", "2026-01-31T22:30"])[:, 0]
    assert table.time[:, 0] == pytest.approx(dates.numpy(), nan_ok=True)


def test_sidecars_supply_the_place(tmp_path):
    small = encoded(picture(size=(8, 8)))
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "x/e.jpg"):
        write(tmp_path, name, small)
    write(tmp_path, "a.xmp", xmp("1.5", "2.5"))
    write(tmp_path, "b.jpg.xmp", xmp("3.5", "4.5"))
    write(tmp_path, "b.xmp", xmp("9.5", "9.5"))
    write(tmp_path, "c.XMP", xmp("5,30W", "6,30S"))
    write(tmp_path, "e.xmp", xmp("7.5", "8.5"))  # beside nothing
    table = read_photos(tmp_path, ReadOptions())
    assert names(table) == ["a.jpg", "b.jpg", "c.jpg"]
    assert table.lonlat.tolist() == [[1.5, 2.5], [3.5, 4.5], [-5.5, -6.5]]
    assert reasons(table).keys() == {"d.jpg", "x/e.jpg"}


def test_a_sidecar_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    write(tmp_path, "a.jpg", encoded(picture(size=(8, 8))))
    write(tmp_path, "a.xmp", xmp("1.5", "2.5"))
    open_ = type(tmp_path).open

    def refuse(path, *args, **kwargs):
        if path.suffix == ".xmp":
            raise PermissionError(13, "Permission denied")
        return open_(path, *args, **kwargs)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    table = read_photos(tmp_path, ReadOptions())
    assert reasons(table) == {"a.jpg": "a.xmp beside it cannot be opened: Permission denied"}


def test_a_photo_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    write(tmp_path, "a.jpg", photo())
    write(tmp_path, "b.jpg", photo())
    open_ = type(tmp_path).open

    def refuse(path, *args, **kwargs):
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied")
        return open_(path, *args, **kwargs)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    table = read_photos(tmp_path, ReadOptions())
    assert names(table) == ["b.jpg"]
    assert reasons(table) == {"a.jpg": "cannot be opened: Permission denied"}


def test_what_lies_beside_photos_is_passed_over(tmp_path):
    write(tmp_path, "a.jpg", photo())
    for name in ("b.txt", "c.JSON", "d.csv", "e.html", "Thumbs.db", "desktop.ini", "f.aux.xml",
                 "README.md", ".DS_Store", "._a.jpg", ".git/g.jpg", "h.tfw"):  # fmt: skip
        write(tmp_path, name, photo() if name == "b.txt" else b"text")
    table = read_photos(tmp_path, ReadOptions())
    assert names(table) == ["a.jpg"]
    assert table.problems == ()


def test_the_content_decides_and_not_the_name(tmp_path):
    png = encoded(picture(size=(8, 8)), "PNG", exif=exif(gps(1, 2)))
    write(tmp_path, "a.jpg", png)
    write(tmp_path, "b", photo())
    write(tmp_path, "c.weird", photo())
    write(tmp_path, "d.jpg", b"<html>")
    write(tmp_path, "e.docx", b"PK\x03\x04")
    table = read_photos(tmp_path, ReadOptions())
    assert names(table) == ["a.jpg", "b", "c.weird"]
    expected = {"d.jpg": "is a web page, not an image", "e.docx": "is a zip archive, not an image"}
    assert reasons(table) == expected


def test_photos_without_a_place_are_told_or_kept(tmp_path):
    small = picture(size=(8, 8))
    write(tmp_path, "a.jpg", photo())
    write(tmp_path, "b.jpg", encoded(small))
    write(tmp_path, "c.jpg", encoded(small, exif=exif(gps(1, 2, GPSLatitudeRef=None))))
    write(tmp_path, "d.jpg", photo(0, 0))
    write(tmp_path, "e.jpg", b"")
    write(
        tmp_path,
        "f.png",
        encoded(small, "PNG", exif=exif(None, DateTimeOriginal="2026:01:31 12:00:05")),
    )
    told = {
        "c.jpg": "GPS latitude without hemisphere (N or S)",
        "d.jpg": "lon 0, lat 0: that is what many devices write when they know no place",
        "e.jpg": "is empty (0 bytes)",
    }
    nothing = "no GPS coordinates in EXIF or XMP"
    table = read_photos(tmp_path, ReadOptions())
    assert names(table) == ["a.jpg"]
    assert reasons(table) == told | {"b.jpg": nothing, "f.png": nothing}
    assert len(table.problems) == 5
    table = read_photos(tmp_path, ReadOptions(keep_unplaced=True))
    assert names(table) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "f.png"]
    assert np.isnan(table.lonlat[1:]).all()
    assert reasons(table) == {"e.jpg": "is empty (0 bytes)"}
    (unknown,) = table.notes
    hemisphere = "GPS latitude without hemisphere (N or S)"
    assert unknown == (
        f"2 places cannot be used and count as unknown; the first: c.jpg: {hemisphere}"
    )
    assert table.time[4, 1] == pytest.approx(12 + 5 / 3600)


def test_chips_lie_where_their_middle_is(tmp_path):
    pytest.importorskip("rasterio")
    (tmp_path / "water").mkdir()
    geotiff(tmp_path / "water/a.tif", np.ones((13, 4, 4), dtype=np.uint16))
    geotiff(tmp_path / "b.dat", np.ones((1, 4, 4), dtype=np.uint8))
    bands = Bands((4, 3, 2), low=0, high=10)
    table = read_photos(tmp_path, ReadOptions(bands=bands))
    assert names(table) == ["b.dat", "water/a.tif"]
    assert table.lonlat == pytest.approx(np.array([[7.25, 46.75]] * 2))
    assert table.class_names == ("water",)
    assert table.images.bands == bands


def test_a_tiff_without_georeference_may_be_a_photo(tmp_path):
    pytest.importorskip("rasterio")
    small = picture(size=(8, 8))
    small.save(tmp_path / "a.tif", exif=exif(gps(1, 2)))
    small.save(tmp_path / "b.tif")
    geotiff(tmp_path / "c.tif", np.ones((13, 4, 4), dtype=np.uint16), crs=None)
    with warnings.catch_warnings(record=True) as heard:
        table = read_photos(tmp_path, ReadOptions())
    assert [str(w.message) for w in heard if "georeference" in str(w.message)] == []
    assert names(table) == ["a.tif"]
    assert reasons(table) == {
        "b.tif": "no georeference, and no GPS coordinates in EXIF or XMP",
        "c.tif": "has coordinates but names no reference system for them; name the crs",
    }
    table = read_photos(tmp_path, ReadOptions(crs="EPSG:4326"))
    assert names(table) == ["a.tif", "c.tif"]


def test_without_rasterio_chips_say_what_to_install_and_photos_are_read(tmp_path, monkeypatch):
    pytest.importorskip("rasterio")
    small = picture(size=(8, 8))
    small.save(tmp_path / "a.tif", exif=exif(gps(1, 2)))
    geotiff(tmp_path / "b.tif", np.ones((13, 4, 4), dtype=np.uint16))
    geotiff(tmp_path / "c.tif", np.ones((3, 4, 4), dtype=np.uint8))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    table = read_photos(tmp_path, ReadOptions())
    assert names(table) == ["a.tif"]
    expected = "rasterio is not installed; pip install 'geocsp[geo]' brings it"
    assert reasons(table) == {"b.tif": expected, "c.tif": expected}


def test_raw_files_of_cameras_are_told(tmp_path):
    picture(size=(8, 8)).save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.DNG")
    expected = "is a camera's raw file, which is not developed here; export it as JPEG"
    assert reasons(read_photos(tmp_path, ReadOptions())) == {"a.DNG": expected}


def test_links_to_what_is_there_are_noted(tmp_path):
    write(tmp_path, "a/1.jpg", photo())
    (tmp_path / "a/2.jpg").symlink_to("1.jpg")
    (tmp_path / "b").symlink_to(".")
    table = read_photos(tmp_path, ReadOptions())
    assert names(table) == ["a/1.jpg"]
    assert table.notes == ("2 links to what is in the folder anyway were left out",)


def test_an_empty_folder_makes_an_empty_table_that_read_refuses(tmp_path):
    table = read_photos(tmp_path, ReadOptions())
    assert len(table) == 0
    assert table.lonlat.shape == (0, 2)
    write(tmp_path, "a.jpg", b"")
    with pytest.raises(DataError, match=r"holds no image with a place.*a\.jpg.*is empty"):
        read(tmp_path)


def test_a_folder_that_is_not_there_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_photos(tmp_path / "nothing", ReadOptions())


def test_two_readings_give_the_same(tmp_path):
    for number in range(20):
        write(tmp_path, f"{number % 3}/{number}.jpg", photo(number, 1))
    first, second = (read_photos(tmp_path, ReadOptions()) for _ in range(2))
    assert first.fingerprint == second.fingerprint


def test_no_pixels_are_decoded(tmp_path, monkeypatch):
    big = picture(size=(200, 150))
    content = encoded(big, exif=exif(gps(1, 2)))
    write(tmp_path, "a.jpg", content[: len(content) // 2])
    write(tmp_path, "b.png", encoded(big, "PNG"))
    monkeypatch.setattr(Image.Image, "load", None)
    table = read_photos(tmp_path, ReadOptions())
    assert names(table) == ["a.jpg"]
    assert "b.png" in reasons(table)


def test_reading_from_a_thread_is_the_same(tmp_path):
    write(tmp_path, "a.jpg", photo())
    tables = []
    work = threading.Thread(target=lambda: tables.append(read_photos(tmp_path, ReadOptions())))
    work.start()
    work.join()
    assert names(tables[0]) == ["a.jpg"]


def test_many_photos_take_little_time(tmp_path):
    content = photo(DateTimeOriginal="2026:01:31 12:00:05")
    for number in range(1000):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    started = time.perf_counter()
    assert len(read_photos(tmp_path, ReadOptions())) == 1000
    assert time.perf_counter() - started < 5
