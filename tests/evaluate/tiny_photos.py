"""A table of pictures of a few pixels."""

import numpy as np
from PIL import Image


def photos(folder, count=40, split=True, label=True):
    """A table of tiny pictures whose colour is their class."""
    generator = np.random.default_rng(0)
    lines = ["image,lon,lat" + ",class" * label + ",split" * split]
    folder.mkdir(parents=True)
    for n in range(count):
        pixels = generator.integers(0, 60, (12, 12, 3), dtype=np.uint8)
        pixels[..., n % 3] += 150
        Image.fromarray(pixels).save(folder / f"{n}.png")
        lon, lat = generator.uniform((-170, -60), (170, 70))
        part = ("train", "train", "val", "test")[n // 3 % 4]
        lines.append(f"{n}.png,{lon:.4f},{lat:.4f}" + f",c{n % 3}" * label + f",{part}" * split)
    (folder / "photos.csv").write_text("\n".join(lines))
    return folder / "photos.csv"
