"""Search that compares an image with a part of the gallery only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from geocsp.evaluate.geolocation import Guesses
from geocsp.geolocate.gallery import Gallery
from geocsp.geolocate.ranking import Regions, Scores, guesses

CANDIDATES = 4096
"""Places that an index finds for an image; they are compared exactly."""
_SAMPLE = 2**14


class PlaceIndex(Protocol):
    """Finds places with embeddings like a query, most of them right."""

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """Rows of the gallery, ``(N, c)`` int64, c at most ``count``, -1 for none."""
        ...


@dataclass(frozen=True, eq=False)
class Approximate:
    """A gallery that is searched with an index.

    The index finds a few thousand candidates, whose scores are then exact. The probabilities are
    estimates: what lies beyond the candidates is judged by places drawn at random, the same for
    every image; and a region has the probability of the candidates in it.

    Attributes:
        gallery: the places.
        index: over their embeddings.
    """

    gallery: Gallery
    index: PlaceIndex

    def __len__(self) -> int:
        return len(self.gallery)

    @property
    def lonlat(self) -> Tensor:
        """``(M, 2)`` float64 degrees."""
        return self.gallery.lonlat

    def search(self, queries: Tensor, count: int = 1, *, apart_km: float = 0.0) -> Guesses:
        """The most likely places of images; as :meth:`Gallery.search`, but approximately.

        Where fewer than ``count`` are found, places and scores are NaN and probabilities 0.

        Raises:
            DataError: as :meth:`Gallery.search`.
        """
        queries = self.gallery.checked(queries, count)
        found = [
            self.regions(scores, count, apart_km) for scores in self.scores(queries, 2 * count)
        ]
        return guesses(found, self.lonlat, count)

    def scores(self, queries: Tensor, least: int = 1) -> Iterator[Scores]:
        """Exact scores of each image's candidates, and of places that stand for all others.

        Args:
            queries: ``(N, D)`` image embeddings of unit length, float32 on the CPU.
            least: so many candidates, even if that is more than usual.
        """
        wanted = min(len(self), max(CANDIDATES, least))
        for query, found in zip(queries, self.index.nearest(queries, wanted), strict=True):
            rows = found[found >= 0].unique()  # ascending, for the order among equals
            values = self.gallery.store.take(rows) @ query
            drawn, embeddings = self._sample
            others = ~torch.isin(drawn, rows)
            share = (len(self) - len(rows)) / max(1, int(others.sum()))
            yield Scores(
                torch.cat([rows, drawn[others]]),
                torch.cat([values, embeddings[others] @ query]),
                self.gallery.scale,
                torch.cat([torch.ones(len(rows)), torch.full((int(others.sum()),), share)]),
            )

    def regions(self, scores: Scores, count: int, apart_km: float) -> Regions:
        """The best candidates for one image that are well apart."""
        return self.gallery.regions(scores, count, apart_km)

    @cached_property
    def _sample(self) -> tuple[Tensor, Tensor]:
        """Rows drawn at random, ascending, and their embeddings."""
        generator = torch.Generator().manual_seed(0)
        rows = torch.randperm(len(self), generator=generator)[:_SAMPLE].sort().values
        return rows, self.gallery.store.take(rows)
