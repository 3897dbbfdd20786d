import io
import threading

import numpy as np
import pytest
import torch
from hostile import encoded, exif, geotiff, huge_png, picture, png_16
from PIL import Image, ImageFile

from geocsp.data.images import Bands
from geocsp.errors import DataError
from geocsp.images.decode import decode
from geocsp.images.framing import Framing, Resampling
from geocsp.images.pictures import quiet

SQUEEZE = Framing(pixels=24, draft=False)
CUT = Framing(pixels=24, resize=28, draft=False)


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield


def large(width=2000, height=1500):
    """A photo without noise, as JPEG."""
    return picture(size=(200, 150)).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("resampling", Resampling)
def test_without_draft_the_result_is_pillows(kind, resampling):
    content = encoded(picture(size=(100, 70)), kind)
    framing = Framing(pixels=24, resampling=resampling, draft=False)
    whole = Image.open(io.BytesIO(content)).convert("RGB")
    expected = whole.resize((24, 24), resampling.filter)
    assert np.array_equal(decode(content, framing), np.asarray(expected))
    framing = Framing(pixels=24, resize=28, resampling=resampling, draft=False)
    scaled = whole.resize((40, 28), resampling.filter)
    expected = np.asarray(scaled.crop((8, 2, 32, 26)))
    assert np.array_equal(decode(content, framing), expected)


def test_bytes_paths_and_pictures_give_the_same(tmp_path):
    content = encoded(picture(size=(100, 70)))
    (tmp_path / "a.jpg").write_bytes(content)
    with Image.open(io.BytesIO(content)) as image:
        results = [decode(raw, CUT) for raw in (content, tmp_path / "a.jpg", image)]
        assert image.size == (100, 70)
        assert image.load() is not None
    for result in results:
        assert result.shape == (24, 24, 3)
        assert result.dtype == np.uint8
        assert result.flags.writeable
        assert np.array_equal(result, results[0])


def test_a_square_of_the_right_size_is_kept_as_it_is():
    square = picture(size=(24, 24))
    for framing in (SQUEEZE, Framing(pixels=24, draft=True)):
        assert np.array_equal(decode(encoded(square, "PNG"), framing), np.asarray(square))


@pytest.mark.parametrize("resize", [None, 256])
def test_large_photos_are_decoded_at_a_fraction_of_their_size_and_stay_close(resize, monkeypatch):
    content = encoded(large(), quality=90)
    full = decode(content, Framing(pixels=224, resize=resize, draft=False)).astype(int)
    seen = []
    load = ImageFile.ImageFile.load

    def watched(image):
        seen.append(image.size)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    fast = decode(content, Framing(pixels=224, resize=resize)).astype(int)
    assert seen[0] == (1000, 750)
    assert np.abs(fast - full).mean() < 1


def test_drafts_keep_orientation_and_ink():
    block = exif(None, Orientation=6)
    for content in (encoded(large(800, 600), exif=block), encoded(large(800, 600).convert("CMYK"))):
        full = decode(content, Framing(pixels=32, draft=False)).astype(int)
        assert np.abs(decode(content, Framing(pixels=32)) - full).mean() < 1
    turned = np.asarray(large(800, 600).rotate(-90, expand=True).resize((32, 32))).astype(int)
    first = decode(encoded(large(800, 600), exif=block, quality=95), Framing(pixels=32))
    assert np.abs(first - turned).mean() < 4
    grey = decode(encoded(large(800, 600).convert("L")), Framing(pixels=32))
    assert np.array_equal(grey[:, :, 0], grey[:, :, 2])


def test_a_picture_of_the_caller_is_not_changed():
    content = encoded(large(800, 600))
    with Image.open(io.BytesIO(content)) as image:
        decode(image, Framing(pixels=16))
        assert image.size == (800, 600)
        assert image.tobytes() == Image.open(io.BytesIO(content)).tobytes()


def test_a_damaged_picture_of_the_caller_is_told():
    with Image.open(io.BytesIO(encoded(large(800, 600))[:5000])) as image:
        with pytest.raises(DataError, match=r"is damaged: image file is truncated"):
            decode(image, SQUEEZE)
        assert image.size == (800, 600)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2), (60_000, 2)])
