"""False negatives: pairs of places so close that the one's image would suit the other as well."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from geocsp.coords import great_circle_km, pairwise_within_km
from geocsp.objectives.base import Views


def check_km(km: float) -> float:
    """The distance itself.

    Raises:
        ValueError: it is negative or not a number.
    """
    if not km >= 0:
        raise ValueError(f"mask_km must be >= 0, got {km}")
    return km


def near_pairs(views: Views, km: float) -> Callable[[slice], Tensor] | None:
    """Which places of the whole batch lie closer than ``km`` to those of some own rows.

    Returns:
        A function from a slice of the own rows, c long, to ``(c, B)`` bool, where B are the rows
        of all processes and a place is not near itself; None, without any message to the other
        processes, if ``km`` is zero.
    """
    if not km:
        return None
    own = views.first
    everybody = views.process.gather(views.lonlat)

    def near(rows: slice) -> Tensor:
        pairs = pairwise_within_km(views.lonlat[rows], everybody, km)
        pairs.diagonal(own + rows.start).fill_(False)
        return pairs

    return near


def near_places(lonlat: Tensor, places: Tensor, km: float) -> Tensor:
    """Which of the k places of each image lie closer than ``km`` to it.

    Args:
        lonlat: ``(b, 2)`` places of the images, degrees.
        places: ``(b, k, 2)`` other places, degrees.
        km: distance in kilometres.

    Returns:
        ``(b, k)`` bool.
    """
    count = places.shape[1]
    own = lonlat.repeat_interleave(count, dim=0)
    return great_circle_km(own, places.flatten(0, 1)).view(len(lonlat), count) < km
