"""The labels by name: what each place of the globe is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocsp.data.named.labels import classes, labels_at
from geocsp.data.named.rasters import CLIMATE, LAND_COVER
from geocsp.data.splitters.base import checked_places
from geocsp.errors import DataError
from geocsp.evaluate.probes import fields, synthetic
from geocsp.evaluate.probes.countries import COUNTRY_CREDIT, countries, country_names
from geocsp.evaluate.probes.targets import Target


@dataclass(frozen=True)
class Label:
    """A label that can be looked up anywhere.

    Attributes:
        values: of ``(N, 2)`` places, as :class:`Target` holds them.
        class_names: names of the classes; None for a number.
        unit: of the number.
        attribution: whom a report has to credit.
    """

    values: Callable[[NDArray[np.float64]], NDArray[Any]]
    class_names: Callable[[], tuple[str, ...]] | None = None
    unit: str = ""
    attribution: str = ""


_LABELS = {
    "climate": Label(
        lambda lonlat: labels_at("climate", lonlat),
        lambda: classes("climate"),
        attribution=CLIMATE.attribution,
    ),
    "landcover": Label(
        lambda lonlat: labels_at("landcover", lonlat),
        lambda: classes("landcover"),
        attribution=LAND_COVER.attribution,
    ),
    "country": Label(countries, country_names, attribution=COUNTRY_CREDIT),
    "elevation": Label(fields.elevation, unit="m", attribution=fields.ELEVATION_CREDIT),
    "temperature": Label(
        fields.temperature, unit="degrees C", attribution=fields.TEMPERATURE_CREDIT
    ),
    "precipitation": Label(
        fields.precipitation, unit="mm / year", attribution=fields.PRECIPITATION_CREDIT
    ),
    "water-distance": Label(
        synthetic.water_distance, unit="km", attribution=LAND_COVER.attribution
    ),
    "latitude": Label(synthetic.absolute_latitude, unit="degrees"),
    "field": Label(synthetic.random_field),
}

LABELS = tuple(_LABELS)
"""Names of all labels; all but "latitude" and "field" need the extra ``probes``."""


def target_at(name: str, lonlat: ArrayLike) -> Target:
    """A label of some places.

    Args:
        name: one of :data:`LABELS`: climate zone, land cover, country, elevation, annual mean
            temperature, precipitation, distance to water, absolute latitude, or a random field.
        lonlat: ``(N, 2)`` degrees.

    Raises:
        DataError: there is no such label, or a place is missing or out of range.
        MissingExtraError: the package with the data is not installed.
    """
    check_labels([name])
    label = _LABELS[name]
    names = None if label.class_names is None else label.class_names()
    values = label.values(checked_places(lonlat))
    return Target(name, values, names, label.unit, label.attribution)


def check_labels(names: list[str]) -> None:
    """Raise a DataError for names that are no label."""
    unknown = [name for name in names if name not in _LABELS]
    if unknown or not names:
        said = f"no label {unknown[0]!r}" if unknown else "no label given"
        raise DataError(f"{said}; labels: {', '.join(LABELS)}")
