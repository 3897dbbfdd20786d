import io
import logging
import os
import struct
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hostile import encoded, exif, huge_png, picture, png_16
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from geocsp.errors import DataError, MissingExtraError
from geocsp.images import pictures
from geocsp.images.pictures import (
    check_pixels,
    check_regular,
    open_picture,
    quiet,
    to_rgb,
    upright,
    why_no_picture,
)

KINDS = ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "PPM", "AVIF", "QOI"]


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield


def reason_of(raw, use=to_rgb):
    with pytest.raises(DataError) as caught, open_picture(raw) as image:
        use(image)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_usual_formats_are_opened(tmp_path, kind):
    if (
        kind == "AVIF"
        and "AVIF" not in Image.SAVE
        and not Image.init()
        and "AVIF" not in Image.SAVE
    ):
        pytest.skip("this Pillow has no AVIF")
    content = encoded(picture(), kind)
    (tmp_path / "any name").write_bytes(content)
    for raw in (content, tmp_path / "any name"):
        with open_picture(raw) as image:
            assert image.size == (48, 32)
            assert to_rgb(image).mode == "RGB"


def test_heic_is_opened_where_its_extra_is_installed():
    pytest.importorskip("pillow_heif").register_heif_opener()
    with open_picture(encoded(picture(size=(64, 64)), "HEIF", quality=95)) as image:
        difference = np.asarray(to_rgb(image)).astype(int) - np.asarray(picture(size=(64, 64)))
    assert np.abs(difference).mean() < 6


def test_heic_without_its_extra_says_what_to_install(monkeypatch):
    header = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic")
    formats = tuple(name for name in pictures._formats() if name != "HEIF")
    monkeypatch.setattr(pictures, "_formats", lambda: formats)
    expected = (
        "is a HEIC image; pillow-heif is not installed; pip install 'geocsp[photos]' brings it"
    )
    assert reason_of(header) == expected


def test_a_picture_that_is_open_stays_open():
    with Image.open(io.BytesIO(encoded(picture()))) as image:
        with open_picture(image) as same:
            assert same is image
        assert image.fp is not None
        assert to_rgb(image).size == (48, 32)
    memory = picture()
    with open_picture(memory) as same:
        assert same is memory
    assert memory.getpixel((0, 0)) is not None


def test_a_file_is_closed(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(picture()))
    for raw in (tmp_path / "a.jpg", encoded(picture())):
        with open_picture(raw) as image:
            file = image.fp
        assert file.closed or image.fp is None


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"", "is empty (0 bytes)"),
        (bytes(64), "holds zeros alone, as after an interrupted copy"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html>", "is a web page, not an image"),
        (b"<HTML>", "is a web page, not an image"),
        (b"<?xml version", "is XML, not an image"),
        (b"<svg xmlns", "is a drawing (SVG), not an image"),
        (b"%PDF-1.7", "is a PDF document, not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "is a PostScript document, not an image"),
        (b"PK\x03\x04", "is a zip archive, not an image"),
        (b"\x1f\x8b\x08", "is a gzip archive, not an image"),
        (
            b"version https://git-lfs.github.com",
            "is a Git LFS pointer; git lfs pull brings the image",
        ),
        (b'{"error": 404}', "is text, not an image"),
        (b"\0\0\0\x18ftypmp42", "is a video or an unknown kind of image"),
        (b"\x93NUMPY\x01", "is no image of a known format, or its first bytes are damaged"),
    ],
)
def test_other_content_is_told(tmp_path, start, reason):
    assert why_no_picture(start) == reason
    assert reason_of(start) == reason
    (tmp_path / "a.jpg").write_bytes(start)
    assert reason_of(tmp_path / "a.jpg") == reason


def test_a_tiff_of_many_bands_says_to_name_them():
    header = struct.pack("<2sHLH", b"II", 42, 8, 0)
    expected = "is a TIFF that makes no RGB picture; name the bands to take, and their range"
    assert reason_of(header + bytes(4)) == expected


@pytest.mark.parametrize(
    ("kind", "keep"),
    [(kind, keep) for kind in KINDS for keep in (0.1, 0.5, 0.8) if kind not in ("AVIF", "QOI")],
)
def test_truncated_images_are_told(kind, keep):
    content = encoded(picture(size=(200, 150)), kind)
    reason = reason_of(content[: int(len(content) * keep)])
    assert reason.startswith("is damaged") or "damaged" in reason
    assert "\n" not in reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "PPM"])
