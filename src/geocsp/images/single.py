"""One photo: its pixels as an encoder takes them, and the place and time in its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geocsp.data.assemble import Sieve
from geocsp.data.geotag.clock import times_at
from geocsp.data.geotag.exif import Geotag
from geocsp.data.geotag.inside import look
from geocsp.errors import DataError, MissingExtraError
from geocsp.images.base import ImageEncoder
from geocsp.images.decode import decode
from geocsp.images.framing import Framing
from geocsp.images.pictures import MAX_PIXELS, open_picture

_NO_PLACE = "no GPS coordinates in EXIF or XMP"


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo that an encoder can take.

    Attributes:
        pixels: ``(1, channels, pixels, pixels)`` float32, out of the encoder's transform, on the
            encoder's device.
        lonlat: ``(2,)`` float64 degrees; NaN where the photo does not say.
        time: ``(2,)`` float64 date and hour, NaN for a part that is unknown; None without a time.
        notes: what is peculiar about its metadata, such as why it has no place.
    """

    pixels: Tensor
    lonlat: Tensor
    time: Tensor | None
    notes: tuple[str, ...]

    @property
    def placed(self) -> bool:
        """Whether the photo says where it was taken."""
        return not bool(self.lonlat.isnan().any())


def open_photo(
    source: Path | bytes, encoder: ImageEncoder, *, max_pixels: int = MAX_PIXELS
) -> Photo:
    """Open a photo as :func:`geocsp.compute_features` would, so that its pixels are the same.

    So are its features in float32; by default that function computes in bfloat16 where the device
    has it.

    The pixels are turned as the camera's orientation says. Place and time come from the photo
    alone, a GeoTIFF's georeference or EXIF or XMP, not from files beside it. Safe in threads; put
    :func:`geocsp.images.pictures.quiet` around them to hear no warnings about odd files.

    Args:
        source: path or content of an image file of any format that Pillow or rasterio opens.
        encoder: whose square of pixels to make.
        max_pixels: refuse larger images before any pixel is decoded. Rasters that only rasterio
            opens are refused above ``MAX_PIXELS`` whatever this says.

    Raises:
        DataError: it is no image that can be used; the message names the file and says why.
        MissingExtraError: it is a raster, and rasterio is not installed.
    """
    name = str(source) if isinstance(source, Path) else "the photo"
    try:
        _check_size(source, encoder.framing, max_pixels)
        square = decode(source, encoder.framing)
        tag = _look(source)
    except DataError as error:
        raise DataError(f"{name} {error}") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from error
    lonlat, notes = _place(tag)
    time = times_at([tag.moment], lonlat[:1])
    pixels = encoder.transform(torch.from_numpy(square)[None].to(encoder.mean.device))
    return Photo(
        pixels.contiguous(memory_format=torch.channels_last),  # as in extraction, bit for bit
        torch.from_numpy(lonlat),
        None if time is None else torch.from_numpy(time[0]),
        notes,
    )


def _check_size(source: Path | bytes, framing: Framing, max_pixels: int) -> None:
    try:
        with open_picture(source) as picture:
            if picture.width * picture.height > max_pixels:
                raise _TooLargeError(
                    f"has {picture.width} x {picture.height} pixels, more than the "
                    f"{max_pixels:,} allowed; make it smaller"
                )
    except _TooLargeError:
        raise
    except DataError:
        if framing.channels == 3 and framing.as_bytes:
            raise  # for other encoders, rasterio may open what Pillow does not


class _TooLargeError(DataError):
    """More pixels than allowed."""


def _look(source: Path | bytes) -> Geotag:
    try:
        return look(source)
    except MissingExtraError as error:
        return Geotag(reason=f"a georeference that it may have is unknown: {error}")


def _place(tag: Geotag) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], tuple[str, ...]]:
    """Longitude and latitude as a table would have them, ``(2,)``, and what is to be said."""
    reasons = {} if tag.placed else {0: tag.reason or _NO_PLACE}
    sieve = Sieve()
    found = np.array([[tag.lon, tag.lat]], dtype=np.float64)
    places, kept = sieve.sift(found, None, lambda row: ("", None), reasons)
    notes = (*(problem.reason for problem in sieve.problems), *sieve.notes)
    return (places[0] if kept.all() else np.full(2, np.nan)), notes
