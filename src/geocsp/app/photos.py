"""Photos that are dropped on the page."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geocsp.app.answers import ClassProbability, PhotoAnswer, PlacedBy
from geocsp.app.places import likeliest
from geocsp.app.upload import Upload
from geocsp.app.where import Finder
from geocsp.classifier import GeoClassifier
from geocsp.images.single import open_photo
from geocsp.model import GeoModel
from geocsp.passes import in_passes

_CLASSES = 10


@dataclass(frozen=True, eq=False)
class Dropped:
    """A photo that is read and ready for the model.

    Attributes:
        name: what the browser calls it.
        pixels: ``(1, C, P, P)`` for the image encoder.
        lonlat: ``(2,)`` degrees, NaN where unknown.
        time: ``(2,)`` date and hour, None where unknown.
        placed_by: who says where it was taken.
        notes: what the user should know.
    """

    name: str
    pixels: Tensor
    lonlat: Tensor
    time: Tensor | None
    placed_by: PlacedBy | None
    notes: tuple[str, ...]


def read_photo(upload: Upload, model: GeoModel, max_pixels: int) -> Dropped:
    """Decode a photo and find its place and time; a place that the user gives goes first.

    Args:
        upload: the file and where the user says it was taken.
        model: whose image encoder takes the photo.
        max_pixels: larger ones are refused.

    Raises:
        DataError: it is no photo that can be used, or too large.
    """
    assert model.image is not None
    photo = open_photo(upload.content, model.image, max_pixels=max_pixels)
    lonlat, notes = photo.lonlat, photo.notes
    placed_by = PlacedBy.EXIF if photo.placed else None
    if upload.place is not None:
        lonlat, notes = torch.tensor(upload.place, dtype=torch.float64), ()
        placed_by = PlacedBy.GIVEN
    return Dropped(upload.name, photo.pixels, lonlat, photo.time, placed_by, notes)


def answer(
    photo: Dropped, model: GeoModel, classifier: GeoClassifier | None, finder: Finder
) -> PhotoAnswer:
    """What the model says of a photo.

    One at a time: on a CPU many together are no faster, and would change the last digits.
    """
    features = in_passes(model, model.features, photo.pixels)
    image = fused = None
    if classifier is not None:
        alone = classifier.image_probabilities(features)[0]
        image = likeliest(classifier.class_names, alone, _CLASSES)
        fused = _fused(classifier, features, photo)
    placed = photo.placed_by is not None
    lon, lat = photo.lonlat.tolist() if placed else (None, None)
    return PhotoAnswer(
        name=photo.name,
        lon=lon,
        lat=lat,
        placed_by=photo.placed_by,
        image=image,
        fused=fused,
        where=finder.where(model.embed_images(features)[0]),
        notes=list(photo.notes),
    )


def _fused(
    classifier: GeoClassifier, features: Tensor, photo: Dropped
) -> list[ClassProbability] | None:
    if photo.placed_by is None:
        return None
    known = classifier.prior.location.time.dim > 0 and photo.time is not None
    time = photo.time[None] if known and photo.time is not None else None
    probabilities = classifier.probabilities(features, photo.lonlat[None], time)[0]
    return likeliest(classifier.class_names, probabilities, _CLASSES)
