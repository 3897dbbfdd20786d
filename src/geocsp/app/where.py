"""Where a photo was taken: places, and a picture to lay over the map."""

from __future__ import annotations

import base64

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

from geocsp.app import colours
from geocsp.app.answers import LikelyPlace, Where
from geocsp.app.mercator import NORTHERNMOST, world_places
from geocsp.app.places import APART_KM, DIGITS, Gallery
from geocsp.coords import unit_vectors
from geocsp.geolocate.ranking import Scores, regions
from geocsp.model import GeoModel

_PIXELS = 512
_PLACES = 10
_BOUNDS = (-180.0, -NORTHERNMOST, 180.0, NORTHERNMOST)


class Finder:
    """Compares photos with places all over the Earth.

    Args:
        model: images and places in one space.
        gallery: the places, in cells of equal area, so that a photo that says nothing could be
            anywhere alike.
    """

    def __init__(self, model: GeoModel, gallery: Gallery) -> None:
        self._scale = float(model.scale().detach())
        self._gallery = gallery
        self._vectors = unit_vectors(gallery.lonlat)
        pixels = unit_vectors(world_places(_PIXELS)).numpy()
        nearest = cKDTree(self._vectors.numpy()).query(pixels)[1]
        self._cell = nearest.astype(np.int32).reshape(_PIXELS, _PIXELS)

    def where(self, query: Tensor) -> Where:
        """Where an image was taken, by its embedding ``(D,)``, of unit length."""
        scores = Scores(None, self._gallery.embeddings @ query, self._scale)
        return Where(
            places=self._likely(scores),
            overlay=self._overlay(scores.probabilities()),
            bounds=_BOUNDS,
        )

    def _likely(self, scores: Scores) -> list[LikelyPlace]:
        found = regions(scores, self._vectors, _PLACES, APART_KM)
        lonlat = self._gallery.lonlat[found.rows].tolist()
        return [
            LikelyPlace(lon=lon, lat=lat, probability=round(probability, DIGITS))
            for (lon, lat), probability in zip(lonlat, found.probabilities.tolist(), strict=True)
        ]

    def _overlay(self, probabilities: Tensor) -> str:
        values = probabilities.numpy()[self._cell]
        painted = colours.fading()[colours.levels(values, 0.0, float(probabilities.max()))]
        return f"data:image/png;base64,{base64.b64encode(colours.png(painted)).decode()}"
