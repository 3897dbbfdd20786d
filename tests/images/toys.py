"""A tiny encoder and a folder of tiny photos; importable by worker processes too."""

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from geocsp.data.assemble import assemble
from geocsp.data.images import FileImages
from geocsp.data.table import Categories
from geocsp.images import ImageEncoder
from geocsp.images.framing import Framing


class ToyEncoder(ImageEncoder):
    dim = 5

    def __init__(self, seed=0):
        super().__init__()
        self.framing = Framing(pixels=8)
        torch.manual_seed(seed)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, self.dim, 6)
        )
        self.register_buffer("mean", torch.full((3,), 100.0))
        self.register_buffer("deviation", torch.full((3,), 60.0))
        self.calls = 0
        self.eval()

    def forward(self, image):
        self.calls += 1
        return self.layers(image)[:, :, 0, 0]


def toy_photos(folder, count, broken=()):
    """A table of ``count`` photos, those in ``broken`` cut short."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:03d}.png"
        pixels = generator.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        if number in broken:
            path.write_bytes(path.read_bytes()[:60])
    return toy_table(folder, count)


def toy_table(folder, count):
    """The table of photos that are there already."""
    names = [f"{number:03d}.png" for number in range(count)]
    lonlat = np.stack([np.linspace(-170, 170, count), np.linspace(-80, 70, count)], 1)
    label = Categories.of([f"class {number % 3}" for number in range(count)])
    images = FileImages(pa.chunked_array([names]), folder=str(folder))
    return assemble(images, lonlat, label=label)
