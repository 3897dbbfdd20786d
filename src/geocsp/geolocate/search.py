"""One call for the exact search and for the approximate ones."""

from __future__ import annotations

from enum import StrEnum

from torch import Tensor

from geocsp.evaluate.geolocation import Guesses
from geocsp.geolocate.approximate import Approximate
from geocsp.geolocate.faiss_index import FaissIndex
from geocsp.geolocate.gallery import Gallery
from geocsp.geolocate.lancedb_index import LanceIndex
from geocsp.model import GeoModel


class Index(StrEnum):
    """How the most similar places are found."""

    EXACT = "exact"
    """All places are compared."""
    FAISS = "faiss"
    """Lists of nearby embeddings, of which the nearest are compared (extra "search")."""
    LANCEDB = "lancedb"
    """The same in a LanceDB table (extra "search")."""

    def over(self, gallery: Gallery) -> Gallery | Approximate:
        """The gallery as this index searches it; one that is not on disk yet is built.

        Raises:
            MissingExtraError: the library of the index is not installed.
            DataError: the cache folder cannot be written to.
        """
        if self is Index.EXACT:
            return gallery
        index = FaissIndex if self is Index.FAISS else LanceIndex
        return Approximate(gallery, index.of(gallery.store))


def geolocate(
    model: GeoModel,
    images: Tensor,
    gallery: Gallery | Approximate,
    count: int = 1,
    *,
    apart_km: float = 0.0,
) -> Guesses:
    """The most likely places of images, among those of a gallery.

    Args:
        model: that the gallery was made with.
        images: ``(N, F)`` image features, or images for a model with an image encoder.
        gallery: all places, or :meth:`Index.over` them.
        count: K, at most the number of places.
        apart_km: smallest distance of two answers to one image, see :meth:`Gallery.search`.

    Raises:
        DataError: as :meth:`Gallery.search`.
    """
    return gallery.search(model.embed_images(images), count, apart_km=apart_km)
