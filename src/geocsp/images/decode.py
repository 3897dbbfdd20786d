"""From an image as it is stored to the square of numbers that an encoder wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from geocsp.data.images import Bands, Raw
from geocsp.errors import DataError
from geocsp.images.framing import Framing
from geocsp.images.pictures import open_picture, to_rgb

_MARGIN = 2
"""A JPEG file is decoded at a fraction of its size that is at least this times the target."""


def decode(raw: Raw, framing: Framing, bands: Bands | None = None) -> NDArray[Any]:
    """Decode one image into ``(pixels, pixels, channels)``: uint8, or float32.

    Follows the camera's orientation, takes the first frame of an animation, scales 16-bit numbers
    to bytes, drops transparency, and turns any colour model into RGB. With ``bands``, another number
    of channels than three, or numbers that are not bytes, files are read as rasters; pixels that
    are NaN become 0.

    Raises:
        DataError: the image cannot be used; the message says why.
        OSError: it cannot be read from where it is.
    """
    bands = bands or Bands()
    if isinstance(raw, np.ndarray):
        return _from_numbers(raw, framing, bands)
    if framing.channels == 3 and framing.as_bytes and bands == Bands():
        return _from_picture(raw, framing)
    from geocsp.data.chips import read_bands

    return _from_numbers(read_bands(raw), framing, bands)


def _from_picture(raw: bytes | Path | Image.Image, framing: Framing) -> NDArray[np.uint8]:
    with open_picture(raw) as picture:
        if framing.draft:
            height, width = framing.scaled(picture.height, picture.width)
            picture.draft("RGB", (_MARGIN * width, _MARGIN * height))
        rgb = to_rgb(ImageOps.exif_transpose(picture))
        height, width = framing.scaled(rgb.height, rgb.width)
        if rgb.size != (width, height):
            rgb = rgb.resize((width, height), framing.resampling.filter)
    left, top = (width - framing.pixels) // 2, (height - framing.pixels) // 2
    return np.asarray(rgb.crop((left, top, left + framing.pixels, top + framing.pixels)))


def _from_numbers(numbers: NDArray[Any], framing: Framing, bands: Bands) -> NDArray[Any]:
    if numbers.ndim == 2:
        numbers = numbers[:, :, None]
    if numbers.ndim != 3 or 0 in numbers.shape:
        raise DataError(f"has shape {numbers.shape}, not (height, width, bands)")
    if bands.numbers is not None:
        if max(bands.numbers) > numbers.shape[2]:
            raise DataError(f"has {numbers.shape[2]} bands, so no band {max(bands.numbers)}")
        numbers = numbers[:, :, np.array(bands.numbers) - 1]
    if numbers.shape[2] == 1 and framing.channels == 3:
        numbers = numbers.repeat(3, axis=2)
    if numbers.shape[2] != framing.channels:
        raise DataError(
            f"has {numbers.shape[2]} bands where the encoder takes {framing.channels}; name the "
            "bands to take"
        )
    values = np.nan_to_num(numbers.astype(np.float32))
    if bands.low is not None and bands.high is not None:
        values = ((values - bands.low) / (bands.high - bands.low)).clip(0, 1) * np.float32(255)
    elif framing.as_bytes and numbers.dtype != np.uint8:
        raise DataError(f"has {numbers.dtype} numbers where bytes are wanted; name their range")
    planes = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
    square = framing.frame(planes[None])[0].permute(1, 2, 0)
    if framing.as_bytes:
        square = square.round().clamp(0, 255).to(torch.uint8)  # bicubic may overshoot
    return square.contiguous().numpy()