def test_images_with_any_part_changed_never_raise_anything_else(kind):
    content = encoded(picture(size=(40, 30)), kind, exif=exif(None, Orientation=6))
    random = np.random.default_rng(0)
    for _ in range(80):
        changed = bytearray(content)
        for place in random.integers(0, len(content), 4):
            changed[place] = random.integers(256)
        with suppress(DataError), open_picture(bytes(changed)) as image:
            to_rgb(upright(image))


def test_decompression_bombs_are_told_at_once():
    expected = "has more than 178,956,970 pixels, which could fill the memory; cut it into chips"
    assert reason_of(huge_png(60_000, 60_000)) == expected
    check_pixels(10_000, 10_000)
    with pytest.raises(DataError, match="has more than 178,956,970 pixels"):
        check_pixels(60_000, 60_000)


def test_the_limit_holds_where_another_package_lifts_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert reason_of(huge_png(60_000, 60_000)).startswith("has more than 178,956,970 pixels")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's is the stricter one
    assert reason_of(encoded(picture())).startswith("has more than")


def test_a_warning_that_was_made_an_error_is_told(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # fewer than 1536, the double more
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason_of(encoded(picture())).startswith("has more than")


def test_what_is_no_file_is_told_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason_of(tmp_path / "pipe.jpg") == "is a pipe, socket or device, not a file"
    assert reason_of(tmp_path) == "is a folder, not a file"
    with pytest.raises(DataError, match="is a pipe, socket or device"):
        check_regular(Path(os.devnull))


def test_files_that_cannot_be_read_raise_what_the_system_says(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError), open_picture(tmp_path / "nothing.jpg"):
        pass
    (tmp_path / "a.jpg").write_bytes(encoded(picture()))

    def gone(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(JpegImageFile, "load", gone)
    with (
        pytest.raises(OSError, match="Input/output error"),
        open_picture(tmp_path / "a.jpg") as image,
    ):
        image.load()


def test_what_the_block_raises_on_purpose_is_kept():
    for error in (DataError("no"), MissingExtraError("a", "b"), PermissionError(13, "locked")):
        with pytest.raises(type(error)) as caught, open_picture(picture()):
            raise error
        assert caught.value is error
    with pytest.raises(DataError, match="needs more memory than there is"), open_picture(picture()):
        raise MemoryError
    with pytest.raises(KeyboardInterrupt), open_picture(picture()):
        raise KeyboardInterrupt


def test_no_program_is_run_for_an_image(monkeypatch):
    assert "EPS" not in pictures._formats()
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert reason_of(script) == "is a PostScript document, not an image"


CORNERS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: lambda a: np.rot90(a, 1),
}
"""What makes the stored pixels upright (TIFF 6.0, Orientation)."""


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(kind, orientation):
    options = {"lossless": True} if kind == "WEBP" else {}
    block = exif(None, Orientation=orientation)
    content = encoded(Image.fromarray(CORNERS), kind, exif=block, **options)
    with open_picture(content) as image:
        assert np.array_equal(np.asarray(to_rgb(upright(image))), TURNS[orientation](CORNERS))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_jpeg_is_turned_upright(orientation):
    block = exif(None, Orientation=orientation)
    blocks = CORNERS.repeat(16, axis=0).repeat(16, axis=1)
    content = encoded(Image.fromarray(blocks), exif=block, quality=100, subsampling=0)
    with open_picture(content) as image:
        found = np.asarray(to_rgb(upright(image))).astype(int)
    assert np.abs(found[8::16, 8::16] - TURNS[orientation](CORNERS)).max() <= 3


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    content = encoded(picture(), "PNG", exif=exif(None, Orientation=orientation))
    with open_picture(content) as image:
        assert upright(image).tobytes() == picture().tobytes()


def test_damaged_exif_does_not_keep_a_photo_from_being_used():
    for block in (b"Exif\0\0" + b"\xff" * 200, b"Exif\0\0II*\0" + bytes(range(64)), b"garbage"):
        with open_picture(encoded(picture(), "WEBP", lossless=True, exif=block)) as image:
            assert upright(image).tobytes() == picture().tobytes()


def rgb_of(raw):
    with open_picture(raw) as image:
        return np.asarray(to_rgb(image))


def test_cmyk_is_turned_into_rgb():
    flat = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert np.abs(rgb_of(encoded(flat, quality=100))[8, 8].astype(int) - (0, 255, 255)).max() <= 2
    assert rgb_of(encoded(flat, "TIFF"))[8, 8].tolist() == [0, 255, 255]


def test_the_cmyk_that_adobe_writes_upside_down_is_turned_into_rgb():
    flat = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    content = encoded(flat, quality=100)
    assert b"Adobe" in content  # what Pillow writes has Adobe's marker, and its numbers upside down
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "CMYK"
        assert np.abs(np.asarray(image)[8, 8].astype(int) - (255, 0, 0, 0)).max() <= 2


def test_ycck_is_turned_into_rgb():
    # Where Adobe's marker says 2, the inks (upside down) are the inverse of what luma and chroma
    # make: Y = 90, Cb = 140, Cr = 110 make R = 90 - 1.402 * 18 and so on (JFIF), and cyan is R.
    luma, blue, red = 90, 140, 110
    stored = Image.new("CMYK", (16, 16), (255 - luma, 255 - blue, 255 - red, 0))
    content = bytearray(encoded(stored, quality=100))
    content[content.index(b"Adobe") + 11] = 2
    inks = (
        luma + 1.402 * (red - 128),
        luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
        luma + 1.772 * (blue - 128),
    )
    found = rgb_of(bytes(content))[8, 8].astype(int)
    assert np.abs(found - (255 - np.array(inks))).max() <= 3


DEEP = (np.arange(96, dtype=np.uint16).reshape(4, 8, 3) * 683).astype(np.uint16)


def test_16_bits_become_their_high_bytes():
    assert np.array_equal(rgb_of(png_16(DEEP)), DEEP // 256)
    grey = DEEP[:, :, 0]
    for kind in ("PNG", "TIFF", "JPEG2000", "PPM"):
        found = rgb_of(encoded(Image.fromarray(grey), kind))
        assert np.array_equal(found, (grey // 256)[:, :, None].repeat(3, axis=2))
    dark = np.full((4, 4), 200, dtype=np.uint16)  # no guess that these were bytes
    assert rgb_of(encoded(Image.fromarray(dark), "PNG")).max() == 0


def test_numbers_without_a_range_are_told():
    whole = Image.fromarray(np.full((4, 4), 70_000, dtype=np.int32))
    decimal = Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32))
    for image, words in ((whole, "32-bit"), (decimal, "decimal")):
        expected = f"has {words} numbers; name the bands and their range"
        assert reason_of(encoded(image, "TIFF")) == expected
        assert reason_of(image) == expected


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_is_converted_as_pillow_does(mode):
    image = picture(mode)
    assert np.array_equal(rgb_of(encoded(image, "PNG")), np.asarray(image.convert("RGB")))
    assert np.array_equal(rgb_of(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "RGBX", "RGBa", "PA"])
def test_modes_in_memory_are_converted(mode):
    image = picture("RGBA").convert(mode) if mode in ("RGBa", "PA") else picture().convert(mode)
    assert to_rgb(image).mode == "RGB"


def test_lab_is_told():
    assert reason_of(Image.new("LAB", (4, 4))) == "has L*a*b* colours; save it as RGB"


def test_transparency_is_dropped():
    clear = picture()
    clear.putalpha(0)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        assert np.array_equal(rgb_of(encoded(clear, kind, **options)), np.asarray(picture()))
    palette = picture("P")
    expected = np.asarray(palette.convert("RGB"))
    for transparency in (3, bytes(range(200))):
        content = encoded(palette, "PNG", transparency=transparency)
        assert np.array_equal(rgb_of(content), expected)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 3
    assert (rgb_of(content) == (255, 0, 0)).all()


def test_a_photo_of_several_pictures_is_its_first():
    frames = [picture(seed=0), picture(seed=1)]
    content = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95)
    assert np.abs(rgb_of(content).astype(int) - np.asarray(frames[0])).mean() < 8


def test_quiet_hears_no_warnings_and_no_log_and_ends(caplog):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with quiet():
            with open_picture(
                encoded(picture(), exif=b"Exif\0\0II*\0" + bytes(range(64)))
            ) as image:
                image.getexif()
            warnings.warn_explicit("corrupt", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
            warnings.warn_explicit("mine", UserWarning, "x.py", 1, module="PILLAR")
        warnings.warn_explicit("corrupt", UserWarning, "x.py", 1, module="PIL.Image")
    assert [str(warning.message) for warning in heard] == ["mine", "corrupt"]
    level = logging.getLogger("PIL").level
    with pytest.raises(KeyError), quiet():
        raise KeyError
    assert logging.getLogger("PIL").level == level


def test_threads_see_the_same_from_the_first_image_on():
    contents = [encoded(picture(), kind, exif=exif(None, Orientation=6)) for kind in KINDS[:4]]
    alone = [hash(rgb_of(content).tobytes()) for content in contents]
    pictures._formats.cache_clear()
    found = [[] for _ in range(8)]

    def work(place):
        for _ in range(10):
            found[place].append([hash(rgb_of(content).tobytes()) for content in contents])

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(hashes == [alone] * 10 for hashes in found)
