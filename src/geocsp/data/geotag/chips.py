"""GeoTIFF chips: where they lie, and all their bands as they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geocsp.errors import DataError, MissingExtraError
from geocsp.images.pictures import check_pixels, check_regular, open_picture, upright

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_PNG = (b"\x89PNG",)
_MOST_NUMBERS = 2**28
"""Pixels times bands that are read into memory at most."""
_MOST_BANDS = 2**12
"""GDAL takes minutes to find that a damaged file of 382 bytes does not hold 27137 bands."""


def is_raster(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a format that can hold a georeference."""
    return start.startswith(_TIFF + _JPEG_2000)


def centre(raw: bytes | Path, crs: str | None = None) -> tuple[float, float] | None:
    """Longitude and latitude of the middle of a raster, in degrees; None without a georeference.

    The middle is found in the raster's own coordinate reference system, so that a chip over the
    antimeridian is where it should be. Control points (GCPs) and rational polynomials (RPCs, at
    their mean height) count as well.

    Args:
        raw: a GeoTIFF or a JPEG 2000 file, or its content.
        crs: reference system of rasters that name none, such as "EPSG:32632".

    Raises:
        DataError: not a raster, too large, or its coordinates cannot be turned into degrees.
        OSError: the file cannot be read.
        MissingExtraError: rasterio is not installed.
    """
    with _opened(raw) as raster:
        check_pixels(raster.width, raster.height)
        found = _transformer(raster)
        if found is None:
            return None
        transformer, named = found
        with transformer:
            x, y = transformer.xy(raster.height / 2, raster.width / 2, offset="ul")
        return _degrees(x, y, named or crs)


def _transformer(raster: Any) -> tuple[Any, Any] | None:
    """What turns rows and columns into coordinates, and the reference system of these."""
    from rasterio import transform

    points, points_crs = raster.gcps
    if not raster.transform.is_identity:
        return transform.AffineTransformer(raster.transform), raster.crs
    if points:
        return transform.GCPTransformer(points), points_crs
    if raster.rpcs is not None:
        rpcs = raster.rpcs
        return transform.RPCTransformer(rpcs, rpc_height=rpcs.height_off), "EPSG:4326"
    return None


def read_bands(raw: bytes | Path | Image.Image) -> NDArray[Any]:
    """All bands of an image, ``(height, width, bands)``, numbers as they are stored.

    Where a file declares a "no data" value, its numbers become floats and those pixels NaN; bytes
    stay bytes, and those pixels become 0. TIFF, JPEG 2000 and PNG files are read with rasterio,
    other formats and open pictures with Pillow (upright, palettes as colours).

    Raises:
        DataError: the image is damaged, or too large to be one.
        OSError: the file cannot be read.
        MissingExtraError: rasterio is not installed.
    """
    if isinstance(raw, Image.Image) or not _start(raw).startswith(_TIFF + _JPEG_2000 + _PNG):
        return _picture_bands(raw)
    with _opened(raw) as raster:
        check_pixels(raster.width, raster.height)
        size = raster.count * raster.width * raster.height
        if size > _MOST_NUMBERS or raster.count > _MOST_BANDS:
            raise DataError(
                f"has {raster.count} bands of {raster.width} x {raster.height} pixels, too many "
                "for one image; cut it into chips"
            )
        numbers: NDArray[Any] = raster.read()
        return _without_nodata(numbers.transpose(1, 2, 0), raster.nodatavals)


def _without_nodata(numbers: NDArray[Any], nodata: tuple[float | None, ...]) -> NDArray[Any]:
    if all(value is None for value in nodata):
        return numbers
    missing = np.stack([numbers[:, :, band] == value for band, value in enumerate(nodata)], axis=2)
    if numbers.dtype == np.uint8:
        return np.where(missing, np.uint8(0), numbers)
    floats = numbers.astype(np.result_type(numbers.dtype, np.float32))
    floats[missing] = np.nan
    return floats


def _picture_bands(raw: bytes | Path | Image.Image) -> NDArray[Any]:
    with open_picture(raw) as picture:
        picture = upright(picture)
        if picture.mode == "1":
            picture = picture.convert("L")
        elif picture.mode in ("P", "PA", "CMYK", "YCbCr"):
            picture = picture.convert("RGB")
        numbers = np.array(picture)
    return numbers if numbers.ndim == 3 else numbers[:, :, None]


def _start(raw: bytes | Path) -> bytes:
    if isinstance(raw, bytes):
        return raw[:16]
    check_regular(raw)
    with raw.open("rb") as file:
        return file.read(16)


def _driver(start: bytes) -> str:
    """What GDAL may take a file for: some of its formats could name further files or addresses."""
    for driver, signatures in (("GTiff", _TIFF), ("JP2OpenJPEG", _JPEG_2000), ("PNG", _PNG)):
        if start.startswith(signatures):
            return driver
    raise DataError("is no TIFF, JPEG 2000 or PNG file")


@contextmanager
def _opened(raw: bytes | Path) -> Iterator[Any]:
    """A dataset of rasterio that looks at no file but this one."""
    driver = _driver(_start(raw))
    try:
        import rasterio
        from rasterio.io import MemoryFile
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo") from error
    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO"):
            if isinstance(raw, Path):
                with rasterio.open(raw, driver=driver) as raster:
                    yield raster
            else:
                with MemoryFile(raw) as file, file.open(driver=driver) as raster:
                    yield raster
    except DataError:
        raise
    except Exception as error:  # damaged content makes GDAL raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"is damaged: {_told(error)}") from error


def _degrees(x: float, y: float, crs: Any) -> tuple[float, float]:
    from rasterio.warp import transform

    if not crs:
        raise DataError("has coordinates but names no reference system for them; name the crs")
    try:
        (lon,), (lat,) = transform(crs, "EPSG:4326", [x], [y])
    except Exception as error:  # of several libraries
        raise DataError(
            f"has coordinates that are no longitude and latitude: {_told(error)}"
        ) from error
    if not (np.isfinite(lon) and np.isfinite(lat)):
        raise DataError(f"lies at {x:g}, {y:g}, which is outside of its reference system {crs}")
    return (lon + 180.0) % 360.0 - 180.0, lat


def _told(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())
