"""Places that may be where an image was taken, with their embeddings on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from geocsp.checks import check_finite_rows
from geocsp.coords import check_lonlat, unit_vectors
from geocsp.errors import DataError
from geocsp.evaluate.geolocation import Guesses, best_places, grid_places
from geocsp.geolocate.ranking import Regions, Scores, guesses, regions
from geocsp.geolocate.store import OnPlaces, PlaceStore
from geocsp.maps.natural_earth import on_land
from geocsp.model import GeoModel

_SCORES = 2**24
"""Scores in memory at once: 64 MiB in float32."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Places with their embeddings by one model, which live in the user's cache folder.

    Making one embeds the places, once for each location encoder and set of places; after that it
    takes as long as opening a few files. The search is exact, in float32 on the CPU.

    Attributes:
        lonlat: ``(M, 2)`` float64 degrees.
        store: the embeddings.
        scale: inverse temperature of the model.
    """

    lonlat: Tensor
    store: PlaceStore
    scale: float

    @classmethod
    def of(cls, model: GeoModel, lonlat: Tensor, *, on_places: OnPlaces | None = None) -> Gallery:
        """A gallery of given places.

        Args:
            model: images and places in one space.
            lonlat: ``(M, 2)`` degrees; give every place once.
            on_places: called with how many places are embedded and how many there are.

        Raises:
            DataError: no place, embeddings that are not finite, or a cache that cannot be written.
            ValueError: a place is missing or out of range.
        """
        check_lonlat(lonlat)
        if len(lonlat) == 0:
            raise DataError("a gallery needs at least one place")
        places = lonlat.detach().cpu().double()
        store = PlaceStore.of(model, places)
        store.fill(model, places, on_places)
        return cls(places, store, float(model.scale().detach()))

    @classmethod
    def grid(
        cls,
        model: GeoModel,
        spacing_km: float = 50.0,
        *,
        only_land: bool = False,
        on_places: OnPlaces | None = None,
    ) -> Gallery:
        """The centres of cells of equal area over the Earth, about 510 million / spacing_km^2.

        Args:
            model: images and places in one space.
            spacing_km: largest width of a cell as a square.
            only_land: leave out cells whose centre is at sea, by Natural Earth at 1:50 million,
                which has no small islands.
            on_places: as in :meth:`of`.

        Raises:
            DataError: a spacing out of range, or as :meth:`of`.
        """
        lonlat = grid_places(spacing_km)
        if only_land:
            lonlat = lonlat[torch.from_numpy(on_land(lonlat.numpy()))]
        return cls.of(model, lonlat, on_places=on_places)

    def __len__(self) -> int:
        return len(self.lonlat)

    def search(self, queries: Tensor, count: int = 1, *, apart_km: float = 0.0) -> Guesses:
        """The most likely places of images, as ``geolocate_gallery`` of the evaluation has them.

        Args:
            queries: ``(N, D)`` image embeddings of unit length.
            count: K, at most M.
            apart_km: smallest distance of two answers to one image. Above 0 an answer stands for
                all places around it, as :func:`geocsp.geolocate.ranking.regions` says, and where
                there are fewer than K, places and scores are NaN and probabilities 0.

        Raises:
            DataError: no query, embeddings that are not finite or of another size, or a count out
                of range.
        """
        queries = self.checked(queries, count)
        if apart_km > 0:
            found = [self.regions(scores, count, apart_km) for scores in self.scores(queries)]
            return guesses(found, self.lonlat, count)
        best, rows, total = best_places(queries, self.store.parts, count, self.scale)
        probabilities = (self.scale * best.double() - total[:, None]).exp()
        return Guesses(self.lonlat[rows], best, probabilities)

    def scores(self, queries: Tensor) -> Iterator[Scores]:
        """The similarity of all places to each image, a few images at a time.

        Args:
            queries: ``(N, D)`` image embeddings of unit length.
        """
        for some in queries.split(max(1, _SCORES // len(self))):
            parts = [some @ part.T for part in self.store.parts]
            for values in torch.cat(parts, dim=1):
                yield Scores(None, values, self.scale)

    def regions(self, scores: Scores, count: int, apart_km: float) -> Regions:
        """The best places of one image that are well apart."""
        return regions(scores, self._vectors, count, apart_km)

    def checked(self, queries: Tensor, count: int) -> Tensor:
        """Queries as the search takes them.

        Raises:
            DataError: as :meth:`search`.
        """
        if queries.ndim != 2 or queries.shape[1] != self.store.dim:
            raise DataError(
                f"queries must be image embeddings (N, {self.store.dim}), got "
                f"{tuple(queries.shape)}; the gallery is of another model"
            )
        if not 1 <= count <= len(self):
            raise DataError(f"count must be in 1..{len(self)}, the number of places, got {count}")
        if len(queries) == 0:
            raise DataError("need at least one image")
        check_finite_rows(queries, "image embeddings")
        return queries.detach().cpu().float()

    @cached_property
    def _vectors(self) -> Tensor:
        return unit_vectors(self.lonlat)
