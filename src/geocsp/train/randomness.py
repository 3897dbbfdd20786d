"""Randomness without state: what is random in a step follows from the seed and the step alone.

Nothing has to be carried from step to step, so a run that goes on after an interruption draws the
same numbers as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import torch


class Stream(IntEnum):
    """What random numbers are for; the streams are independent of each other."""

    ORDER = 0
    """Which rows an epoch shows, and in which order."""
    PLACES = 1
    """Random places of a step, the same in every process."""
    IMAGE = 2
    """Dropout and augmentation of the image tower."""
    LOCATION = 3
    """Dropout of the location tower."""


def derived_seed(seed: int, stream: Stream, *place: int) -> int:
    """A seed for one stream at one place, such as a step, a process and a pass."""
    text = repr((seed % 2**64, int(stream), *place)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(seed: int, stream: Stream, *place: int) -> torch.Generator:
    """A generator on the CPU, seeded by :func:`derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, stream, *place))


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """What is drawn inside the block, on the CPU or the device, has no influence after it."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
