"""Places that images carry in themselves, for readers whose images are no files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from geocsp.data.geotag.chips import centre, is_raster
from geocsp.data.geotag.exif import Geotag, geotag
from geocsp.data.images import Raw
from geocsp.errors import DataError
from geocsp.images.pictures import open_picture


def look(raw: Raw, crs: str | None = None) -> Geotag:
    """Place and time in an image: its georeference, or else its EXIF or XMP.

    Args:
        raw: the image; numbers alone have no place.
        crs: reference system of rasters that name none.

    Returns:
        The tag; where the image cannot be read, one that says so.

    Raises:
        OSError: the image cannot be read from where it is.
        MissingExtraError: it is a raster, and rasterio is not installed.
    """
    if isinstance(raw, np.ndarray):
        return Geotag()
    try:
        if not isinstance(raw, Image.Image) and is_raster(_start(raw)):
            place = centre(raw, crs)
            if place is not None:
                return Geotag(*place)
        with open_picture(raw) as picture:
            return geotag(picture)
    except DataError as error:
        return Geotag(reason=str(error))


def _start(raw: bytes | Path) -> bytes:
    if isinstance(raw, bytes):
        return raw[:16]
    with raw.open("rb") as file:
        return file.read(16)
