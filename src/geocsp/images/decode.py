"""From an image as it is stored to the square of numbers that an encoder wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from geocsp.data.images import Bands, Raw
from geocsp.errors import DataError
from geocsp.images.framing import Framing
from geocsp.images.pictures import open_picture, to_rgb, upright

_MARGIN = 2
"""A JPEG file is decoded at a fraction of its size that is at least this times the target."""

_LONGEST = 16
"""Where a square is cut from the middle, only so many squares side by side are scaled."""


def decode(raw: Raw, framing: Framing, bands: Bands | None = None) -> NDArray[Any]:
    """Decode one image into ``(pixels, pixels, channels)``: uint8, or float32.

    Follows the camera's orientation, takes the first frame of an animation, scales 16-bit numbers
    to bytes, drops transparency, and turns any colour model into RGB. With ``bands``, or where the
    framing asks for other channels or other numbers than bytes, files are read as rasters; pixels
    that are NaN or infinite become 0 (with a range, infinite ones its ends). Safe in threads; put
    :func:`geocsp.images.pictures.quiet` around them to hear no warnings.

    Raises:
        DataError: the image cannot be used; the message says why.
        OSError: it cannot be read from where it is.
        MissingExtraError: a raster without rasterio.
    """
    bands = bands or Bands()
    if isinstance(raw, np.ndarray):
        return _from_numbers(raw, framing, bands)
    if framing.channels == 3 and framing.as_bytes and bands == Bands():
        return _from_picture(raw, framing)
    from geocsp.data.geotag.chips import read_bands

    return _from_numbers(read_bands(raw), framing, bands)


def _from_picture(raw: bytes | Path | Image.Image, framing: Framing) -> NDArray[np.uint8]:
    with open_picture(raw) as picture:
        if framing.draft and picture is not raw:  # a caller's picture stays as it is
            height, width = framing.scaled(picture.height, picture.width)
            picture.draft("RGB", (_MARGIN * width, _MARGIN * height))
        rgb = to_rgb(upright(picture))
        top, left, height, width = _middle(rgb.height, rgb.width, framing)
        if (height, width) != (rgb.height, rgb.width):
            rgb = rgb.crop((left, top, left + width, top + height))
        height, width = framing.scaled(rgb.height, rgb.width)
        if rgb.size != (width, height):
            rgb = rgb.resize((width, height), framing.resampling.filter)
        top, left = framing.corner(height, width)
        square = rgb.crop((left, top, left + framing.pixels, top + framing.pixels))
        return np.array(square)


def _middle(height: int, width: int, framing: Framing) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part of an image that its square can come from.

    All of it, but for images so long that scaling them whole would fill the memory.
    """
    if framing.resize is None:
        return 0, 0, height, width
    longest = _LONGEST * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return top, left, height - 2 * top, width - 2 * left


def _from_numbers(numbers: NDArray[Any], framing: Framing, bands: Bands) -> NDArray[Any]:
    numbers = _channels(numbers, framing.channels, bands)
    top, left, height, width = _middle(numbers.shape[0], numbers.shape[1], framing)
    numbers = numbers[top : top + height, left : left + width]
    if framing.as_bytes and bands.low is None and numbers.dtype != np.uint8:
        raise DataError(f"has {numbers.dtype} numbers where bytes are wanted; name their range")
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and that is 0
        values = numbers.astype(np.float32)
    if bands.low is not None and bands.high is not None:
        values = ((values - bands.low) / (bands.high - bands.low)).clip(0, 1) * np.float32(255)
    values = np.nan_to_num(values, copy=False, nan=0, posinf=0, neginf=0)
    planes = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
    square = framing.frame(planes[None])[0].permute(1, 2, 0)
    if framing.as_bytes:
        square = square.round().clamp(0, 255).to(torch.uint8)  # bicubic may overshoot
    return square.contiguous().numpy()


def _channels(numbers: NDArray[Any], channels: int, bands: Bands) -> NDArray[Any]:
    """The bands to take, ``(height, width, channels)``; a single band makes three channels."""
    if numbers.ndim == 2:
        numbers = numbers[:, :, None]
    if numbers.ndim != 3 or 0 in numbers.shape:
        raise DataError(f"has shape {numbers.shape}, not (height, width, bands)")
    if numbers.dtype.kind not in "uif":
        raise DataError(f"has values of type {numbers.dtype}, not numbers")
    if bands.numbers is not None:
        if max(bands.numbers) > numbers.shape[2]:
            raise DataError(f"has {numbers.shape[2]} bands, so no band {max(bands.numbers)}")
        numbers = numbers[:, :, np.array(bands.numbers) - 1]
    if numbers.shape[2] == 1 and channels == 3:
        numbers = numbers.repeat(3, axis=2)
    if numbers.shape[2] != channels:
        raise DataError(
            f"has {numbers.shape[2]} bands where the encoder takes {channels}; name the bands to "
            "take"
        )
    return numbers
