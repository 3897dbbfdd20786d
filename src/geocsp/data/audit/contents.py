"""A look at every image of a table, in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocsp.data.audit.findings import Finding, Severity, Topic
from geocsp.data.audit.look import CELLS, Look, look_at
from geocsp.data.images import Images, Integers
from geocsp.data.quarantine import Problem
from geocsp.errors import DataError
from geocsp.images.pictures import quiet

_WINDOW = 1024
"""Images in the queue at once."""

OnProgress = Callable[[int, int], None]
"""Told how many of how many images were looked at."""


@dataclass(frozen=True, eq=False)
class Contents:
    """What the images of a table are.

    Attributes:
        rows: ``(M,)`` rows of the table whose image can be read; the rest is by these.
        file: ``(M,)`` number of the content: equal where the bytes of two files are equal.
        thumbnails: ``(M, 192)`` uint8, zeros where there is none.
        has_thumbnail: ``(M,)`` whether the image is RGB.
        sizes: ``(M, 2)`` width and height in pixels, as stored.
        kinds: images of each format.
        problems: images that cannot be read.
    """

    rows: Integers
    file: Integers
    thumbnails: NDArray[np.uint8]
    has_thumbnail: NDArray[np.bool_]
    sizes: Integers
    kinds: dict[str, int]
    problems: tuple[Problem, ...]


def look_at_all(images: Images, workers: int | None, on_progress: OnProgress | None) -> Contents:
    """Decode every image once; what cannot be read becomes a problem.

    Args:
        images: N images.
        workers: threads; by default one per CPU core.
        on_progress: called with (done, N) after every image.
    """
    numbers: dict[bytes, int] = {}
    kinds: dict[str, int] = {}
    seen: list[int] = []
    file = np.empty(len(images), dtype=np.int64)
    sizes = np.empty((len(images), 2), dtype=np.int64)
    thumbnails = np.zeros((len(images), CELLS * CELLS * 3), dtype=np.uint8)
    has_thumbnail = np.zeros(len(images), dtype=bool)
    problems = []
    for row, look in enumerate(_looks(images, workers or os.cpu_count() or 1)):
        if isinstance(look, Problem):
            problems.append(look)
        else:
            seen.append(row)
            file[row] = numbers.setdefault(look.digest, len(numbers))
            sizes[row] = look.width, look.height
            kinds[look.kind] = kinds.get(look.kind, 0) + 1
            if look.thumbnail is not None:
                thumbnails[row], has_thumbnail[row] = look.thumbnail, True
        if on_progress:
            on_progress(row + 1, len(images))
    rows = np.array(seen, dtype=np.int64)
    return Contents(
        rows,
        file[rows],
        thumbnails[rows],
        has_thumbnail[rows],
        sizes[rows],
        dict(sorted(kinds.items(), key=lambda item: -item[1])),
        tuple(problems),
    )


def _looks(images: Images, workers: int) -> Iterator[Look | Problem]:
    with quiet(), ThreadPoolExecutor(workers) as pool:
        try:
            for start in range(0, len(images), _WINDOW):
                rows = range(start, min(start + _WINDOW, len(images)))
                yield from pool.map(lambda row: _look(images, row), rows)
        finally:
            pool.shutdown(cancel_futures=True)


def _look(images: Images, row: int) -> Look | Problem:
    try:
        return look_at(images.load(row), images.bands)
    except DataError as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except ValueError as error:  # a name that cannot be one, such as with a zero byte
        reason = f"cannot be read: {error}"
    return Problem(str(images.names[row].as_py()), None, reason)


@dataclass(frozen=True)
class Sizes:
    """Smallest, middle and largest image.

    Attributes:
        width: (min, median, max) pixels, as stored.
        height: (min, median, max) pixels, as stored.
    """

    width: tuple[int, float, int]
    height: tuple[int, float, int]


@dataclass(frozen=True)
class ImageFacts:
    """What the images are.

    Attributes:
        readable: images that can be decoded.
        unreadable: images that cannot.
        formats: images of each format; for rasters that are not RGB, of each number of bands.
        sizes: pixels; None if no image can be read.
    """

    readable: int
    unreadable: int
    formats: dict[str, int]
    sizes: Sizes | None


def facts_of_images(contents: Contents) -> ImageFacts:
    """Count and measure."""
    sizes = None
    if len(contents.rows):
        sizes = Sizes(_spread(contents.sizes[:, 0]), _spread(contents.sizes[:, 1]))
    return ImageFacts(len(contents.rows), len(contents.problems), contents.kinds, sizes)


def _spread(values: Integers) -> tuple[int, float, int]:
    return int(values.min()), float(np.median(values)), int(values.max())


def findings_of_images(contents: Contents) -> list[Finding]:
    """What is wrong with the images, as a whole."""
    found = []
    bad, good = len(contents.problems), len(contents.rows)
    if bad:
        severity = Severity.WARNING if good else Severity.ERROR
        advice = "" if good else "; is --folder right?"
        message = f"that cannot be read: see quarantine.csv{advice}"
        found.append(Finding(severity, Topic.IMAGES, bad, message))
    bands = int((~contents.has_thumbnail).sum())
    if bands:
        message = "not RGB: encoders of RGB images need --bands, and --range where not bytes"
        found.append(Finding(Severity.INFO, Topic.IMAGES, bands, message))
    return found
