"""Opening image files with Pillow, whatever is in them."""

from __future__ import annotations

import errno
import io
import logging
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from geocsp.errors import DataError, MissingExtraError

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "GIF", "AVIF", "BMP", "JPEG2000", "PPM", "QOI")
"""What is opened. Left out: what other programs would have to run (EPS), and what is told from
text or noise by little more than a guess (TGA, IM, SPIDER and the like)."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


MAX_PIXELS = 178_956_970
"""Larger images are refused. Pillow's own limit is the same, unless another package lifts it."""
_TOO_LARGE = f"has more than {MAX_PIXELS:,} pixels, which could fill the memory; cut it into chips"


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore what Pillow and rasterio warn of: a file that is unusable raises anyway.

    Filters of warnings belong to the whole process, so this goes around all the work, in the main
    thread, and never into the threads.
    """
    log = logging.getLogger("PIL")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\b")
            warnings.filterwarnings("ignore", message="Dataset has no geotransform")
            yield
    finally:
        log.setLevel(level)


@contextmanager
def open_picture(raw: bytes | Path | Image.Image) -> Iterator[Image.Image]:
    """Open an image without decoding its pixels; a picture that is open already stays open.

    Whatever goes wrong with the content, here or in the block, is raised as ``DataError``.

    Raises:
        DataError: the file is no image that can be used; the message says why.
        OSError: it cannot be read from where it is.
        MissingExtraError: raised in the block.
    """
    try:
        if isinstance(raw, Image.Image):
            yield raw
            return
        if isinstance(raw, Path):
            check_regular(raw)
        with Image.open(raw if isinstance(raw, Path) else io.BytesIO(raw), "r", _formats()) as file:
            check_pixels(*file.size)
            yield file
    except (DataError, MissingExtraError):
        raise
    except UnidentifiedImageError as error:
        raise DataError(why_no_picture(_start(raw))) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_TOO_LARGE) from error
    except MemoryError as error:
        raise DataError("needs more memory than there is") from error
    except Exception as error:  # damaged content makes Pillow raise nearly anything
        # It raises OSError without a number; EINVAL is a jump to before the start of the file.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise DataError(f"is damaged: {str(error) or type(error).__name__}") from error


def check_regular(path: Path) -> None:
    """Refuse what would block or makes no sense to read, such as pipes.

    Raises:
        DataError: the path is no regular file.
        OSError: there is nothing, or it cannot be reached.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise DataError(f"is {what}, not a file")


def check_pixels(width: int, height: int) -> None:
    """Refuse images that would fill the memory.

    Raises:
        DataError: the image has more than ``MAX_PIXELS``.
    """
    if width * height > MAX_PIXELS:
        raise DataError(_TOO_LARGE)


def upright(picture: Image.Image) -> Image.Image:
    """Decode and turn as the camera's orientation says; a damaged EXIF block turns nothing."""
    picture.load()  # before the orientation: Pillow turns TIFF files itself, then forgets it
    try:
        turn = _TURNS.get(picture.getexif().get(Base.Orientation, 1))
    except Exception:  # damaged EXIF makes Pillow raise nearly anything; the pixels are good
        turn = None
    return picture if turn is None else picture.transpose(turn)


def to_rgb(picture: Image.Image) -> Image.Image:
    """Decode into RGB: the first frame, 16-bit numbers scaled to bytes, transparency dropped.

    Raises:
        DataError: numbers that have no natural range.
    """
    picture.load()
    mode = picture.mode
    if mode == "F":
        raise DataError("has decimal numbers; name the bands and their range")
    if mode.startswith("I"):
        if mode == "I" and picture.format not in ("PNG", "PPM"):  # there, "I" is 16 bits too
            raise DataError("has 32-bit numbers; name the bands and their range")
        high_bytes = np.asarray(picture).astype(np.int64) // 256
        return Image.fromarray(high_bytes.astype(np.uint8)).convert("RGB")
    if mode == "LAB":
        raise DataError("has L*a*b* colours; save it as RGB")
    if mode in ("P", "PA") and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


@cache
def _formats() -> tuple[str, ...]:
    """The formats of the list that this installation opens.

    All at once: Pillow's loading of formats on demand is not safe among threads.
    """
    Image.init()
    if find_spec("pillow_heif"):
        import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


_SIGNATURES = (
    (b"<!doctype html", "is a web page, not an image"),
    (b"<html", "is a web page, not an image"),
    (b"<!--", "is a web page, not an image"),
    (b"<svg", "is a drawing (SVG), not an image"),
    (b"<?xml", "is XML, not an image"),
    (b"%pdf", "is a PDF document, not an image"),
    (b"%!ps", "is a PostScript document, not an image"),
    (b"pk\x03\x04", "is a zip archive, not an image"),
    (b"\x1f\x8b", "is a gzip archive, not an image"),
    (b"version https://git-lfs", "is a Git LFS pointer; git lfs pull brings the image"),
    (b"ii*\0", "is a TIFF that makes no RGB picture; name the bands to take, and their range"),
    (b"mm\0*", "is a TIFF that makes no RGB picture; name the bands to take, and their range"),
    (b"ii+\0", "is a TIFF that makes no RGB picture; name the bands to take, and their range"),
    (b"mm\0+", "is a TIFF that makes no RGB picture; name the bands to take, and their range"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def why_no_picture(start: bytes) -> str:
    """What a file is that Pillow does not know, judged by its first 64 bytes."""
    if not start:
        return "is empty (0 bytes)"
    if start[4:8] == b"ftyp":
        if start[8:12] not in _HEIF_BRANDS:
            return "is a video or an unknown kind of image"
        if "HEIF" not in _formats():
            return f"is a HEIC image; {MissingExtraError('pillow-heif', 'photos')}"
        return "is a damaged HEIC image"
    lower = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for signature, reason in _SIGNATURES:
        if lower.startswith(signature):
            return reason
    if not any(start):
        return "holds zeros alone, as after an interrupted copy"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return "is text, not an image"
    return "is no image of a known format, or its first bytes are damaged"


def _start(raw: bytes | Path | Image.Image) -> bytes:
    if isinstance(raw, Path):
        with raw.open("rb") as file:
            return file.read(64)
    return raw[:64] if isinstance(raw, bytes) else b""
