"""One look at an image: can it be read, what is it, and what tells it from others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geocsp.data.geotag.chips import is_raster, read_bands
from geocsp.data.images import Bands, Raw
from geocsp.errors import DataError, MissingExtraError
from geocsp.images.decode import decode
from geocsp.images.framing import Framing
from geocsp.images.pictures import check_regular, open_picture

CELLS = 8
"""A thumbnail has this many cells on a side."""
_SQUARE = Framing(pixels=64)
_DIGEST_BYTES = 16


@dataclass(frozen=True, eq=False)
class Look:
    """What is known of an image that can be read.

    Attributes:
        digest: BLAKE2b of the file's bytes, or of the numbers where there is no file.
        width: pixels as stored, before any turn that the camera asked for.
        height: pixels as stored.
        kind: format, or number and type of the bands.
        thumbnail: ``(192,)`` uint8, mean RGB of 8 x 8 cells; None if it is no RGB image.
    """

    digest: bytes
    width: int
    height: int
    kind: str
    thumbnail: NDArray[np.uint8] | None


def look_at(raw: Raw, bands: Bands) -> Look:
    """Read and decode an image.

    A raster that is not RGB is read with all its bands, and has no thumbnail.

    Raises:
        DataError: it cannot be used; the message says why.
        OSError: it cannot be read from where it is.
    """
    if isinstance(raw, Path):
        check_regular(raw)
    digest = _digest(raw)
    if isinstance(raw, np.ndarray):
        return _look_at_numbers(raw, bands, digest)
    if bands != Bands():
        return _look_at_numbers(read_bands(raw), bands, digest)
    try:
        return _look_at_picture(raw, digest)
    except DataError as error:
        if not _may_be_raster(raw):
            raise
        try:
            return _look_at_numbers(read_bands(raw), bands, digest)
        except MissingExtraError as missing:
            raise DataError(f"{error}; to read it as a raster: {missing}") from error


def _look_at_picture(raw: bytes | Path | Image.Image, digest: bytes) -> Look:
    with open_picture(raw) as picture:
        (width, height), kind = picture.size, picture.format or "in memory"
    return Look(digest, width, height, kind, _thumbnail(decode(raw, _SQUARE)))


def _look_at_numbers(numbers: NDArray[Any], bands: Bands, digest: bytes) -> Look:
    try:
        thumbnail = _thumbnail(decode(numbers, _SQUARE, bands))
    except DataError:
        if bands != Bands() or numbers.ndim not in (2, 3) or 0 in numbers.shape:
            raise
        thumbnail = None
    height, width = numbers.shape[:2]
    count = numbers.shape[2] if numbers.ndim == 3 else 1
    kind = f"{count} {'band' if count == 1 else 'bands'} of {numbers.dtype}"
    return Look(digest, width, height, kind, thumbnail)


def _thumbnail(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = square.shape[0] // CELLS
    cells = square.reshape(CELLS, step, CELLS, step, 3).mean(axis=(1, 3))
    return np.asarray(np.round(cells).astype(np.uint8).reshape(-1))


def _digest(raw: Raw) -> bytes:
    if isinstance(raw, Path):
        with raw.open("rb") as file:
            return hashlib.file_digest(file, _hash).digest()
    if isinstance(raw, bytes):
        return _hash(raw).digest()
    numbers = np.asarray(raw)
    digest = _hash(f"{numbers.shape} {numbers.dtype}".encode())
    digest.update(np.ascontiguousarray(numbers).tobytes())
    return digest.digest()


def _hash(content: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES)


def _may_be_raster(raw: Raw) -> bool:
    if isinstance(raw, bytes):
        return is_raster(raw[:16])
    if not isinstance(raw, Path):
        return False
    with raw.open("rb") as file:
        return is_raster(file.read(16))
