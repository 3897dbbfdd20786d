"""Labels that are computed: sanity tasks whose answer is known everywhere."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from geocsp.coords import EARTH_RADIUS_KM, unit_vectors
from geocsp.data.named.labels import grid, is_land
from geocsp.registry import create

Floats = NDArray[np.float64]

_WATER_STEP = 0.25


def absolute_latitude(lonlat: Floats) -> Floats:
    """Degrees from the equator, ``(N,)``, of ``(N, 2)`` degrees."""
    return np.abs(lonlat[:, 1])


def random_field(lonlat: Floats, *, degrees: int = 17, seed: int = 0) -> Floats:
    """A smooth random field on the sphere: mean 0, variance 1, the same in all directions.

    A sum of real spherical harmonics of the degrees 1 to ``degrees`` - 1 with Gaussian weights,
    every degree with the same share of the variance. The finest waves are
    360 / (``degrees`` - 1) degrees long.

    Args:
        lonlat: ``(N, 2)`` degrees.
        degrees: number of degrees, at least 2.
        seed: another seed gives another field.

    Returns:
        ``(N,)``.
    """
    with torch.random.fork_rng(devices=[]):  # the encoder draws weights that are not used here
        encoder = create("location", "spherical-harmonics", dim=1, degrees=degrees)
    harmonics = encoder.features(torch.from_numpy(lonlat).double()).double().numpy()
    degree = np.repeat(np.arange(degrees), 2 * np.arange(degrees) + 1)
    weights = np.random.default_rng(seed).standard_normal(degrees**2)
    weights *= np.sqrt(4 * np.pi / ((degrees - 1) * (2 * degree + 1)))
    weights[0] = 0.0
    return np.asarray(harmonics @ weights)


def water_distance(lonlat: Floats) -> Floats:
    """Kilometres to the nearest water, sea or lake, ``(N,)``: centres of a 0.25 degree grid.

    Args:
        lonlat: ``(N, 2)`` degrees.

    Raises:
        MissingExtraError: the land cover map is not installed.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(_vectors(_water()))
    chord, _ = tree.query(_vectors(lonlat))
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2, 0, 1)))


@cache
def _water() -> Floats:
    centres = grid(_WATER_STEP).reshape(-1, 2)
    return centres[~is_land(centres)]


def _vectors(lonlat: Floats) -> Floats:
    return np.asarray(unit_vectors(torch.from_numpy(lonlat)).numpy())
