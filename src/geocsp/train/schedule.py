"""Learning-rate schedule shared by the training loops."""

from __future__ import annotations

import math

_ROUNDING = 1e-9


def learning_rate_factor(
    progress: float, warmup: float, cosine: bool, decay: float = 1.0, epochs: int = 1
) -> float:
    """Factor on the peak learning rate at ``progress`` in [0, 1) of all steps.

    Linear from zero over the first ``warmup`` share of the steps, then constant or, with
    ``cosine``, falling to zero; multiplied by ``decay`` after each of ``epochs``.
    """
    decayed = decay ** math.floor(progress * epochs + _ROUNDING)
    if progress < warmup:
        return decayed * progress / warmup
    if not cosine:
        return decayed
    return decayed * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
