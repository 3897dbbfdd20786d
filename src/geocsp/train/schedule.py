"""Learning-rate schedule shared by the training loops."""

from __future__ import annotations

import math


def learning_rate_factor(progress: float, warmup: float, cosine: bool) -> float:
    """Factor on the peak learning rate at ``progress`` in [0, 1) of all steps.

    Linear from zero over the first ``warmup`` share of the steps, then constant or, with
    ``cosine``, falling to zero.
    """
    if progress < warmup:
        return progress / warmup
    if not cosine:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
