"""Geolocation: where was this image taken?

A model answers with places of a gallery, such as those of all training images, or with cells of a
grid over the Earth: the ones whose location embeddings are most similar to the image embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geocsp.checks import check_finite_rows
from geocsp.coords import EARTH_RADIUS_KM, check_lonlat, great_circle_km
from geocsp.data.splitters.healpix import check_nside
from geocsp.errors import DataError
from geocsp.location.healpix import ring_cells, ring_latitude
from geocsp.model import GeoModel
from geocsp.passes import in_passes

DISTANCES_KM = (1, 25, 200, 750, 2500)
"""Street, city, region, country and continent (Vo et al., ICCV 2017)."""
_PLACES = 2**14
"""Places compared with the images at once."""
_SCORES = 2**24
"""Scores in memory at once: 64 MiB in float32."""
ROUNDING = 8
"""Scores of unit vectors that differ by less, in units of the last place of 1, are equal."""


@dataclass(frozen=True, eq=False)
class Guesses:
    """The K most likely places of N images, best first.

    Attributes:
        lonlat: ``(N, K, 2)`` float64 degrees.
        scores: ``(N, K)`` cosine similarity of image and place.
        probabilities: ``(N, K)`` softmax of the scores over all places asked about, at the
            temperature of the model.
    """

    lonlat: Tensor
    scores: Tensor
    probabilities: Tensor

    @property
    def best(self) -> Tensor:
        """The most likely places, ``(N, 2)`` degrees."""
        return self.lonlat[:, 0]


def geolocate_gallery(
    model: GeoModel, images: Tensor, gallery_lonlat: Tensor, count: int = 1
) -> Guesses:
    """Find the most likely places of images among given ones, exactly and in bounded memory.

    The embeddings of the places are made part by part and not kept. Of equally likely places, the
    first come first; give every place once.

    Args:
        model: on the device of the images.
        images: ``(N, F)`` image features, or images for a model with an image encoder.
        gallery_lonlat: ``(M, 2)`` degrees; M may be millions.
        count: K, at most M.

    Raises:
        DataError: no image or place, a count out of range, or embeddings that are not finite.
        ValueError: a place is missing or out of range.
    """
    check_lonlat(gallery_lonlat, "gallery_lonlat")
    _check_count(count, len(gallery_lonlat))
    queries, scale = model.embed_images(images), float(model.scale().detach())
    parts = place_embeddings(model, gallery_lonlat.to(queries.device))
    scores, index, total = best_places(queries, parts, count, scale)
    probabilities = (scale * scores.double() - total[:, None]).exp()
    return Guesses(gallery_lonlat.cpu().double()[index], scores, probabilities)


def geolocate_grid(
    model: GeoModel, images: Tensor, spacing_km: float = 100.0, count: int = 1
) -> Guesses:
    """Find the most likely cells of images on a grid over the Earth, by their centres.

    Cells have equal areas, so that without an image all places are equally likely. For some cells
    only, such as those on land, call :func:`geolocate_gallery` with part of :func:`grid_places`.

    Args:
        model: on the device of the images.
        images: ``(N, F)`` image features, or images for a model with an image encoder.
        spacing_km: largest width of a cell as a square.
        count: K.

    Raises:
        DataError: no image, a spacing or count out of range, or embeddings that are not finite.
    """
    return geolocate_gallery(model, images, grid_places(spacing_km), count)


@torch.no_grad()
def probability_map(model: GeoModel, images: Tensor, lonlat: Tensor) -> Tensor:
    """P(place | image) over given places, such as those of a grid, for a few images to draw.

    Args:
        model: on the device of the images.
        images: ``(N, F)`` image features, or images for a model with an image encoder.
        lonlat: ``(M, 2)`` degrees.

    Returns:
        ``(N, M)`` probabilities, each row summing to one.

    Raises:
        ValueError: a place is missing or out of range.
    """
    check_lonlat(lonlat)
    queries, scale = model.embed_images(images), model.scale()
    parts = place_embeddings(model, lonlat.to(queries.device))
    return torch.cat([scale * (queries @ part.T) for part in parts], dim=1).softmax(dim=1)


def grid_places(spacing_km: float) -> Tensor:
    """Centres of the cells of the coarsest HEALPix grid that is not wider, ``(M, 2)`` float64.

    Cells have equal areas (Gorski et al., ApJ 2005); M is about 510 million / spacing_km^2.

    Args:
        spacing_km: width of a cell as a square.

    Raises:
        DataError: the spacing is not above 0, or too small.
    """
    if not spacing_km > 0:
        raise DataError(f"spacing_km must be above 0, got {spacing_km:g}")
    widest = EARTH_RADIUS_KM * math.sqrt(math.pi / 3)
    sides = max(1, math.ceil(widest / spacing_km))
    check_nside(sides)
    rings = torch.arange(1, 4 * sides)
    start, length, offset = ring_cells(rings, sides)
    ring = torch.arange(len(rings)).repeat_interleave(length)
    along = torch.arange(len(ring)) - start[ring]
    turn = (along + offset[ring]) / length[ring]
    lon = torch.where(turn < 0.5, turn, turn - 1) * 360
    return torch.stack([lon, ring_latitude(rings, sides)[ring].rad2deg()], dim=1)


def geolocation_metrics(predicted_lonlat: Tensor, true_lonlat: Tensor) -> dict[str, float]:
    """Share of images found within 1, 25, 200, 750 and 2,500 km, and the distance.

    An image whose true place is unknown is left out.

    Args:
        predicted_lonlat: ``(N, 2)`` degrees.
        true_lonlat: ``(N, 2)`` degrees, NaN where unknown.

    Returns:
        acc@1km, acc@25km, acc@200km, acc@750km, acc@2500km in [0, 1], median_km and mean_km.

    Raises:
        DataError: sizes that do not fit, or no image with a known place.
        ValueError: a predicted place is missing, or a place is out of range.
    """
    predicted, true = predicted_lonlat.cpu().double(), true_lonlat.cpu().double()
    if predicted.shape != true.shape:
        raise DataError(
            f"need a true place for each predicted one, got {tuple(predicted.shape)} and "
            f"{tuple(true.shape)}"
        )
    check_lonlat(predicted, "predicted_lonlat")
    known = ~true.isnan().any(dim=1)
    check_lonlat(torch.where(known[:, None], true, 0.0), "true_lonlat")
    if not bool(known.any()):
        raise DataError("no image has a true place; give at least one")
    km = great_circle_km(predicted[known], true[known])
    shares = {f"acc@{reach}km": float((km <= reach).double().mean()) for reach in DISTANCES_KM}
    return shares | {"median_km": float(np.median(km.numpy())), "mean_km": float(km.mean())}


@torch.no_grad()
def nearest_places(queries: Tensor, gallery: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The embeddings of a gallery most similar to each query, exactly and in bounded memory.

    Similarity is the dot product. Of equal scores, the first in the gallery come first.

    Args:
        queries: ``(N, D)`` embeddings, unit length.
        gallery: ``(M, D)`` embeddings, unit length, of the same type and on the same device.
        count: K, at most M.

    Returns:
        ``(N, K)`` scores, highest first, and ``(N, K)`` int64 rows of the gallery, on the CPU.

    Raises:
        DataError: sizes that do not fit, no query, or an embedding that is not finite.
    """
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise DataError(
            f"queries and gallery must be (N, D) and (M, D), got {tuple(queries.shape)} and "
            f"{tuple(gallery.shape)}"
        )
    _check_count(count, len(gallery))
    check_finite_rows(gallery, "gallery embeddings")
    scores, index, _ = best_places(queries, gallery.split(_PLACES), count, scale=1.0)
    return scores, index


