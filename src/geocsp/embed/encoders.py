"""The location encoder in whatever holds one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from geocsp.classifier import GeoClassifier
from geocsp.errors import DataError
from geocsp.location import LocationEncoder
from geocsp.models import LocationModel, load
from geocsp.registry import available, create

GEOCLIP = "geoclip"
"""Names the published location encoder of GeoCLIP (Vivanco Cepeda et al., NeurIPS 2023)."""


def location_of(model: LocationModel) -> LocationEncoder:
    """The part of a model that embeds places."""
    if isinstance(model, LocationEncoder):
        return model
    return model.model.location if isinstance(model, GeoClassifier) else model.location


def trained_encoder(source: str | Path) -> LocationEncoder:
    """The location encoder of a trained model, in evaluation mode.

    Args:
        source: what :func:`geocsp.models.load` takes, or "geoclip" for the published weights in
            the package of that name.

    Raises:
        DataError: there is no such model, or geoclip is not installed.
    """
    if source == GEOCLIP:
        from geocsp.evaluate.probes import probed_encoder

        encoder = probed_encoder(GEOCLIP).module
        assert isinstance(encoder, LocationEncoder)  # it is a module with weights
        return encoder
    return location_of(load(source))


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
