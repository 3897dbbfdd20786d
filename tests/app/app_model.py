"""A small classifier of places and pictures, made in seconds; run as a script it saves one.

python tests/app/app_model.py FOLDER
"""

import io
import sys
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

import geocsp
from geocsp.classifier import GeoClassifier
from geocsp.coords import sample_sphere
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoModel
from geocsp.train.finetune import train_image_head
from geocsp.train.linear import LinearSettings, fit_linear_prior

PIXELS = 64
CLASSES = {
    "sea ice": (225, 240, 250),
    "tundra": (150, 150, 120),
    "taiga": (30, 80, 60),
    "temperate forest": (70, 140, 60),
    "desert": (220, 180, 110),
    "savanna": (180, 160, 60),
    "rainforest": (10, 100, 20),
    "open ocean": (20, 60, 140),
}
"""Class names and the main colour of their pictures."""


def zone_of(lonlat):
    """A class for each place, by latitude and continent, as a caricature of the Earth."""
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    americas = (lon > -125) & (lon < -40)
    old_world = (lon > -15) & (lon < 145)
    zone = torch.full_like(lon, 7, dtype=torch.int64)
    land = americas | old_world
    zone[land & (lat.abs() <= 12)] = 6
    zone[land & (lat.abs() > 12)] = 5
    zone[old_world & (lat > 16) & (lat < 33) & (lon < 75)] = 4
    zone[land & (lat > 33)] = 3
    zone[land & (lat > 52)] = 2
    zone[land & (lat > 64)] = 1
    zone[lat.abs() > 75] = 0
    return zone


def picture(zone, seed, size=(96, 80)):
    """A picture of a class, its colour with noise in blotches."""
    generator = np.random.default_rng(seed)
    colour = np.array(list(CLASSES.values())[zone], float)
    blotches = generator.normal(0, 18, (size[1] // 8, size[0] // 8, 1)).repeat(8, 0).repeat(8, 1)
    pixels = colour + blotches + generator.normal(0, 8, (size[1], size[0], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def photo_bytes(zone, seed=1000, lonlat=None, kind="JPEG"):
    """A photo file of a class, with its place in EXIF if it is given."""
    shown = picture(zone, seed)
    exif = Image.Exif()
    if lonlat is not None:
        lon, lat = lonlat
        gps = exif.get_ifd(0x8825)
        gps[1], gps[2] = "N" if lat >= 0 else "S", (abs(lat), 0.0, 0.0)
        gps[3], gps[4] = "E" if lon >= 0 else "W", (abs(lon), 0.0, 0.0)
    stream = io.BytesIO()
    shown.save(stream, kind, exif=exif)
    return stream.getvalue()


@cache
def location(name="space2vec-grid", dim=128):
    torch.manual_seed(0)
    settings = {"frequencies": 10, "min_radius": 20.0} if name == "space2vec-grid" else {}
    return geocsp.create("location", name, dim=dim, **settings).eval()


@cache
def prior():
    generator = torch.Generator().manual_seed(0)
    lonlat = sample_sphere(4000, generator)
    return fit_linear_prior(
        location(), lonlat, zone_of(lonlat), list(CLASSES), LinearSettings(penalty=20.0)
    )


@cache
def geo_model():
    """A model whose pictures point to where their class is."""
    torch.manual_seed(1)
    encoder = geocsp.create("image", "efficientnet-lite0", pixels=PIXELS)
    model = GeoModel(location(), encoder.dim, image=encoder, temperature=0.05)
    return model.eval()


@cache
def classifier():
    model = geo_model()
    lonlat = _some_of_each(30)
    zones = zone_of(lonlat)
    pictures = [np.asarray(picture(int(zone), row)) for row, zone in enumerate(zones)]
    with torch.no_grad():
        pixels = model.image.transform(torch.from_numpy(np.stack(pictures)))
        features = model.features(pixels)
    model.standardise_by(features)
    _point(model, features, model.encode_location(lonlat).detach())
    head = train_image_head(features, zones, len(CLASSES), penalty=3.0)
    return GeoClassifier(model, prior(), head).eval()


def _some_of_each(count):
    lonlat = sample_sphere(20_000, torch.Generator().manual_seed(2))
    zones = zone_of(lonlat)
    return torch.cat([lonlat[zones == zone][:count] for zone in range(len(CLASSES))])


def _point(model, features, embeddings):
    """Set the projection by ridge regression from features to embeddings."""
    standard = (features - model.feature_mean) / model.feature_deviation
    x = F.pad(standard, (0, 1), value=1.0).double()
    gram = x.T @ x + 10.0 * torch.eye(x.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(gram, x.T @ embeddings.double()).float()
    with torch.no_grad():
        model.projection.weight.copy_(solution[:-1].T)
        model.projection.bias.copy_(solution[-1])


def linear_prior():
    return LinearPrior.from_config(prior().config()).eval()


if __name__ == "__main__":
    print(classifier().save_pretrained(sys.argv[1]))
