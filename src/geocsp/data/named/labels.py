"""Which class a place belongs to, in land cover and in climate.

A class takes part only if it covers at least :data:`MIN_SHARE` of the land between the
latitudes of the data set, so that about 20 of 20,000 random land points carry it. The rule
looks at the rasters, not at a sample: the classes are the same for every sample and seed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from geocsp.data.named.legends import CLIMATE_NAMES, LAND_COVER_NAMES, WATER
from geocsp.data.named.rasters import CLIMATE, LAND_COVER, Floats, Integers
from geocsp.errors import DataError

LATITUDES = (-56.0, 74.0)
"""Southern and northern limit of the data set, degrees."""
MIN_SHARE = 0.001
"""Smallest share of the land area that makes a class."""
WINDOW = 5
"""Land cover is the majority in a window of this many 0.05 degree pixels on a side."""
MIN_PURITY = 0.6
"""Smallest share of that window the majority must have."""

_CHUNK = 100_000


def is_land(lonlat: Floats) -> NDArray[np.bool_]:
    """Whether the land cover pixel at each of ``(N, 2)`` degrees is not water: ``(N,)``."""
    return np.asarray(LAND_COVER.windows(lonlat)[:, 0] != WATER)


def grid(step: float) -> Floats:
    """Centres of a global grid, ``(rows, columns, 2)`` degrees, from lat 90 down and lon -180 up.

    Raises:
        DataError: ``step`` does not divide 180 degrees.
    """
    rows = round(180.0 / step) if step > 0 else 0
    if rows < 1 or abs(rows * step - 180.0) > 1e-9:
        raise DataError(f"the grid step must divide 180 degrees, got {step:g}")
    lat = 90.0 - (np.arange(rows) + 0.5) * (180.0 / rows)
    lon = (np.arange(2 * rows) + 0.5) * (180.0 / rows) - 180.0
    return np.stack(np.meshgrid(lon, lat), axis=-1)


def task_names() -> tuple[str, ...]:
    """Names of the classification tasks."""
    return tuple(_TASKS)


def classes(task: str) -> tuple[str, ...]:
    """Names of the classes of a task, in label order.

    Raises:
        DataError: there is no such task.
    """
    return tuple(_task(task)[0][value] for value in _kept_values(task))


def labels_at(task: str, lonlat: Floats) -> Integers:
    """Class index at each place, -1 where there is none.

    Args:
        task: "landcover" (majority of a 5 x 5 window, at least 60 % pure) or "climate".
        lonlat: ``(N, 2)`` degrees.

    Returns:
        ``(N,)`` int64, indices into :func:`classes`.

    Raises:
        DataError: there is no such task.
    """
    index = np.full(256, -1, dtype=np.int64)
    kept = _kept_values(task)
    index[list(kept)] = np.arange(len(kept))
    parts = [
        index[_task(task)[1](lonlat[start : start + _CHUNK])]
        for start in range(0, len(lonlat), _CHUNK)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _land_cover_values(lonlat: Floats) -> NDArray[np.uint8]:
    window = LAND_COVER.windows(lonlat, WINDOW)
    majority = np.full(len(lonlat), WATER, dtype=np.uint8)
    for value in LAND_COVER_NAMES:
        majority[(window == value).mean(axis=1) >= MIN_PURITY] = value
    return majority


def _climate_values(lonlat: Floats) -> NDArray[np.uint8]:
    return CLIMATE.windows(lonlat)[:, 0]


_Task = tuple[dict[int, str], Callable[[Floats], NDArray[np.uint8]]]
_TASKS: dict[str, _Task] = {
    "landcover": (LAND_COVER_NAMES, _land_cover_values),
    "climate": (CLIMATE_NAMES, _climate_values),
}


def _task(name: str) -> _Task:
    if name not in _TASKS:
        raise DataError(f"no task {name!r}; tasks: {', '.join(_TASKS)}")
    return _TASKS[name]


@cache
def _kept_values(task: str) -> tuple[int, ...]:
    names, values_at = _task(task)
    centres = grid(0.5).reshape(-1, 2)
    inside = (centres[:, 1] > LATITUDES[0]) & (centres[:, 1] < LATITUDES[1])
    land = centres[inside & is_land(centres)]
    area = np.cos(np.deg2rad(land[:, 1]))
    share = np.bincount(values_at(land), weights=area, minlength=256) / area.sum()
    return tuple(value for value in names if share[value] >= MIN_SHARE)