@pytest.mark.parametrize("framing", [SQUEEZE, CUT, Framing(pixels=224, resize=256)])
def test_images_of_any_shape_make_a_square(size, framing):
    image = Image.new("RGB", size, (10, 20, 30))
    for raw in (encoded(image, "PNG"), np.asarray(image)):
        result = decode(raw, framing)
        assert result.shape == (framing.pixels, framing.pixels, 3)
        assert (result == (10, 20, 30)).all()


def test_the_square_of_a_long_image_is_from_its_middle():
    row = np.zeros((1, 5001, 3), dtype=np.uint8)
    row[:, 2500] = 200
    for raw in (encoded(Image.fromarray(row), "PNG"), row):
        result = decode(raw, Framing(pixels=24, resize=24, draft=False)).astype(int)
        assert result[:, 12].mean() > 150
        assert np.abs(result - result[:, ::-1]).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_becomes_rgb(kind, mode):
    content = encoded(picture(mode), kind)
    assert decode(content, SQUEEZE).shape == (24, 24, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty (0 bytes)"),
        (huge_png(60_000, 60_000), "has more than 178,956,970 pixels"),
        (encoded(picture(size=(200, 150)))[:2000], "is damaged: image file is truncated"),
        (encoded(picture(), "PNG")[:500], "is damaged: "),
        (b"<html>not found", "is a web page, not an image"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    for raw in (content, tmp_path / "a.jpg"):
        with pytest.raises(DataError) as caught:
            decode(raw, SQUEEZE)
        assert str(caught.value).startswith(reason)


def test_files_that_are_not_there_raise_what_the_system_says(tmp_path):
    for bands in (None, Bands((1,))):
        with pytest.raises(FileNotFoundError):
            decode(tmp_path / "nothing.jpg", SQUEEZE, bands)
        with pytest.raises(DataError, match="is a folder"):
            decode(tmp_path, SQUEEZE, bands)


def numbers(*shape, dtype=np.uint8, high=255):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def test_numbers_are_scaled_like_tensors():
    stored = numbers(60, 90, 3)
    planes = torch.from_numpy(stored.transpose(2, 0, 1)).float()[None]
    expected = SQUEEZE.frame(planes)[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)
    assert np.array_equal(decode(stored, SQUEEZE), expected.numpy())


def test_numbers_for_an_encoder_of_numbers_stay_floats():
    framing = Framing(pixels=8, channels=13, as_bytes=False)
    stored = numbers(8, 8, 13, dtype=np.uint16, high=10_000)
    result = decode(stored, framing)
    assert result.dtype == np.float32
    assert np.array_equal(result, stored)
    chosen = decode(stored, Framing(pixels=8, channels=2, as_bytes=False), Bands((13, 1)))
    assert np.array_equal(chosen, stored[:, :, [12, 0]])


def test_a_range_becomes_bytes():
    stored = np.array([[-50, 0, 50, 100, 150, np.nan, np.inf, -np.inf]] * 8, dtype=np.float32)
    result = decode(stored, Framing(pixels=8), Bands(low=-100, high=100))
    assert result[0, :, 0].tolist() == [64, 128, 191, 255, 255, 0, 255, 0]
    assert np.array_equal(result[:, :, 0], result[:, :, 2])


def test_what_is_no_number_becomes_0():
    stored = np.full((8, 8, 1), np.nan)
    stored[0, 0], stored[0, 1], stored[0, 2], stored[0, 3] = np.inf, -np.inf, 1e300, 7
    result = decode(stored, Framing(pixels=8, channels=1, as_bytes=False))
    assert result[0, :5, 0].tolist() == [0, 0, 0, 7, 0]


def test_one_band_makes_three_channels():
    stored = numbers(24, 24)
    for raw in (stored, stored[:, :, None]):
        assert np.array_equal(decode(raw, SQUEEZE), stored[:, :, None].repeat(3, axis=2))


@pytest.mark.parametrize(
    ("stored", "bands", "reason"),
    [
        (numbers(4, 4, 4), None, "has 4 bands where the encoder takes 3; name the bands to take"),
        (numbers(4, 4, 2), None, "has 2 bands where the encoder takes 3; name the bands to take"),
        (numbers(4, 4, 3), Bands((1, 2, 4)), "has 3 bands, so no band 4"),
        (numbers(4, 4, 3, dtype=np.uint16), None, "has uint16 numbers where bytes are wanted"),
        (numbers(4, 4, 3, dtype=np.float32), None, "has float32 numbers where bytes are wanted"),
        (numbers(4), None, "has shape (4,), not (height, width, bands)"),
        (numbers(0, 4, 3), None, "has shape (0, 4, 3), not (height, width, bands)"),
        (np.array([[None]], dtype=object), None, "has values of type object, not numbers"),
        (np.zeros((4, 4, 3), dtype=np.complex64), None, "has values of type complex64"),
    ],
)
def test_numbers_that_do_not_fit_are_told(stored, bands, reason):
    with pytest.raises(DataError) as caught:
        decode(stored, SQUEEZE, bands)
    assert str(caught.value).startswith(reason)


def test_rasters_are_decoded_by_their_bands(tmp_path):
    pytest.importorskip("rasterio")
    stored = numbers(5, 8, 8, dtype=np.uint16, high=10_000)
    path = tmp_path / "chip.tif"
    geotiff(path, stored, nodata=0)
    bands = Bands((4, 3, 2), low=0, high=10_000)
    result = decode(path, Framing(pixels=8), bands)
    expected = np.round(stored[[3, 2, 1]].transpose(1, 2, 0) * np.float32(0.0255))
    assert np.abs(result - expected).max() <= 1
    assert np.array_equal(decode(path.read_bytes(), Framing(pixels=8), bands), result)
    every = decode(path, Framing(pixels=8, channels=5, as_bytes=False))
    assert np.array_equal(every, stored.transpose(1, 2, 0))


def test_no_data_in_bytes_is_0(tmp_path):
    pytest.importorskip("rasterio")
    stored = numbers(4, 8, 8)
    stored[:, 0, 0] = 255
    geotiff(tmp_path / "chip.tif", stored, nodata=255)
    result = decode(tmp_path / "chip.tif", Framing(pixels=8), Bands((1, 2, 3)))
    assert result[0, 0].tolist() == [0, 0, 0]
    assert np.array_equal(result[1:], stored[:3].transpose(1, 2, 0)[1:])


def test_16_bits_of_a_png_file_are_scaled_by_their_range():
    pytest.importorskip("rasterio")
    deep = numbers(8, 8, 3, dtype=np.uint16, high=1000)
    result = decode(png_16(deep), Framing(pixels=8), Bands(low=0, high=1000))
    assert np.abs(result - deep * 0.255).max() <= 0.51


def test_a_photo_read_by_bands_is_upright():
    content = encoded(picture(), "WEBP", lossless=True, exif=exif(None, Orientation=6))
    result = decode(content, Framing(pixels=24), Bands((3, 2, 1)))
    plain = decode(content, Framing(pixels=24, draft=False))
    assert np.abs(result[:, :, ::-1].astype(int) - plain).max() <= 2


def test_threads_see_the_same():
    contents = [encoded(picture(size=(300, 200), seed=n), kind) for n, kind in enumerate(
        ["JPEG", "PNG", "WEBP", "TIFF", "GIF"]
    )]  # fmt: skip
    framing = Framing(pixels=32, resize=36)
    alone = [decode(content, framing).tobytes() for content in contents]
    found = []

    def work():
        for _ in range(10):
            found.append([decode(content, framing).tobytes() for content in contents] == alone)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def test_what_bicubic_overshoots_is_cut_and_does_not_wrap():
    stored = np.zeros((16, 16, 3), np.uint8)
    stored[:, 8:] = 255
    framing = Framing(pixels=24, resampling=Resampling.BICUBIC)
    row = decode(stored, framing)[0, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
