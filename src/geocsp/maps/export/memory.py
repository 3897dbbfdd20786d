"""Memory that C code gets is zero."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_M_PERTURB = -6
"""See mallopt(3): new memory is filled with the complement of a byte."""


@contextmanager
def zeroed_memory() -> Iterator[None]:
    """Large pieces of memory that are allocated inside are zero, where the C library is glibc.

    GDAL (3.10) writes float16 tiles at the edges of a raster with whatever is in memory beyond the
    edge. That is never shown, but two files of the same values would differ, and would hold parts
    of this process's memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(_M_PERTURB, 255)
    try:
        yield
    finally:
        mallopt(_M_PERTURB, 0)
