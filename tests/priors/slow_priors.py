"""Labelled places for the tests of priors, and plain re-computations with Python floats."""

import math

import numpy as np
import torch

from geocsp.coords import EARTH_RADIUS_KM

CLASSES = ("a", "b", "c", "d")


def scattered(count, seed=0, classes=4):
    """Places uniform in degrees, so that many are near the poles, and random classes."""
    generator = np.random.default_rng(seed)
    lonlat = generator.uniform((-180, -90), (180, 90), (count, 2))
    labels = generator.integers(0, classes, count)
    return torch.from_numpy(lonlat), torch.from_numpy(labels)


def kilometres(a, b):
    """By the law of haversines."""
    (lon_a, lat_a), (lon_b, lat_b) = (np.radians(np.array(x, dtype=float)) for x in (a, b))
    half = math.sin((lat_a - lat_b) / 2) ** 2
    half += math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_a - lon_b) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(half))


def mixed(votes, labels, smoothing, classes=4):
    """Votes of one place, one for each label, smoothed by hand."""
    overall = [(labels.count(c) + 1) / (len(labels) + classes) for c in range(classes)]
    of_class = [sum(v for v, k in zip(votes, labels, strict=True) if k == c) for c in range(4)]
    total = sum(of_class)
    return [
        (m + smoothing * f) / (total + smoothing) for m, f in zip(of_class, overall, strict=True)
    ]
