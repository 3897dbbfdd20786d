"""What is said about one photo: ranked places, the way to the true one, a map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geocsp.coords import great_circle_km
from geocsp.data.quarantine import Problem
from geocsp.errors import DataError
from geocsp.geolocate.approximate import Approximate
from geocsp.geolocate.countries import country_names
from geocsp.geolocate.gallery import Gallery
from geocsp.geolocate.ranking import Regions, Scores
from geocsp.images.pictures import quiet
from geocsp.images.single import Photo, open_photo
from geocsp.model import GeoModel


@dataclass(frozen=True, eq=False)
class Answer:
    """Where a photo may have been taken.

    Attributes:
        path: of the photo.
        photo: its place, if it says so, and notes.
        scores: of the places it was compared with.
        regions: the most likely ones.
        lonlat: ``(k, 2)`` float64 degrees of these.
    """

    path: Path
    photo: Photo
    scores: Scores
    regions: Regions
    lonlat: Tensor

    @property
    def error_km(self) -> float | None:
        """From the most likely place to where the photo says it was taken; None if it does not."""
        if not self.photo.placed:
            return None
        return float(great_circle_km(self.lonlat[:1], self.photo.lonlat[None])[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, for JSON."""
        return {
            "photo": str(self.path),
            "lonlat": self.photo.lonlat.tolist() if self.photo.placed else None,
            "error_km": None if self.error_km is None else round(self.error_km, 3),
            "notes": list(self.photo.notes),
            "places": self._places(),
        }

    def _places(self) -> list[dict[str, Any]]:
        columns = (self.lonlat.tolist(), self.regions.probabilities.tolist())
        scores, named = self.regions.scores.tolist(), country_names(self.lonlat)
        places = [
            {
                "rank": rank,
                "lon": round(lon, 6),
                "lat": round(lat, 6),
                "probability": probability,
                "score": score,
            }
            for rank, ((lon, lat), probability, score) in enumerate(
                zip(*columns, scores, strict=True), start=1
            )
        ]
        if named is None:
            return places
        return [place | {"country": name} for place, name in zip(places, named, strict=True)]


def open_photos(
    model: GeoModel, paths: list[Path], on_photos: Callable[[int, int], None] | None = None
) -> tuple[list[tuple[Path, Photo]], Tensor, list[Problem]]:
    """Photos with their embeddings by a model, one photo in memory at a time.

    Args:
        model: with an image encoder.
        paths: of the photos.
        on_photos: called with how many are done and how many there are.

    Returns:
        Those that can be used, without their pixels; ``(N, D)`` unit length embeddings; and what
        is wrong with the others.

    Raises:
        DataError: none can be used, or the model has no image encoder.
    """
    if model.image is None:
        raise DataError("the model takes image features only; join it with its image encoder")
    opened, embeddings, problems = [], [], []
    with quiet():
        for done, path in enumerate(paths):
            if on_photos:
                on_photos(done, len(paths))
            try:
                photo = open_photo(path, model.image)
            except DataError as error:
                problems.append(Problem(str(path), None, str(error).removeprefix(f"{path} ")))
                continue
            embeddings.append(model.embed_images(photo.pixels).float().cpu())
            opened.append((path, Photo(photo.pixels[:0], photo.lonlat, photo.time, photo.notes)))
    if not opened:
        raise DataError("; ".join(f"{problem.file} {problem.reason}" for problem in problems[:3]))
    return opened, torch.cat(embeddings), problems


def answers(
    opened: list[tuple[Path, Photo]],
    embeddings: Tensor,
    gallery: Gallery | Approximate,
    count: int,
    apart_km: float,
) -> Iterator[Answer]:
    """Where each photo may have been taken.

    Args:
        opened: N photos.
        embeddings: ``(N, D)``.
        gallery: places to compare with.
        count: answers to each photo, fewer if there are fewer so far apart.
        apart_km: smallest distance of two answers.
    """
    scored = gallery.scores(embeddings)
    for (path, photo), scores in zip(opened, scored, strict=True):
        regions = gallery.regions(scores, count, apart_km)
        yield Answer(path, photo, scores, regions, gallery.lonlat[regions.rows])
