"""Opening image files with Pillow, whatever is in them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from geocsp.errors import DataError, MissingExtraError


@contextmanager
def open_picture(raw: bytes | Path | Image.Image) -> Iterator[Image.Image]:
    """Open an image without decoding its pixels; a picture that is open already stays open.

    Raises:
        DataError: the file is no image that can be used; the message says why.
        OSError: it cannot be read from where it is.
    """
    if isinstance(raw, Image.Image):
        yield raw
        return
    _know_heif()
    try:
        with Image.open(raw if isinstance(raw, Path) else io.BytesIO(raw)) as picture:
            yield picture
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(f"has more than {limit:,} pixels, which could fill the memory") from error
    except UnidentifiedImageError as error:
        raise DataError(_why_unidentified(raw)) from error
    except (SyntaxError, ValueError, TypeError, EOFError, KeyError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"is damaged: {str(error) or type(error).__name__}") from error
    except (MemoryError, OverflowError, ArithmeticError, RuntimeError, AttributeError) as error:
        raise DataError(f"is damaged: {str(error) or type(error).__name__}") from error
    except OSError as error:
        if error.errno is None:  # Pillow's way to say that the content is wrong
            raise DataError(f"is damaged: {error}") from error
        raise


def to_rgb(picture: Image.Image) -> Image.Image:
    """Decode into RGB: the first frame, 16-bit numbers scaled to bytes, transparency dropped.

    Raises:
        DataError: numbers that have no natural range.
    """
    if picture.mode.startswith("I"):
        numbers = np.asarray(picture).astype(np.int64)
        if numbers.min() < 0 or numbers.max() > 65_535:
            raise DataError("has 32-bit numbers; name the bands and their range")
        picture = Image.fromarray(
            (numbers // 256 if numbers.max() > 255 else numbers).astype(np.uint8)
        )
    if picture.mode == "F":
        raise DataError("has decimal numbers; name the bands and their range")
    if picture.mode in ("P", "PA") and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


@cache
def _know_heif() -> None:
    if find_spec("pillow_heif"):
        import_module("pillow_heif").register_heif_opener()


_SIGNATURES = (
    (b"<!doctype html", "is a web page, not an image"),
    (b"<html", "is a web page, not an image"),
    (b"<?xml", "is XML, not an image"),
    (b"<svg", "is a drawing (SVG), not an image"),
    (b"%pdf", "is a PDF document, not an image"),
    (b"pk\x03\x04", "is a zip archive, not an image"),
    (b"version https://git-lfs", "is a Git LFS pointer; git lfs pull brings the image"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def _why_unidentified(raw: bytes | Path) -> str:
    if isinstance(raw, Path):
        with raw.open("rb") as file:
            start = file.read(64)
    else:
        start = raw[:64]
    if not start:
        return "is empty (0 bytes)"
    if start[4:8] == b"ftyp":
        if start[8:12] not in _HEIF_BRANDS:
            return "is a video or an unknown kind of image"
        if not find_spec("pillow_heif"):
            return f"is a HEIC image; {MissingExtraError('pillow-heif', 'photos')}"
        return "is a damaged HEIC image"
    lower = start.lstrip().lower()
    for signature, reason in _SIGNATURES:
        if lower.startswith(signature):
            return reason
    if not any(start):
        return "holds zeros alone, as after an interrupted copy"
    return "is no image of a known format, or its first bytes are damaged"