def _check_count(count: int, places: int) -> None:
    if not 1 <= count <= places:
        raise DataError(f"count must be in 1..{places}, the number of places, got {count}")


def place_embeddings(model: GeoModel, lonlat: Tensor) -> Iterator[Tensor]:
    """Unit length embeddings of places, part by part.

    Args:
        model: whose location encoder embeds the places.
        lonlat: ``(M, 2)`` degrees, on the device of the model.

    Yields:
        ``(m, D)``, the same parts for the same places.

    Raises:
        DataError: embeddings that are not finite.
    """
    start = 0
    for places in lonlat.split(_PLACES):
        rows = min(_PLACES, model.location.rows_per_pass)
        part = in_passes(model, model.encode_location, places, rows=rows)
        check_finite_rows(part, f"embeddings of places from row {start} on,")
        yield part
        start += len(part)


@torch.no_grad()
def best_places(
    queries: Tensor, parts: Iterable[Tensor], count: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The best answers to each query from a gallery that comes in parts.

    Args:
        queries: ``(N, D)`` image embeddings, unit length.
        parts: embeddings of the places, ``(m, D)`` each, finite, of the same type and device.
        count: K, at most the number of places.
        scale: inverse temperature.

    Returns:
        ``(N, K)`` scores, ``(N, K)`` rows of the gallery, and ``(N,)`` float64 logarithm of the
        sum of exp(scale * score) over the whole gallery, all on the CPU.

    Raises:
        DataError: no query, or an embedding of one that is not finite.
    """
    if len(queries) == 0:
        raise DataError("need at least one image")
    check_finite_rows(queries, "image embeddings")
    scores = queries.new_empty(len(queries), 0)
    index = torch.empty_like(scores, dtype=torch.int64)
    total = queries.new_full((len(queries),), -torch.inf, dtype=torch.float64)
    start = 0
    for part in parts:
        kept = min(count, start + len(part))
        merged = scores.new_empty(len(queries), kept), index.new_empty(len(queries), kept)
        size = max(1, _SCORES // len(part))
        for first in range(0, len(queries), size):
            some = slice(first, first + size)
            new = queries[some] @ part.T
            total[some] = total[some].logaddexp((scale * new).logsumexp(dim=1).double())
            found = _first_best(new, count)
            every = torch.cat([scores[some], new.gather(1, found)], dim=1)
            origin = torch.cat([index[some], found + start], dim=1)
            chosen = _first_best(every, count)
            merged[0][some], merged[1][some] = every.gather(1, chosen), origin.gather(1, chosen)
        scores, index = merged
        start += len(part)
    return *_sorted(scores, index), total.cpu()


def ranked(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best scores of each row, best first; of equals, the first columns come first.

    Args:
        scores: ``(n, M)``.
        count: K, at most M.

    Returns:
        ``(n, K)`` scores and ``(n, K)`` int64 columns, on the CPU.
    """
    columns = _first_best(scores, count)
    return _sorted(scores.gather(1, columns), columns)


def _first_best(scores: Tensor, count: int) -> Tensor:
    """Columns of the best scores of each row in ascending order; of equals, the first columns.

    Args:
        scores: ``(n, M)``.
        count: how many, or all if there are fewer.

    Returns:
        ``(n, min(count, M))`` int64.
    """
    count = min(count, scores.shape[1])
    slack = ROUNDING * torch.finfo(scores.dtype).eps
    values, columns = scores.topk(min(count + 1, scores.shape[1]), dim=1)
    edge, columns = values[:, count - 1 : count], columns[:, :count].sort(dim=1).values
    crowded = (values[:, count:] >= edge - slack).any(dim=1)  # one more is as good as the last
    if bool(crowded.any()):
        scores, edge = scores[crowded], edge[crowded]
        above = scores > edge + slack
        level = (scores >= edge - slack) & ~above
        left = count - above.sum(dim=1, keepdim=True)
        chosen = above | (level & (level.cumsum(dim=1) <= left))
        columns[crowded] = chosen.nonzero()[:, 1].view(-1, count)
    return columns


def _sorted(scores: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Best first, and among equals in the order of the gallery: both ``(N, K)``, on the CPU.

    Args:
        scores: ``(N, K)``.
        index: ``(N, K)`` rows of the gallery, ascending.
    """
    slack = ROUNDING * torch.finfo(scores.dtype).eps
    order = scores.argsort(dim=1, descending=True)
    falls = scores.gather(1, order).diff(dim=1) < -slack
    level = torch.zeros_like(order)
    level[:, 1:] = falls.cumsum(dim=1)
    levels = torch.empty_like(level).scatter_(1, order, level)
    order = levels.argsort(dim=1, stable=True)
    return scores.gather(1, order).cpu(), index.gather(1, order).cpu()
