"""All that the app knows: a model, what is computed from it once, and who computes."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

import geocsp
from geocsp.app.answers import ClassProbability, Info, Layer, Legend, PhotoAnswer, Place, Similar
from geocsp.app.cache import ByteCache
from geocsp.app.class_tiles import MOST, ClassTiles
from geocsp.app.colours import hexadecimal
from geocsp.app.layers import (
    Painted,
    class_layer,
    embedding_layer,
    nice_above,
    similar_layer,
    uncertainty_layer,
)
from geocsp.app.mercator import Tile
from geocsp.app.photos import Dropped, answer
from geocsp.app.places import DIGITS, Gallery, likeliest
from geocsp.app.tiles import paint_tile, step_of
from geocsp.app.where import Finder
from geocsp.app.worker import Worker
from geocsp.classifier import GeoClassifier
from geocsp.errors import DataError
from geocsp.linear_prior import LinearPrior
from geocsp.location import LocationEncoder
from geocsp.maps.quantities import (
    class_number,
    class_probability,
    embedding_colours,
    similarity,
    uncertainty,
)
from geocsp.model import GeoModel, GeoPrior
from geocsp.models import LocationModel, fingerprint_of

_TOGETHER = 64
"""Places in one pass; fewer are filled up, as the last digits depend on how many there are."""
_TILE_THREADS = 2
_TILE_BYTES = 64 * 2**20
_LEVEL_BYTES = 128 * 2**20
_PEAK_PLACES = 8000
_PART = 1024


@dataclass(frozen=True)
class AppSettings:
    """Limits and fineness.

    Attributes:
        max_upload_bytes: largest photo file.
        max_pixels: largest photo.
        spacing_km: between the places that are searched.
        seconds: longest time for an answer.
    """

    max_upload_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    spacing_km: float = 100.0
    seconds: float = 60.0


class Explorer:
    """A model as the app asks it. Safe in threads; :meth:`close` ends its own.

    Args:
        model: any model of places; with an image encoder it takes photos.
        name: what to call it.
        card: its model card, Markdown.
        report: run folder of an evaluation.
        settings: limits.

    Raises:
        DataError: a spacing that cannot be used.
    """

    def __init__(
        self,
        model: LocationModel,
        name: str,
        *,
        card: str | None = None,
        report: Path | None = None,
        settings: AppSettings | None = None,
    ) -> None:
        self.model = model.eval()
        self.name, self.card, self.report = name, card, report
        self.settings = settings or AppSettings()
        self.fingerprint = fingerprint_of(model)
        self._gallery = Gallery(model, self.settings.spacing_km)
        self._usual = self._gallery.usual()
        self._colours = embedding_colours(model)
        self._peaks = None if self.prior is None else _highest(self.prior, self._gallery.lonlat)
        self._undecided = None if self.prior is None else uncertainty(model)
        self._encoders = _encoders_of(model)
        self._resolution_km = min(encoder.resolution_km for encoder in self._encoders)
        taker = self.geo_model
        self._finder = None if taker is None else Finder(taker, self._gallery)
        self._computing = threading.Lock()
        self._class_tiles = self._class_tiles_of()
        self._pool = ThreadPoolExecutor(min(_TILE_THREADS, os.cpu_count() or 1), "geocsp-tiles")
        self.worker = Worker(together=_TOGETHER)
        self.files = ThreadPoolExecutor(_TILE_THREADS, "geocsp-files")
        self.tiles = ByteCache(self._pool, _TILE_BYTES)

    def close(self) -> None:
        """End the threads after what they are at."""
        self.files.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)
        self.worker.close()

    @property
    def prior(self) -> GeoClassifier | GeoPrior | LinearPrior | None:
        """The part that knows classes."""
        model = self.model
        return model if isinstance(model, (GeoClassifier, GeoPrior, LinearPrior)) else None

    @property
    def geo_model(self) -> GeoModel | None:
        """The part that takes photos."""
        model = self.model.model if isinstance(self.model, GeoClassifier) else self.model
        return model if isinstance(model, GeoModel) and model.image is not None else None

    @property
    def layers(self) -> list[Layer]:
        """What the map can show of this model."""
        return [Layer.EMBEDDING, Layer.SIMILAR] if self.prior is None else list(Layer)

    def info(self) -> Info:
        """What the model is and can do."""
        return Info(
            name=self.name,
            version=geocsp.__version__,
            kind=self.model.kind,
            classes=[] if self.prior is None else list(self.prior.class_names),
            has_images=self.geo_model is not None,
            has_prior=self.prior is not None,
            has_report=self.report is not None,
            layers=self.layers,
            max_upload_bytes=self.settings.max_upload_bytes,
            takes_time=any(encoder.time.dim > 0 for encoder in self._encoders),
            fingerprint=self.fingerprint,
            card=self.card,
        )

    def layer(
        self, layer: Layer, class_name: str | None = None, place: tuple[float, float] | None = None
    ) -> Painted:
        """A layer of the map.

        Args:
            layer: which.
            class_name: for the layer of a class.
            place: for the layer of similar places, degrees.

        Raises:
            DataError: the model has no such layer or class, or the layer needs more.
        """
        if layer not in self.layers:
            raise DataError(f"a {self.model.kind} knows no classes, so has no layer {layer.value}")
        if layer is Layer.EMBEDDING:
            return embedding_layer(self._colours)
        if layer is Layer.UNCERTAINTY:
            assert self._undecided is not None
            return uncertainty_layer(self._undecided)
        if layer is Layer.SIMILAR:
            if place is None:
                raise DataError("name a place, as in ?lon=8.5&lat=47.4")
            return similar_layer(similarity(self.model, *place), self._usual)
        if class_name is None:
            raise DataError("name a class, as in ?class=NAME")
        assert self.prior is not None
        assert self._peaks is not None
        quantity = class_probability(self.model, class_name)
        number = class_number(self.prior.class_names, class_name)
        return class_layer(quantity, float(self._peaks[number]))

    def tile(
        self, tile: Tile, layer: Layer, class_name: str | None, place: tuple[float, float] | None
    ) -> bytes:
        """PNG of a tile. One is computed at a time, by all cores.

        Raises:
            DataError: as for :meth:`layer`.
        """
        painted = self.layer(layer, class_name, place)
        step = step_of(tile, self._resolution_km)
        if step == 1 and layer is Layer.CLASS and self._class_tiles and self.prior:
            return self._class_tiles.png(tile, self.prior.class_names.index(class_name))

        def alone(lonlat: Tensor) -> NDArray[Any]:
            with self._computing:
                return painted.of(lonlat)

        return paint_tile(replace(painted, of=alone), tile, step)

    def _class_tiles_of(self) -> ClassTiles | None:
        prior, peaks = self.prior, self._peaks
        if prior is None or peaks is None or len(peaks) > MOST:
            return None

        def alone(lonlat: Tensor) -> NDArray[Any]:
            with self._computing:
                return prior.class_probabilities(lonlat).numpy()

        highs = [nice_above(peak) for peak in peaks.tolist()]
        return ClassTiles(alone, highs, _LEVEL_BYTES)

    def legend(self, layer: Layer, class_name: str | None) -> Legend:
        """What the colours of a layer mean.

        Raises:
            DataError: the model has no such layer or class.
        """
        if layer is Layer.SIMILAR:
            legend = self.layer(layer, None, (0.0, 0.0)).legend()
            return legend.model_copy(update={"title": "Likeness (cosine of embeddings)"})
        return self.layer(layer, class_name).legend()

    def places(self, asked: Sequence[tuple[float, float, int]]) -> list[Place]:
        """What the model says of places, embedded together.

        Args:
            asked: longitude, latitude, and how many classes.
        """
        lonlat = _filled([(lon, lat) for lon, lat, _ in asked])
        colours = self._colours.of(lonlat).numpy()
        prior, undecided = self.prior, self._undecided
        probabilities = None if prior is None else prior.class_probabilities(lonlat)
        unsure = None if undecided is None else undecided.of(lonlat)
        answers = []
        for row, (lon, lat, count) in enumerate(asked):
            classes: list[ClassProbability] = []
            if prior is not None and probabilities is not None:
                classes = likeliest(prior.class_names, probabilities[row], count)
            answers.append(
                Place(
                    lon=lon,
                    lat=lat,
                    classes=classes,
                    colour=hexadecimal(colours[row]),
                    uncertainty=None if unsure is None else round(float(unsure[row]), DIGITS),
                )
            )
        return answers

    def similar(self, asked: Sequence[tuple[float, float, int]]) -> list[Similar]:
        """Places on land that are most like others.

        Args:
            asked: longitude, latitude, and how many.
        """
        queries = self._gallery.unit(_filled([(lon, lat) for lon, lat, _ in asked]))
        return [
            Similar(places=self._gallery.like(queries[row], (lon, lat), count))
            for row, (lon, lat, count) in enumerate(asked)
        ]

    def photos(self, dropped: Sequence[Dropped]) -> list[PhotoAnswer]:
        """What the model says of photos."""
        model, finder = self.geo_model, self._finder
        assert model is not None
        assert finder is not None
        classifier = self.model if isinstance(self.model, GeoClassifier) else None
        return [answer(photo, model, classifier, finder) for photo in dropped]


def _highest(prior: GeoClassifier | GeoPrior | LinearPrior, lonlat: Tensor) -> Tensor:
    """The highest probability of each class among places spread over the Earth, ``(Q,)``."""
    some = lonlat[:: max(1, len(lonlat) // _PEAK_PLACES)]
    peaks = [prior.class_probabilities(part).amax(dim=0) for part in some.split(_PART)]
    return torch.stack(peaks).amax(dim=0)


def _encoders_of(model: LocationModel) -> tuple[LocationEncoder, ...]:
    if isinstance(model, GeoClassifier):
        return model.model.location, model.prior.location
    return (model,) if isinstance(model, LocationEncoder) else (model.location,)


def _filled(places: list[tuple[float, float]]) -> Tensor:
    """Places, and the first again, as a tensor ``(64, 2)``."""
    lonlat = torch.tensor(places, dtype=torch.float64)
    rest = lonlat[:1].expand(max(0, _TOGETHER - len(lonlat)), 2)
    return torch.cat([lonlat, rest])
