"""Small tables of images that the tests of the audit make."""

import numpy as np
import pyarrow as pa
from PIL import Image

from geocsp.data.images import Bands, FileImages
from geocsp.data.table import Categories, GeoTable


def places(count, seed=0):
    generator = np.random.default_rng(seed)
    return np.stack([generator.uniform(-180, 180, count), generator.uniform(-80, 80, count)], 1)


def table(lonlat, *, names=None, folder="", bands=None, problems=(), time=None, **columns):
    names = names or [f"{row}.png" for row in range(len(lonlat))]
    images = FileImages(pa.chunked_array([pa.array(names, pa.string())]), str(folder))
    images = FileImages(images.names, images.folder, bands or Bands())
    known = {name: Categories.of(values) for name, values in columns.items()}
    lonlat = np.asarray(lonlat, dtype=np.float64).reshape(-1, 2)
    return GeoTable(images, lonlat, time=time, problems=tuple(problems), **known)


def picture(seed, size=(96, 80)):
    """Something smooth with contrast, as photos have, another for every seed."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save_pictures(folder, count, first=0):
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        picture(first + number).save(folder / name)
    return names
