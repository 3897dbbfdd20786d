"""Places all over the Earth with their embeddings, and what is found among them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.app.answers import ClassProbability, SimilarPlace
from geocsp.coords import EARTH_RADIUS_KM, unit_vectors
from geocsp.errors import DataError
from geocsp.evaluate.geolocation import grid_places
from geocsp.maps.natural_earth import Detail, on_land
from geocsp.models import LocationModel

APART_KM = 500.0
"""Answers are at least so far from each other."""
DIGITS = 6
_PAIRED = 400
"""Places whose similarity to each other tells what is usual."""


class Gallery:
    """Places in the middle of cells of equal area, with their embeddings.

    Args:
        model: what embeds them.
        spacing_km: between them.

    Raises:
        DataError: the spacing is not above 0, or so wide that no place is on land.

    Attributes:
        lonlat: ``(M, 2)`` float64 degrees.
        embeddings: ``(M, D)`` of unit length.
    """

    def __init__(self, model: LocationModel, spacing_km: float) -> None:
        self._model = model
        self.lonlat = grid_places(spacing_km)
        self.embeddings = self.unit(self.lonlat)
        land = torch.from_numpy(on_land(self.lonlat.numpy(), Detail.LOW))
        if not bool(land.any()):
            raise DataError(f"no place on land is on a grid of {spacing_km:g} km; make it finer")
        self._land = self.lonlat[land]
        self._land_vectors = unit_vectors(self._land)
        self._land_embeddings = self.embeddings[land]

    def unit(self, lonlat: Tensor) -> Tensor:
        """Embeddings of unit length, ``(N, D)``."""
        return F.normalize(self._model.embed(lonlat), dim=-1)

    def usual(self) -> float:
        """Median similarity of two places on land."""
        known = self._land_embeddings
        some = known[:: max(1, len(known) // _PAIRED)]
        return float((some @ some.T).median())

    def like(self, query: Tensor, place: tuple[float, float], count: int) -> list[SimilarPlace]:
        """Places on land that are most like one, well apart from it and from each other.

        Args:
            query: ``(D,)`` embedding of the one place, of unit length.
            place: where it is, degrees.
            count: so many at most.
        """
        scores = (self._land_embeddings @ query).clamp(-1.0, 1.0)
        scores[self._near(unit_vectors(torch.tensor([place], dtype=torch.float64))[0])] = -torch.inf
        found: list[SimilarPlace] = []
        while len(found) < count:
            best = int(scores.argmax())
            if scores[best] == -torch.inf:
                break
            lon, lat = self._land[best].tolist()
            similarity = round(float(scores[best]), DIGITS)
            found.append(SimilarPlace(lon=lon, lat=lat, similarity=similarity))
            scores[self._near(self._land_vectors[best])] = -torch.inf
        return found

    def _near(self, vector: Tensor) -> Tensor:
        """Which places on land are less than 500 km from the one of this unit vector."""
        return self._land_vectors @ vector > math.cos(APART_KM / EARTH_RADIUS_KM)


def likeliest(names: Sequence[str], probabilities: Tensor, count: int) -> list[ClassProbability]:
    """The most likely classes, best first; of equals, the first.

    Args:
        names: of the Q classes.
        probabilities: ``(Q,)``.
        count: so many at most.
    """
    order = probabilities.argsort(descending=True, stable=True)[:count]
    return [
        ClassProbability(name=names[i], probability=round(float(probabilities[i]), DIGITS))
        for i in order.tolist()
    ]
