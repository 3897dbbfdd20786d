"""Location encoders with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from geocsp.errors import DataError
from geocsp.location import LocationEncoder
from geocsp.registry import available, create


def untrained_encoder(name: str, settings: Mapping[str, Any], *, seed: int) -> LocationEncoder:
    """A registered location encoder with random weights, in evaluation mode.

    Args:
        name: one of ``geocsp.available("location")``.
        settings: settings of the encoder, such as ``{"dim": 64}``.
        seed: of the weights.

    Raises:
        DataError: no such encoder, or settings that it does not take.
    """
    if name not in available("location"):
        raise DataError(
            f"{name!r} is neither a saved folder, run folder or checkpoint file nor an encoder; "
            f"encoders: {', '.join(available('location'))}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            encoder: LocationEncoder = create("location", name, **settings)
        except ValueError as error:
            raise DataError(f"{name} with {dict(settings)}: {error}") from error
    return encoder.eval()
