"""Land and country borders of the world, packaged.

Natural Earth 4.1.0 (naturalearthdata.com, public domain). Polygons are cut at the antimeridian, and
Antarctica is closed over the pole, so every polygon is a plain one in longitude and latitude.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Line: TypeAlias = NDArray[np.float64]
"""``(N, 2)`` degrees, longitude first."""

_STEP = 0.002
_DECIMALS = 3
_STRIPS = 720


class Detail(StrEnum):
    """How fine the lines are."""

    LOW = "low"
    """For maps of the world: 1:110 million."""
    MEDIUM = "medium"
    """For maps of a country: 1:50 million."""


@dataclass(frozen=True, eq=False)
class Polygon:
    """Land that hangs together.

    Attributes:
        outer: closed line around it, anticlockwise.
        holes: closed lines around water in it, clockwise.
    """

    outer: Line
    holes: tuple[Line, ...] = ()

    @property
    def rings(self) -> tuple[Line, ...]:
        """The outer line, then the holes."""
        return self.outer, *self.holes


@cache
def land(detail: Detail = Detail.MEDIUM) -> tuple[Polygon, ...]:
    """All land, the largest polygons first. Lakes are land, the Caspian Sea is not."""
    content = _content(detail)
    rings = iter(_lines(content["ring_steps"], content["ring_sizes"]))
    whole = [[next(rings) for _ in range(count)] for count in content["rings_of_polygon"]]
    return tuple(Polygon(outer, tuple(holes)) for outer, *holes in whole)


@cache
def borders(detail: Detail = Detail.MEDIUM) -> tuple[Line, ...]:
    """Lines between two countries, on land."""
    content = _content(detail)
    return tuple(_lines(content["border_steps"], content["border_sizes"]))


@cache
def coasts(detail: Detail = Detail.MEDIUM) -> tuple[Line, ...]:
    """Lines between land and water: the rings of all land without cuts along the map's edge."""
    rings = (ring for polygon in land(detail) for ring in polygon.rings)
    return tuple(line for ring in rings for line in _without_cuts(ring))


def land_geojson(detail: Detail = Detail.MEDIUM) -> bytes:
    """GeoJSON of three features, whose property ``kind`` is "land", "coast" or "border"."""
    polygons = [[_rounded(ring) for ring in polygon.rings] for polygon in land(detail)]
    features = [
        _feature("land", "MultiPolygon", polygons),
        _feature("coast", "MultiLineString", [_rounded(line) for line in coasts(detail)]),
        _feature("border", "MultiLineString", [_rounded(line) for line in borders(detail)]),
    ]
    whole = {"type": "FeatureCollection", "features": features}
    return json.dumps(whole, separators=(",", ":")).encode()


def on_land(lonlat: NDArray[np.floating[Any]], detail: Detail = Detail.MEDIUM) -> NDArray[np.bool_]:
    """Which places are on land, ``(N,)``; exact for the polygons of :func:`land`.

    Along each parallel that has a place, land lies between pairs of crossings with the rings, so
    places of a grid, which share parallels, are quick.

    Args:
        lonlat: ``(N, 2)`` degrees, any longitude; NaN is not on land.
        detail: of the polygons.
    """
    lon = np.remainder(np.asarray(lonlat[:, 0], np.float64) + 180.0, 360.0) - 180.0
    lats, group = np.unique(np.asarray(lonlat[:, 1], np.float64), return_inverse=True)
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(len(lats) + 1))
    strips = _strips(detail)
    found = np.zeros(len(lon), dtype=bool)
    for lat, start, end in zip(lats, ends[:-1], ends[1:], strict=True):
        members = order[start:end]
        if np.isnan(lat) or not -90 <= lat <= 90:
            continue
        edges = strips[_strip_of(lat)]
        crossed = edges[(edges[:, 1] <= lat) != (edges[:, 3] <= lat)]
        share = (lat - crossed[:, 1]) / (crossed[:, 3] - crossed[:, 1])
        crossings = np.sort(crossed[:, 0] + share * (crossed[:, 2] - crossed[:, 0]))
        found[members] = np.searchsorted(crossings, lon[members], side="right") % 2 == 1
    return found


def _content(detail: Detail) -> dict[str, NDArray[np.int32]]:
    with (files(__name__) / f"{Detail(detail)}.npz").open("rb") as file, np.load(file) as content:
        return dict(content)


def _lines(steps: NDArray[np.int32], sizes: NDArray[np.int32]) -> Iterator[Line]:
    for part in np.split(steps.T, np.cumsum(sizes)[:-1]):
        yield np.round(np.cumsum(part, axis=0) * _STEP, _DECIMALS)


def _without_cuts(ring: Line) -> Iterator[Line]:
    lon, lat = np.abs(ring).T
    edge = ((lon[1:] == 180) & (ring[1:, 0] == ring[:-1, 0])) | ((lat[1:] == 90) & (lat[:-1] == 90))
    if not edge.any():
        yield ring
        return
    start = int(np.argmax(edge)) + 1  # begin right after a cut
    turned = np.concatenate([ring[start:-1], ring[: start + 1]])
    edge = np.roll(edge, -start)
    for part in np.split(np.arange(len(edge)), np.flatnonzero(np.diff(edge)) + 1):
        if not edge[part[0]]:
            yield turned[part[0] : part[-1] + 2]


@cache
def _strips(detail: Detail) -> tuple[NDArray[np.float64], ...]:
    """Edges of all rings, ``(E, 4)``: lon, lat, lon, lat, by the strips of latitude they touch."""
    rings = [ring for polygon in land(detail) for ring in polygon.rings]
    edges = np.concatenate([np.concatenate([ring[:-1], ring[1:]], axis=1) for ring in rings])
    low = _strip_of(np.minimum(edges[:, 1], edges[:, 3]))
    high = _strip_of(np.maximum(edges[:, 1], edges[:, 3]))
    return tuple(edges[(low <= strip) & (high >= strip)] for strip in range(_STRIPS))


def _strip_of(lat: Any) -> Any:
    return np.clip((lat + 90.0) * (_STRIPS / 180.0), 0, _STRIPS - 1).astype(np.int64)


def _rounded(line: Line) -> list[list[float]]:
    pairs: list[list[float]] = line.tolist()
    return pairs


def _feature(kind: str, shape: str, coordinates: list[Any]) -> dict[str, Any]:
    geometry = {"type": shape, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"kind": kind}, "geometry": geometry}
