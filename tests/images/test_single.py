from dataclasses import replace

import numpy as np
import pytest
import torch
from hostile import encoded, exif, geotiff, gps, huge_png, picture, png_16
from PIL import Image
from toys import ToyEncoder

import geocsp
from geocsp.errors import DataError
from geocsp.images import EfficientNetLite0
from geocsp.images import single as single_module
from geocsp.images.features import compute_features
from geocsp.images.framing import Framing
from geocsp.images.single import open_photo

LON, LAT = 8.5, -47.25


@pytest.fixture
def encoder():
    return ToyEncoder()


def files():
    """Content by name: everything that changes how pixels are read."""
    upright = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
    made = {f"plain.{end}": encoded(picture(), kind) for kind, end in upright.items()}
    for turn in range(2, 9):
        made[f"turn{turn}.jpg"] = encoded(picture(size=(90, 61)), exif=exif(Orientation=turn))
    made["large.jpg"] = encoded(picture(size=(640, 410), seed=3))  # decoded at a fraction
    made["grey.png"] = encoded(picture("L"), "PNG")
    made["palette.gif"] = encoded(picture("P"), "GIF")
    numbers = np.random.default_rng(0).integers(0, 2**16, (20, 30, 3)).astype(np.uint16)
    made["deep.png"] = png_16(numbers)
    return made


def in_folder(folder, contents):
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return geocsp.read(folder, keep_unplaced=True)


def assert_features_are_those_of_extraction(encoder, folder, out, contents):
    table = in_folder(folder, contents)
    features = compute_features(encoder, table, out, bfloat16=False)
    assert len(features) == len(contents)
    for row, expected in enumerate(features.read()):
        path = folder / features.table.images.names[row].as_py()
        for source in (path, path.read_bytes()):
            photo = open_photo(source, encoder)
            with torch.inference_mode():
                found = encoder(photo.pixels)[0].to(torch.float16).float()
            assert torch.equal(found, expected), path.name


def test_features_are_those_of_extraction(encoder, tmp_path):
    assert_features_are_those_of_extraction(encoder, tmp_path / "in", tmp_path / "out", files())


def test_features_of_a_real_network_are_those_of_extraction(tmp_path):
    names = ("plain.jpg", "turn6.jpg", "large.jpg")
    few = {name: content for name, content in files().items() if name in names}
    network = EfficientNetLite0(pixels=64)
    assert_features_are_those_of_extraction(network, tmp_path / "in", tmp_path / "out", few)


def test_place_and_time_are_those_of_a_table(encoder, tmp_path):
    gps_time = {"GPSDateStamp": "2026:01:31", "GPSTimeStamp": (12.0, 0.0, 0.0)}
    contents = {
        "a.jpg": encoded(picture(), exif=exif(gps(LON, LAT))),
        "b.jpg": encoded(picture(), exif=exif(gps(LON, LAT, **gps_time))),
        "c.jpg": encoded(picture(), exif=exif(DateTimeOriginal="2026:06:30 18:00:00")),
        "d.jpg": encoded(picture()),
    }
    table = in_folder(tmp_path / "in", contents)
    for row in range(len(table)):
        name = table.images.names[row].as_py()
        photo = open_photo(tmp_path / "in" / name, encoder)
        assert photo.lonlat.dtype == torch.float64
        np.testing.assert_array_equal(photo.lonlat.numpy(), table.lonlat[row])
        time = np.full(2, np.nan) if photo.time is None else photo.time.numpy()
        np.testing.assert_array_equal(time, table.time[row])
        assert photo.placed == (name in ("a.jpg", "b.jpg"))
        assert bool(photo.notes) != photo.placed
    assert open_photo(contents["d.jpg"], encoder).time is None


@pytest.mark.parametrize(
    ("tags", "note", "lon"),
    [
        (gps(0, 0), "lon 0, lat 0", None),
        (gps(10, 95), "latitude 95", None),
        (gps(10, 20, GPSLongitude=None), "latitude but no longitude", None),
        (gps(350, 20), "wrapped", -10.0),
        ({}, "no GPS coordinates", None),
    ],
)
def test_what_is_odd_about_a_place_is_noted(encoder, tags, note, lon):
    photo = open_photo(encoded(picture(), exif=exif(tags)), encoder)
    assert any(note in told for told in photo.notes), photo.notes
    assert photo.placed == (lon is not None)
    assert bool(photo.lonlat.isnan().all()) != photo.placed
    if lon is not None:
        torch.testing.assert_close(photo.lonlat, torch.tensor([lon, 20.0], dtype=torch.float64))


def test_a_geotiff_is_where_its_middle_is(encoder, tmp_path):
    numbers = np.random.default_rng(0).integers(0, 255, (3, 20, 20)).astype(np.uint8)
    geotiff(tmp_path / "chip.tif", numbers)
    for source in (tmp_path / "chip.tif", (tmp_path / "chip.tif").read_bytes()):
        photo = open_photo(source, encoder)
        assert photo.lonlat.tolist() == pytest.approx([7.25, 46.75])
        assert photo.pixels.shape == (1, 3, 8, 8)


def test_a_raster_with_other_channels_reaches_an_encoder_that_takes_them(tmp_path):
    encoder = ToyEncoder()
    encoder.framing = Framing(pixels=8, channels=5, as_bytes=False)
    encoder.mean, encoder.deviation = torch.zeros(5), torch.ones(5)
    numbers = np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)
    geotiff(tmp_path / "chip.tif", numbers)
    photo = open_photo(tmp_path / "chip.tif", encoder)
    assert torch.equal(photo.pixels[0], torch.from_numpy(numbers))


def test_too_many_pixels_are_refused_before_any_is_decoded(encoder, monkeypatch):
    content = encoded(picture(size=(60, 40)))
    assert open_photo(content, encoder, max_pixels=2400).pixels.shape == (1, 3, 8, 8)

    def refuse(*args, **kwargs):
        raise AssertionError("decoded")

    monkeypatch.setattr(single_module, "decode", refuse)
    monkeypatch.setattr(Image.Image, "load", refuse)
    with pytest.raises(DataError, match="60 x 40 pixels, more than the 2,399 allowed"):
        open_photo(content, encoder, max_pixels=2399)
    encoder.framing = replace(encoder.framing, channels=4)
    with pytest.raises(DataError, match="2,399 allowed"):
        open_photo(content, encoder, max_pixels=2399)
    with pytest.raises(DataError, match="pixels, which could fill the memory"):
        open_photo(huge_png(100_000, 100_000), ToyEncoder(), max_pixels=10**11)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "is text"),
        (b"<html></html>", "is a web page"),
        (bytes(100), "zeros alone"),
        (encoded(picture())[:300], "damaged"),
    ],
)
def test_wrong_files_are_named(encoder, tmp_path, content, reason):
    path = tmp_path / "photo of mine.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"photo of mine.jpg {reason}|photo of mine.jpg.*{reason}"):
        open_photo(path, encoder)
    with pytest.raises(DataError, match=f"^the photo .*{reason}"):
        open_photo(content, encoder)


def test_what_is_no_file_is_named(encoder, tmp_path):
    with pytest.raises(DataError, match=r"none\.jpg cannot be read: No such file"):
        open_photo(tmp_path / "none.jpg", encoder)
    with pytest.raises(DataError, match=r"is a folder"):
        open_photo(tmp_path, encoder)
