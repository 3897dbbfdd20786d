"""Tiles of all classes at once, so that another class of the same tile costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geocsp.app import colours
from geocsp.app.cache import ByteCache
from geocsp.app.lattice import sample_tile
from geocsp.app.mercator import SIDE, Tile

MOST = 64
"""With more classes, those of a tile would take too much memory."""


class ClassTiles:
    """Keeps the steps of the scale that all classes have at all pixels of some tiles.

    For tiles of which all pixels are computed anyway; one class may need fewer of them than all.

    Args:
        probabilities: of ``(N, 2)`` places, ``(N, Q)``.
        highs: where the scale of each of the Q classes ends.
        limit: bytes kept.
    """

    def __init__(
        self,
        probabilities: Callable[[Tensor], NDArray[Any]],
        highs: Sequence[float],
        limit: int,
    ) -> None:
        self._probabilities = probabilities
        self._highs = np.array(highs, np.float32)
        self._kept = ByteCache(_Here(), limit)

    def png(self, tile: Tile, number: int) -> bytes:
        """A tile of one class as a PNG file, computed by the thread that is first to ask."""
        content = self._kept.ask(tile, lambda: self._levels(tile)).result()
        size = SIDE * SIDE
        levels = np.frombuffer(content, np.uint8, size, number * size).reshape(SIDE, SIDE)
        return colours.png(colours.fading()[levels])

    def _levels(self, tile: Tile) -> bytes:
        """All classes one after the other, a byte for each pixel."""

        def shares(lonlat: Tensor) -> NDArray[Any]:
            found: NDArray[Any] = self._probabilities(lonlat) / self._highs
            return found

        values = sample_tile(shares, tile, step=1, tolerance=0.0)
        return np.moveaxis(colours.levels(values, 0.0, 1.0), 2, 0).tobytes()


class _Here(Executor):
    """Runs what it is given at once, in the thread that gives it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done
